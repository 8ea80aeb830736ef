"""What is wrong with a pack, or unwise, before anybody speaks to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from hassil.expression import ListReference

from streamd.core.commands.answers import AFFIRMATIONS, REFUSALS, SPOKEN_CODEWORDS
from streamd.core.commands.confusable import confusable, in_words
from streamd.core.commands.decide import Verdict, decide
from streamd.core.commands.definition import Accept, Command, Risk
from streamd.core.commands.draft import Draft
from streamd.core.commands.grammar import Grammar, Match, shown
from streamd.core.commands.guards import LANGUAGES, Kind, objection
from streamd.core.commands.lattice import too_large
from streamd.core.commands.network import Network, Value
from streamd.core.commands.params import fault
from streamd.core.commands.sources import Anything, Listed, Number
from streamd.core.commands.templates import template
from streamd.core.commands.undo import SPOKEN
from streamd.core.commands.unknown import unknown

SENTENCES = 3_000  # of each language that are tried against all others
_SKELETONS = 40  # of each template at most, to be compared with those of other commands
_ALL_SKELETONS = 3_000  # of all templates, about: every one is compared with every other
_VALUES = 2_000  # ways to say the values of a list
_TEENS = (*range(13, 20), *range(30, 100, 10))  # numbers that are known to be taken for each other
_LISTED = 5  # findings of one kind in one place; then only how many more there are

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """`place` is the way to the culprit in the pack. Errors keep a pack from being used."""

    level: Literal["error", "warning", "note"]
    place: Place
    message: str


def lint(grammar: Grammar) -> list[Finding]:
    """Everything that can be said of a pack without a microphone; errors first."""
    found = [
        finding
        for check in (tests, overlaps, answers, placeholders, refused, large, wide, spoken_against, untested, alike)
        for finding in check(grammar)
    ]
    return sorted(dict.fromkeys(found), key=lambda finding: finding.level)


def unusable(grammar: Grammar) -> Finding | None:
    """The first error for which no daemon uses a pack. Sentences of two meanings, and those that answer, do nothing."""
    return next((finding for check in (tests, placeholders) for finding in check(grammar)), None)


# --- errors ---------------------------------------------------------------------------------------------------------


def tests(grammar: Grammar) -> Iterator[Finding]:
    """Texts that have to be understood and aren't, and texts that must not be and are."""
    for name, command in grammar.pack.commands.items():
        for number, test in enumerate(command.tests.accept):
            if reason := _not_accepted(grammar, command, test):
                place = ("commands", name, "tests", "accept", number)
                wanted = name if test.params is None else _exactly(name, test.params)
                yield Finding("error", place, f"“{test.text}” should be {wanted}, but {reason}")
        for number, text in enumerate(command.tests.reject):
            found = grammar.match(text)
            if isinstance(found, Match) and decide(found, [text], found.language).verdict is not Verdict.REJECT:
                place = ("commands", name, "tests", "reject", number)
                yield Finding("error", place, f"“{text}” should be rejected, but it is {shown(found)}")


def _not_accepted(grammar: Grammar, command: Command, test: Accept) -> str | None:
    found = grammar.match(test.text, test.language)
    if not isinstance(found, Match):
        value = unknown(grammar, test.text, test.language)
        return f"{found.reason}: {value}" if value else found.reason
    if test.params is None:
        if found.command.name != command.name:
            return f"it is {shown(found)}"
    elif (found.command.name, found.params) != (command.name, test.params):
        return f"it is {_exactly(found.command.name, found.params)}"
    against = objection(test.text, found.language, found.literal)
    return str(against) if against else None


def _exactly(name: str, params: Mapping[str, Value]) -> str:
    """A command whose values show their types: "95" is not 95."""
    values = (f"{key}={json.dumps(params[key], ensure_ascii=False)}" for key in sorted(params))
    return f"{name}({', '.join(values)})"


