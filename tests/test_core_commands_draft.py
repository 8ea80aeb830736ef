"""Templates as hassil reads them become whole words, as they are heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hassil.expression import ListReference, Sentence
from hassil.parse_expression import parse_sentence

from streamd.core.commands.draft import DEEPEST, MOST_PERMUTED, Draft, TemplateError
from streamd.core.commands.network import Network, Source
from streamd.core.commands.sources import Anything


def drafted(*templates: str, language: str = "en", rules: Mapping[str, str] | None = None) -> Network:
    """Each template means its own text."""
    draft = Draft(language, {name: parse_sentence(text) for name, text in (rules or {}).items()})
    for text in templates:
        draft.add(parse_sentence(text).expression, text, lambda reference: Anything())
    return draft.finish()


def said(network: Network) -> set[str]:
    return {" ".join(network.say(index)[0]) for index in range(network.size)}


@pytest.mark.parametrize(
    ("template", "sentences"),
    [
        ("Light [on]", {"light", "light on"}),
        ("(on|off) now", {"on now", "off now"}),
        ("[Work]light[s] on", {"light on", "lights on", "worklight on", "worklights on"}),
        ("(a;b)", {"a b", "b a"}),
        ("e-mail, please!", {"e mail please"}),
        ("{text} note", {"something note"}),
        ("lamp{text}on", {"lamp something on"}),  # a slot is whole words, so a word ends before it
        ("lamp[{text}]ly", {"lamp something ly", "lamply"}),
        ("(on|on)", {"on"}),
        ("(20|twenty) lamps", {"20 lamps"}),
    ],
)
def test_what_a_template_says(template: str, sentences: set[str]) -> None:
    assert said(drafted(template)) == sentences


@pytest.mark.parametrize(
    ("template", "language", "sentences"),
    [
        ("lamp twenty [five]", "en", {"lamp 20", "lamp 25", "lamp 20 5"}),
        ("lamp two and a half", "en", {"lamp 2 and a half", "lamp 2.5"}),
        ("Lampe zwei Komma fünf", "de", {"lampe 2 komma 5", "lampe 2.5"}),
        ("lamp one two", "en", {"lamp 1 2"}),
    ],
)
def test_numbers_of_several_words_are_one(template: str, language: str, sentences: set[str]) -> None:
    assert said(drafted(template, language=language)) == sentences


def test_rules_are_written_out() -> None:
    rules = {"now": "(now|<soon>)", "soon": "soon"}
    assert said(drafted("lamp <now>", rules=rules)) == {"lamp now", "lamp soon"}


def test_two_sentences_that_say_the_same_mean_both() -> None:
    network = drafted("lamp [on]", "(lamp|light)")
    assert {meaning for _, meaning, _, _ in network.walk(["lamp"])} == {"lamp [on]", "(lamp|light)"}
    assert len(drafted("lamp", "lamp").nodes[-1].ends) == 1


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("lamp <softly>", "there is no expansion rule"),
        ("(" + ";".join("abcdefgh"[: MOST_PERMUTED + 1]) + ")", f"more than {MOST_PERMUTED} parts"),
        ("?!", "says nothing"),
        ("a <round>", "refer to each other without an end"),
    ],
)
def test_what_can_t_be_drawn_is_refused(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        drafted(template, rules={"round": "a <round>"})


def test_rules_within_rules_are_written_out_so_deep() -> None:
    rules = {f"r{number}": f"<r{number + 1}>" for number in range(DEEPEST // 4)} | {f"r{DEEPEST // 4}": "lamp"}
    assert said(drafted("<r0>", rules=rules)) == {"lamp"}


@dataclass(frozen=True)
class Asked:
    """Remembers which references it was asked for."""

    names: list[tuple[str, str]]

    def __call__(self, reference: ListReference) -> Source:
        self.names.append((reference.list_name, reference.slot_name))
        return Anything()


def test_what_can_be_said_for_a_reference_is_asked_for() -> None:
    draft, asked = Draft("en", {}), Asked([])
    sentence = parse_sentence("set {press:machine} to {speed}")
    assert isinstance(sentence, Sentence)
    draft.add(sentence.expression, "set", asked)
    assert asked.names == [("press", "machine"), ("speed", "speed")]
    slots = [slot.name for node in draft.finish().nodes for slot in node.slots]
    assert slots == ["machine", "speed"]
