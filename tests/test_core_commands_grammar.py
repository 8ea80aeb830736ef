"""The grammar: whole utterances only, every sentence is understood as itself, no value outside its schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar, GrammarError, Match, Rejection, shown
from streamd.core.commands.params import fault
from tests.packs import press_line

GRAMMAR = Grammar(press_line())


def read(text: str, language: str | None = None) -> str:
    found = GRAMMAR.match(text, language)
    return shown(found) if isinstance(found, Match) else found.reason


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Set press two to ninety-five RPM.", "set_speed(press=press_2, speed=95)"),
        ("change the speed of press number 3 to 60.5 please", "set_speed(press=press_3, speed=60.5)"),
        ("set press one to two revolutions per second", "set_speed(press=press_1, speed=120)"),
        ("Stelle die Presse zwei auf hundert ein", "set_speed(press=press_2, speed=100)"),
        ("stell Presse Nummer 2 auf 2,5 Umdrehungen pro Minute", "set_speed(press=press_2, speed=2.5)"),
        ("set pressure to seventy psi", "set_pressure(pressure=4.82633011)"),
        ("set the pressure of press two to 3 bar", "set_pressure(press=press_2, pressure=3)"),
        ("switch off the lights", "light(on=False)"),
        ("light on", "light(on=True)"),
        ("Licht ein!", "light(on=True)"),
        ("stop line now", "stop()"),
        ("stop the now line", "stop()"),
        ("halt this very second", "stop()"),
        ("note bring more oil for the shift", "note(text=bring more oil)"),
        ("tilt thirty degrees", "tilt(angle=30)"),
        ("tilt a bit minus one and a half", "tilt(steps=-0.15)"),
        ("mode fully automatic", "mode(mode=fully_automatic)"),
        ("feed twenty five", "mode(feed=25)"),
    ],
)
def test_what_is_said_is_understood(text: str, meaning: str) -> None:
    assert read(text) == meaning


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no command says this"),
        ("please set press two to ninety five", "no command says this"),
        ("set press two", "no command says this"),
        ("set pressure two to 95", "no command says this"),
        ("setpress two to 95", "no command says this"),
        ("set press two to 95 bar", "no command says this"),
        ("set press two to 9 5", "no command says this"),
        ("stop now the line", "no command says this"),
        ("note for the shift", "no command says this"),
        ("tilt 35 degrees", "no command says this"),
        ("set press two to 121", "speed (rpm): 121 is greater than the maximum of 120"),
        ("set press two to 50.3", "speed (rpm): 50.3 is not a multiple of 0.5"),
        ("set the pressure to 200 psi", "pressure (bar): 13.7895146 is greater than the maximum of 10"),
        ("set press twenty one to 50", "press: 'press_21' is not one of ['press_1', 'press_2', 'press_3']"),
        ("feed 26", "feed: 26 is not one of [1, 5, 25]"),
    ],
)
def test_what_is_not_exactly_a_sentence_is_refused(text: str, reason: str) -> None:
    assert read(text) == reason


@pytest.mark.parametrize(
    ("text", "language", "nearest"),
    [
        ("turn off lights please", None, "turn off lights"),
        ("Licht auss", "de", "licht aus"),
        ("", None, None),
        ("licht aus", "fr", None),
    ],
)
def test_the_nearest_sentence_is_known(text: str, language: str | None, nearest: str | None) -> None:
    assert GRAMMAR.nearest(text, language) == nearest


def test_slots_are_whole_words() -> None:
    lamp = {"name": "lamp", "sentences": {"en": ["lamp{n} - on[{n}]ly"]}, "params": {"n": {"enum": ["red", "blue"]}}}
    grammar = Grammar(press_line(lamp=lamp))
    assert isinstance(grammar.match("lamp red only"), Match)
    assert isinstance(grammar.match("lamp red on red ly"), Match)
    assert isinstance(grammar.match("lampred only"), Rejection)


def test_commands_may_have_parameters_of_one_name_and_different_kinds() -> None:
    hours = {"type": "integer", "minimum": 0, "maximum": 9}
    commands = {
        "wait": {"name": "wait", "sentences": {"en": ["wait {hours}"]}, "params": {"hours": hours}},
        "sleep": {"name": "sleep", "sentences": {"en": ["sleep {hours}"]}, "params": {"hours": {"enum": ["long"]}}},
    }
    for order in (commands, dict(reversed(commands.items()))):
        grammar = Grammar(Pack.model_validate({"commands": order}))
        assert isinstance(grammar.match("wait 7"), Match)
        assert isinstance(grammar.match("sleep long"), Match)
        assert isinstance(grammar.match("sleep 7"), Rejection)


def test_languages_are_kept_apart_where_one_is_known() -> None:
    assert GRAMMAR.languages == ("de", "en")
    assert read("light on", "en") == "light(on=True)"
    assert read("light on", "de") == "no command says this"
    assert read("light on", "fr") == "there are no commands in the language fr"


def test_what_could_mean_two_things_is_refused() -> None:
    grammar = Grammar(press_line(lamp={"name": "lamp", "sentences": {"en": ["light on"]}}))
    found = grammar.match("light on")
    assert isinstance(found, Rejection)
    assert found.reason == "this could mean light(on=True) or lamp()"


def test_of_two_readings_of_one_command_the_one_with_less_free_text_counts() -> None:
    sentences = {"en": ["memo {text} [at {hour}]"]}
    params = {"text": {"type": "string"}, "hour": {"type": "integer", "optional": True}}
    found = Grammar(press_line(memo={"name": "memo", "sentences": sentences, "params": params})).match("memo oil at 7")
    assert isinstance(found, Match)
    assert found.params == {"text": "oil", "hour": 7}


@pytest.mark.parametrize(
    ("sentence", "text", "literal"),
    [
        ("note now {text}", "note now no", "note now"),
        ("note {text} again {text}", "note on again on", "note again"),
        ("{shade} note {text}", "no note no", "no note"),
    ],
)
def test_words_in_wildcards_are_not_the_author_s(sentence: str, text: str, literal: str) -> None:
    """Also where the author's words have their letters in them."""
    params = {"text": {"type": "string"}, "shade": {"enum": ["no", "on"], "optional": True}}
    note = {"name": "note", "sentences": {"en": [sentence]}, "params": params}
    found = Grammar(press_line(note=note)).match(text)
    assert isinstance(found, Match)
    assert found.literal == literal