def overlaps(grammar: Grammar) -> Iterator[Finding]:
    """Sentences that mean two things, or that aren't understood as what they say."""
    seen: set[tuple[str, ...]] = set()
    for language in grammar.languages:
        for index in grammar.network(language).spread(SENTENCES):
            said = grammar.say(language, index)
            if said is None:
                continue
            for text in dict.fromkeys((said.sentence, in_words(said.sentence, language))):
                readings = grammar.readings(text, language)
                others = [reading for reading in readings if reading.meaning != said.meaning]
                pair = tuple(sorted({said.template, *(other.template for other in others)}))
                if (not readings or others) and (language, *pair) not in seen:
                    seen.add((language, *pair))
                    also = f"as well as {shown(others[0])}" if others else "but isn't understood as that"
                    yield Finding("error", _at(said), f"“{text}” is {shown(said)} {also}")


def answers(grammar: Grammar) -> Iterator[Finding]:
    """Yes, no and code words answer questions, so that they can't be commands."""
    for word in sorted(AFFIRMATIONS | REFUSALS | SPOKEN | SPOKEN_CODEWORDS.keys()):
        found = grammar.match(word)
        if isinstance(found, Match):
            yield Finding("error", _at(found), f"“{word}” alone answers questions: say more in the sentence")


def placeholders(grammar: Grammar) -> Iterator[Finding]:
    """{names} in what is sent that are no parameters."""
    for name, command in grammar.pack.commands.items():
        texts = {key: said.model_dump_json() for key in ("dispatch", "undo") if (said := getattr(command, key))}
        for key, text in (*texts.items(), *(("prompt", text) for text in command.prompt.values())):
            used = re.findall(r"\{(\w+)\}", text)
            for placeholder in sorted(set(used) - command.params.keys()):
                yield Finding("error", ("commands", name, key), f"{{{placeholder}}} is no parameter of {name}")


# --- warnings -------------------------------------------------------------------------------------------------------


def refused(grammar: Grammar) -> Iterator[Finding]:
    """What can be said and is always refused: a value outside its schema, a sentence without a needed parameter."""
    for said, params in _skeletons(grammar):
        needed = {name for name, schema in said.command.params.items() if not schema.get("optional")}
        if missing := sorted(needed - said.params.keys() - params):
            message = (
                f"“{said.sentence}” lacks {', '.join(missing)}, so it is always refused: say it, or make it optional"
            )
            yield Finding("warning", _at(said), message)
    faults: dict[tuple[int, str], list[str]] = {}  # many commands share a list and say the same of it
    for command, language, name, source in _slots(grammar):
        if isinstance(source, Listed):
            schema = command.params[name]
            key = id(source), str(schema)
            if key not in faults:
                values = sorted({value for _, value in _values(source)}, key=str)
                faults[key] = [reason for value in values if (reason := fault(schema, value))]
            place = ("commands", command.name, "params", name)
            for reason in faults[key]:
                yield Finding("warning", place, f"can be said in {language}, and is always refused: {reason}")


def large(grammar: Grammar) -> Iterator[Finding]:
    if why := too_large(grammar):
        yield Finding("warning", ("words",), why)


def wide(grammar: Grammar) -> Iterator[Finding]:
    for command, _, name, source in _slots(grammar):
        if isinstance(source, Anything):
            place = ("commands", command.name, "params", name)
            yield Finding("warning", place, "takes any words: what was said beside an order ends up in it")


def spoken_against(grammar: Grammar) -> Iterator[Finding]:
    """Sentences with words that make others no order, and languages of which no such words are known."""
    for language in grammar.languages:
        if language not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            yield Finding("warning", ("words", language), f"negations and questions are only known in {known}")
    for said, _ in _skeletons(grammar):
        against = objection(said.sentence, said.language)
        if against and against.kind is not Kind.RETRACTED:
            yield Finding("warning", _at(said), f"“{against.words}” makes other texts no order; here it is excused")


def untested(grammar: Grammar) -> Iterator[Finding]:
    for name, command in grammar.pack.commands.items():
        if not command.tests.accept or not command.tests.reject:
            missing = "accept" if not command.tests.accept else "reject"
            yield Finding("warning", ("commands", name), f"has no tests.{missing}")


