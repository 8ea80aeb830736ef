"""Guards: no frame that makes an order none is ever taken for one, in any shipped language.

The suite is made of frames and of sentences that the press line's grammar says of itself: every frame around every
sentence. The grammar alone refuses them; the guards alone object to them, as they have to where a template is wide.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar, Match, Rejection
from streamd.core.commands.guards import LANGUAGES, Kind, Objection, objection
from tests.packs import press_line

FRAMES: dict[str, dict[Kind, list[str]]] = {
    "en": {
        Kind.NEGATED: [
            "don't {}", "do not {}", "please do not {}", "never {}", "you must not {}", "you can't {} like that",
            "whatever happens dont {}", "under no circumstances {}", "{} is forbidden", "go home instead of {}",
        ],
        Kind.REPORTED: [
            "he said {}", "she told me to {}", "the manual says {}", "somebody asked me to {}", "yesterday I heard {}",
            "according to the foreman {}", "I was going to {}", "{} is what he wanted", "the command {}",
        ],
        Kind.QUESTION: ["did you {}", "{}?", "{}?!", "“{}?”", "why {}", "do we {}", "who is able to {}", "how do I {}"],
        Kind.CONDITIONAL: [
            "if the guard is shut {}", "{} if you can", "when I wave {}", "unless it beeps {}", "maybe {}",
            "{} tomorrow", "{} once the part is out", "suppose you {}", "you should {}", "{} as soon as possible",
        ],
        Kind.RETRACTED: [
            "{} no wait", "{} never mind", "{} actually no", "cancel {}", "{} sorry wrong press", "forget {}",
            "{} scratch that", "{} on second thought", "stop {}", "{} oops",
        ],
    },
    "de": {
        Kind.NEGATED: [
            "nicht {}", "{} nicht", "bitte niemals {}", "auf keinen Fall {}", "{} ist verboten", "nie wieder {}",
            "ohne Grund {}", "ich brauche kein {}", "statt {}",
        ],
        Kind.REPORTED: [
            "er sagte {}", "sie hat gesagt {}", "laut Anleitung {}", "der Meister meinte {}", "jemand fragte {}",
            "ich wollte {}", "wir sollen {}", "angeblich {}", "auf dem Zettel steht {}", "der Befehl {}",
        ],
        Kind.QUESTION: ["hast du gehört {}", "{}?", "{} ?!", "warum {}", "wer kann {}", "wie geht {}", "ist das {}"],
        Kind.CONDITIONAL: [
            "wenn die Tür zu ist {}", "{} falls möglich", "sobald ich winke {}", "vielleicht {}", "{} morgen",
            "ich würde {}", "bevor du gehst {}", "angenommen {}", "man könnte {}", "{} später",
        ],
        Kind.RETRACTED: [
            "{} nein warte", "{} doch nicht", "vergiss {}", "{} Quatsch", "{} Entschuldigung", "{} abbrechen",
            "{} Moment", "halt {}", "{} falsch", "lass {}",
        ],
    },
}  # fmt: skip
COMMANDS = 24  # sentences of each language
GRAMMAR = Grammar(press_line())


def orders(language: str) -> list[str]:
    """Sentences of the press line that have no wide slot."""
    spread = [GRAMMAR.say(language, index) for index in GRAMMAR.network(language).spread(200)]
    plain = [said.sentence for said in spread if said and said.command.name != "note"]
    return plain[:: len(plain) // COMMANDS][:COMMANDS]


SUITE = [(language, frame) for language, kinds in FRAMES.items() for frames in kinds.values() for frame in frames]


def test_the_suite_is_as_large_as_it_says() -> None:
    assert set(LANGUAGES) == set(FRAMES)
    for language in LANGUAGES:
        assert sum(spoken == language for spoken, _ in SUITE) >= 40
        assert len(set(orders(language))) == COMMANDS


@pytest.mark.parametrize("language", LANGUAGES)
def test_orders_themselves_meet_no_objection(language: str) -> None:
    for order in orders(language):
        found = GRAMMAR.match(order, language)
        assert isinstance(found, Match), order
        assert objection(order, language, found.sentence) is None, order


@pytest.mark.parametrize(("language", "frame"), SUITE)
def test_no_frame_is_an_order(language: str, frame: str) -> None:
    for order in orders(language):
        text = frame.format(order)
        assert isinstance(GRAMMAR.match(text, language), Rejection) or "?" in text, text
        assert objection(text, language, order) is not None, text


def wide() -> Grammar:
    """Templates that take anything around an order: the grammar alone would carry out every frame."""
    any_text: dict[str, Any] = {"type": "string", "optional": True}
    sentences = {"en": ["[{a}] stop [the] line [{b}]", "[{a}] light on [{b}]"], "de": ["[{a}] Licht aus [{b}]"]}
    lists = {"a": {"wildcard": True}, "b": {"wildcard": True}}
    wish = {"name": "wish", "sentences": sentences, "params": {"a": any_text, "b": any_text}}
    words = {language: {"lists": lists} for language in LANGUAGES}
    return Grammar(Pack.model_validate({"commands": {"wish": wish}, "words": words}))


WIDE = wide()


@pytest.mark.parametrize(("language", "frame"), SUITE)
def test_what_slots_swallow_is_objected_to(language: str, frame: str) -> None:
    """The words of a slot are no words of the sentence, so they excuse nothing."""
    text = frame.format({"en": "light on", "de": "Licht aus"}[language])
    found = WIDE.match(text, language)
    assert isinstance(found, Match), text
    assert objection(text, language, found.literal) is not None


@given(st.sampled_from(LANGUAGES), st.sampled_from(["no", "nein", "yes", "ja"]), st.data())
def test_yes_and_no_alone_are_no_order(language: str, word: str, data: st.DataObject) -> None:
    assert isinstance(GRAMMAR.match(word + data.draw(st.sampled_from(["", ".", "!"])), language), Rejection)


@pytest.mark.parametrize(
    ("heard", "language", "said", "found"),
    [
        ("do not disturb", "en", "do not disturb", None),
        ("do not do not disturb", "en", "do not disturb", Objection(Kind.NEGATED, "not")),
        ("Can I have a coffee?", "en", "can i have a coffee", None),
        ("I would like a coffee.", "en", "i'd like a coffee", None),
        ("I would set it", "en", "set it", Objection(Kind.CONDITIONAL, "would")),
        ("Have a coffee?", "en", "have a coffee", Objection(Kind.QUESTION, "?")),
        ("you shouldn't", "en", "", Objection(Kind.NEGATED, "shouldn't")),
        ("Kann ich Kaffee haben?", "de", "kann ich kaffee haben", None),
        ("n'allume pas la lampe?", "fr", "", None),  # nothing is known of French
    ],
)
def test_words_of_the_sentence_are_excused(heard: str, language: str, said: str, found: Objection | None) -> None:
    assert objection(heard, language, said) == found


def test_an_objection_says_what_it_objects_to() -> None:
    assert str(objection("he said stop", "en", "stop")) == "reported: “said”"