def test_one_value_said_twice_has_to_be_the_same() -> None:
    lamp = {"name": "lamp", "sentences": {"en": ["lamp {on} {on} now"]}, "params": {"on": {"type": "boolean"}}}
    grammar = Grammar(press_line(lamp=lamp))
    assert isinstance(grammar.match("lamp on on now"), Match)
    assert isinstance(grammar.match("lamp on off now"), Rejection)
    assert grammar.say("en", grammar.size("en") - 1) is None or grammar.say("en", grammar.size("en") - 2) is None


def test_a_value_that_is_needed_is_asked_for() -> None:
    lamp = {"name": "lamp", "sentences": {"en": ["lamp"]}, "params": {"on": {"type": "boolean"}}}
    found = Grammar(press_line(lamp=lamp)).match("lamp")
    assert isinstance(found, Rejection)
    assert found.reason == "lamp needs on"


def test_the_words_of_a_grammar_are_known() -> None:
    assert {"presse", "stell", "stelle", "nummer", "ein"} <= set(GRAMMAR.vocabulary("de"))
    assert not any(word[0].isdigit() for word in GRAMMAR.vocabulary("en"))
    assert set(GRAMMAR.intents("de").intents) == {"set_speed", "set_pressure", "light", "stop"}


sentences = st.sampled_from(GRAMMAR.languages).flatmap(
    lambda language: st.tuples(st.just(language), st.integers(0, GRAMMAR.size(language) - 1))
)


@given(sentences)
def test_every_sentence_is_understood_as_itself_and_nothing_else(sentence: tuple[str, int]) -> None:
    """No sentence of one command is another's, and no value is outside its schema."""
    said = GRAMMAR.say(*sentence)
    if said is None:
        return
    found = GRAMMAR.match(said.sentence.upper(), said.language)
    assert isinstance(found, Match)
    assert found.meaning == said.meaning
    assert all(fault(found.command.params[name], value) is None for name, value in found.params.items())