def alike(grammar: Grammar) -> Iterator[Finding]:
    """Values and sentences of different meaning that noise makes of each other."""
    for language in grammar.languages:
        said = {said.sentence: said for said, _ in _skeletons(grammar) if said.language == language}
        pairs = confusable([(match.meaning, sentence) for sentence, match in said.items()], language)
        for one, other, _ in pairs[:_LISTED]:
            yield _alike(one, other, language, _at(said[other]), said[other].command)
        yield from _more(pairs[_LISTED:], language, ("commands",))
    seen: set[tuple[str, str, int]] = set()  # a list that several commands share is told of once
    for command, language, name, source in _slots(grammar):
        if isinstance(source, Listed) and (language, name, id(source)) not in seen:
            seen.add((language, name, id(source)))
            values = [(value, phrase) for phrase, value in _values(source) if not fault(command.params[name], value)]
            pairs, place = confusable(values, language), ("commands", command.name, "params", name)
            for one, other, _ in pairs[:_LISTED]:
                yield _alike(one, other, language, place, command)
            yield from _more(pairs[_LISTED:], language, place)
        elif isinstance(source, Number) and not _is_asked(command):
            schema, place = command.params[name], ("commands", command.name, "params", name)
            pairs = confusable([(value, str(value)) for value in _TEENS if not fault(schema, value)], language)
            for one, other, _ in pairs[:1]:
                yield _alike(one, other, language, place, command)


def _is_asked(command: Command) -> bool:
    return command.safety.risk not in (Risk.READ, Risk.LOW)


def _alike(one: str, other: str, language: str, place: Place, command: Command) -> Finding:
    way_out = "it is confirmed before it is done" if _is_asked(command) else "have it confirmed, or rename"
    return Finding("warning", place, f"“{one}” and “{other}” sound alike ({language}): {way_out}")


def _more(pairs: Sequence[object], language: str, place: Place) -> Iterator[Finding]:
    if pairs:
        yield Finding("warning", place, f"{len(pairs)} more pairs sound alike ({language})")


# --- parts of a grammar ---------------------------------------------------------------------------------------------


def _at(said: Match) -> Place:
    return ("commands", said.command.name, "sentences", said.language, said.template)


@dataclass(frozen=True)
class _Named:
    """A slot that says its name instead of a value."""

    name: str
    size: int = 1

    def spans(self, heard: Sequence[str], start: int) -> Iterator[tuple[int, Value]]:
        raise NotImplementedError("is only said")

    def say(self, index: int) -> tuple[tuple[str, ...], Value]:
        return (self.name,), index


def _skeletons(grammar: Grammar) -> Iterator[tuple[Match, set[str]]]:
    """Sentences of each template with the names of slots in the place of values, and those names."""
    commands = grammar.pack.commands.values()
    templates = sum(len(sentences) for command in commands for sentences in command.sentences.values())
    share = max(1, min(_SKELETONS, _ALL_SKELETONS // templates))
    for command in commands:
        for language, sentences in command.sentences.items():
            for sentence in sentences:
                draft = Draft(language, grammar.intents(language).expansion_rules)
                draft.add(template(sentence.template, command.name, language), None, _named)
                network: Network = draft.finish()
                for index in network.spread(share):
                    words, _, params = network.say(index)
                    said = Match(command, sentence.params, " ".join(words), sentence.template, language)
                    yield said, {name for name, _ in params}


def _named(reference: ListReference) -> _Named:
    return _Named(reference.slot_name)


def _slots(grammar: Grammar) -> Iterable[tuple[Command, str, str, object]]:
    """Command, language, name and source of every slot, each once."""
    seen: set[tuple[str, str, str, int]] = set()
    for command in grammar.pack.commands.values():
        for language in command.sentences:
            for slot in grammar.slots(command.name, language):
                key = (command.name, language, slot.name, id(slot.source))
                if key not in seen:
                    seen.add(key)
                    yield command, language, slot.name, slot.source


@lru_cache(maxsize=16)
def _values(source: Listed) -> tuple[tuple[str, Value], ...]:
    """Ways to say a value, and the value."""
    said = (source.say(index) for index in source.network.spread(_VALUES))
    return tuple((" ".join(words), value) for words, value in said)
