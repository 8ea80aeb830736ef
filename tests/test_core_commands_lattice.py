"""A grammar as a graph of words: it holds the grammar's sentences and no others."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamd.core.commands import lattice as module
from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar, Match
from streamd.core.commands.hearing import Lattice
from streamd.core.commands.lattice import (
    MOST_NUMBERS,
    MOST_PRIMING_WORDS,
    choices,
    lattice,
    primer,
    too_large,
    written,
)
from streamd.core.commands.spoken import words
from tests.packs import press_line

GRAMMAR = Grammar(press_line())
LANGUAGES = st.sampled_from(GRAMMAR.languages)
FREE = {"note"}  # commands with any text


GRAPHS = {language: lattice(GRAMMAR, language) for language in GRAMMAR.languages}


def holds(found: Lattice, text: str) -> bool:
    nodes = {0}
    for word in text.split():
        nodes = {arc.node for node in nodes for arc in found.arcs[node] if arc.word == word}
    return bool(nodes & found.ends)


@given(LANGUAGES, st.data())
def test_every_path_is_a_sentence(language: str, data: st.DataObject) -> None:
    found = GRAPHS[language]
    node, said = 0, []
    while node not in found.ends or (found.arcs[node] and data.draw(st.booleans())):
        arc = data.draw(st.sampled_from(found.arcs[node]))
        said.append(arc.word)
        node = arc.node
    spelled_units = {("one", "/"), ("eins", "/")}  # "two point five one / min" is no 2.5 1/min when read as a text
    assume(not spelled_units & set(pairwise(said)))
    heard = words(" ".join(said), language)
    ends = {end for end, *_ in GRAMMAR.network(language).walk(heard)}
    assert len(heard) in ends, said


@given(LANGUAGES, st.data())
def test_every_sentence_is_a_path(language: str, data: st.DataObject) -> None:
    sentence = GRAMMAR.say(language, data.draw(st.integers(0, GRAMMAR.size(language) - 1)))
    if sentence is None or sentence.command.name in FREE:
        return
    text = " ".join(word.replace(".", ",") if language == "de" else word for word in sentence.sentence.split())
    assert holds(GRAPHS[language], text), text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("set press two to ninety five rpm", "en"),
        ("set press 2 to 95", "en"),
        ("set press 2 to two point five revolutions per minute", "en"),
        ("stelle die presse zwei auf 2,5", "de"),
    ],
)
def test_numbers_are_words_and_figures(text: str, language: str) -> None:
    assert holds(GRAPHS[language], text)
    assert isinstance(GRAMMAR.match(text, language), Match)


def test_what_a_slot_of_any_text_needs_is_left_out() -> None:
    assert isinstance(GRAMMAR.match("note more oil for the shift", "en"), Match)
    assert not holds(GRAPHS["en"], "note more oil for the shift")


def test_a_slot_holds_so_many_numbers_and_no_more() -> None:
    wide = {"type": "integer", "minimum": 0, "maximum": 10_000_000}
    pack = press_line(count={"name": "count", "sentences": {"en": ["count to {n}"]}, "params": {"n": wide}})
    found = lattice(Grammar(pack), "en")
    assert len(found.arcs) < 40 * MOST_NUMBERS
    assert holds(found, "count to 0")


def test_a_grammar_may_be_too_large_to_be_compared_with_a_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    grammar = Grammar(press_line())
    assert too_large(grammar) is None
    monkeypatch.setattr(module, "MOST_LISTED", 2)
    why = too_large(grammar)
    assert why is not None
    assert "everything is asked about: lists have" in why
    assert "of 2 at the most" in why


def test_what_is_compared_is_named_by_grammar_and_language(monkeypatch: pytest.MonkeyPatch) -> None:
    grammar = Grammar(press_line())
    english, german = choices(grammar, ("en", "de"))
    assert (english.name, german.name) == (f"{grammar.pack.version} en", f"{grammar.pack.version} de")
    assert (english.language, english.lattice, english.primer) == ("en", lattice(grammar, "en"), primer(grammar, "en"))
    monkeypatch.setattr(module, "MOST_LISTED", 2)
    assert choices(grammar, ("en", "de")) == ()


def test_a_number_is_written_as_the_language_has_it() -> None:
    assert written("95", "en") == (("95",), ("ninety", "five"))
    assert written("2.5", "de") == (("2,5",), ("zwei", "komma", "fünf"))
    assert written("press", "en") == (("press",),)
    assert written("7", "xx") == (("7",),)


@given(LANGUAGES)
def test_what_primes_a_recogniser_are_sentences_with_many_different_words(language: str) -> None:
    told = primer(GRAMMAR, language)
    for sentence in told.rstrip(".").split(". "):
        heard = words(sentence, language)
        assert len(heard) in {end for end, *_ in GRAMMAR.network(language).walk(heard)}
    assert len(told.split()) <= MOST_PRIMING_WORDS + 5
    assert len(set(words(told, language)) & set(GRAMMAR.vocabulary(language))) > 10


def only(**command: Any) -> Grammar:
    return Grammar(Pack.model_validate({"commands": {"go": {"name": "go", **command}}}))


def test_what_can_be_said_primes_and_nothing_else() -> None:
    assert primer(only(sentences={"en": ["go"]}), "en") == "Go."
    never = {"n": {"type": "integer", "enum": []}}
    assert primer(only(sentences={"en": ["go {n}"]}, params=never), "en") == ""


def test_a_number_is_not_spelled_in_a_way_that_is_read_as_another() -> None:
    assert written("-0.5", "en") == (("-0.5",),)
    assert written("95", "en") == (("95",), ("ninety", "five"))