@given(st.sampled_from(["set press two to {}", "set pressure to {} psi", "feed {}"]), st.integers(-10_000, 10_000))
def test_no_value_outside_its_schema_is_accepted(frame: str, number: int) -> None:
    found = GRAMMAR.match(frame.format(number), "en")
    if isinstance(found, Match):
        assert all(fault(found.command.params[name], value) is None for name, value in found.params.items())


@given(sentences, st.data())
def test_a_word_more_or_less_never_makes_another_action(sentence: tuple[str, int], data: st.DataObject) -> None:
    """A word that isn't the grammar's, anywhere, is enough to refuse."""
    said = GRAMMAR.say(*sentence)
    if said is None or said.command.name == "note":
        return
    heard = said.sentence.split()
    heard.insert(data.draw(st.integers(0, len(heard))), "perhaps")
    assert isinstance(GRAMMAR.match(" ".join(heard), said.language), Rejection)


def test_slots_that_two_sentences_share_are_read_once() -> None:
    lamp = {"name": "lamp", "sentences": {"en": ["{n} lamp", "{n} light"]}, "params": {"n": {"enum": ["red", "blue"]}}}
    assert isinstance(Grammar(press_line(lamp=lamp)).match("blue light"), Match)


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("lamp {colour}", "{colour} is no parameter of lamp: add it to its params"),
        ("lamp {shade}", "there is no list {shade}, and shade is no number and has no enum"),
        ("lamp <softly>", "there is no expansion rule"),
        ("lamp (on", "brackets don't match"),
        ("(;)", "everything in it is optional: silence would be this command"),
        ("[please] [lamp]", "everything in it is optional: silence would be this command"),
        ("?", "says nothing"),
        ("(a;b;c;d;e;f)", "more than 5 parts in any order: split it"),
    ],
)
def test_templates_that_mean_nothing_are_refused(sentence: str, reason: str) -> None:
    lamp = {"name": "lamp", "sentences": {"en": [sentence]}, "params": {"shade": {"type": "string"}}}
    with pytest.raises(GrammarError) as refused:
        Grammar(press_line(lamp=lamp))
    assert reason in refused.value.reason
    assert refused.value.place == ("commands", "lamp", "sentences", "en", sentence)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"lists": {"shade": {"values": [{"in": "[very] dark"}]}}}, "has a template without `out`: say what it gives"),
        ({"lists": {"shade": {"values": [{"in": "{on} dark", "out": 1}]}}}, "the list shade refers to {on}"),
        ({"lists": {"shade": {"values": [{"in": "[dark]", "out": 1}]}}}, "the list shade may be said without a word"),
        ({"lists": {"shade": {"colours": []}}}, "words.en.lists.shade: not as hassil writes it"),
        ({"expansion_rules": {"softly": "(a"}}, "words.en.expansion_rules.softly: not as hassil writes it"),
        ({"expansion_rules": {"softly": "a <softly>"}}, "its rules refer to each other without an end"),
    ],
)
def test_lists_that_mean_nothing_are_refused(words: dict[str, Any], reason: str) -> None:
    lamp = {"name": "lamp", "sentences": {"en": ["lamp {shade}", "lamp <softly>"]}}
    lists = {"shade": {"values": ["dark"]}} | words.get("lists", {})
    rules = {"softly": "softly"} | words.get("expansion_rules", {})
    pack = {
        "commands": {"lamp": lamp | {"params": {"shade": {"type": "string"}}}},
        "words": {"en": {"lists": lists, "expansion_rules": rules}},
    }
    with pytest.raises(GrammarError) as refused:
        Grammar(Pack.model_validate(pack))
    assert reason in str(refused.value)


def test_packs_without_words_are_understood() -> None:
    commands = {
        "dial": {
            "name": "dial",
            "sentences": {"en": ["dial {level}", "shade {shade}", "{level} e-mail(s|)"]},
            "params": {
                "level": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 3, "optional": True},
                "shade": {"enum": ["dark_red", "light_red"], "optional": True},
            },
        }
    }
    grammar = Grammar(Pack.model_validate({"commands": commands}))
    said = [grammar.say("en", index) for index in range(grammar.size("en"))]
    assert sorted(match.sentence for match in said if match) == [
        "1 e mail", "1 e mails", "2 e mail", "2 e mails", "dial 1", "dial 2", "shade dark red", "shade light red",
    ]  # fmt: skip
    with pytest.raises(IndexError, match="there are 8 sentences"):
        grammar.say("en", 8)
