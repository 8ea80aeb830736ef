"""A pack as a grammar: text → the one command that says exactly this, or why there is none.

Whole utterances only: not a word may be left over, none may be missing. Templates and lists are hassil's, numbers are
read by text2num, units are converted, and every parameter is compared with its schema once more at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, partial
from typing import Any

from hassil.expression import ListReference
from hassil.intents import Intents, RangeSlotList, SlotList, TextSlotList, WildcardSlotList
from rapidfuzz import fuzz, process

from streamd.core.commands.definition import Command, Pack
from streamd.core.commands.draft import Draft, TemplateError
from streamd.core.commands.network import Network, Params, Slot, Source, Value
from streamd.core.commands.params import fault, is_number
from streamd.core.commands.reasons import Reason, either
from streamd.core.commands.sources import Anything, Listed, Number, Stepped
from streamd.core.commands.spoken import words
from streamd.core.commands.templates import GrammarError, intents, template

__all__ = ["Grammar", "GrammarError", "Match", "Rejection", "shown"]

_LIKE = 30  # of 100: less has nothing to do with each other
_COMPARED = 4_000  # sentences among which the nearest one is looked for


@dataclass(frozen=True, slots=True)
class Match:
    """What was said, and what it means."""

    command: Command
    params: Mapping[str, Value]
    sentence: str  # the words as the grammar has them, numbers in figures
    template: str
    language: str
    literal: str = ""  # of what was heard: the words that the pack's author wrote, not those in wildcards

    @property
    def meaning(self) -> tuple[str, Params]:
        """Two matches with the same are the same action."""
        return self.command.name, tuple(sorted(self.params.items()))


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a text is no command. `Grammar.nearest` knows what could have been said instead."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a sentence means whose path ends here."""

    command: Command
    template: str
    params: Params


class Grammar:
    """All sentences of a pack. Raises GrammarError."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._languages = {language: _Language(pack, language) for language in pack.languages}

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self._languages)

    def match(self, text: str, language: str | None = None) -> Match | Rejection:
        """What `text` says. Without `language` all are tried."""
        if language is not None and language not in self._languages:
            return Rejection(Reason("there are no commands in the language {}", language))
        readings, refused = self._read(text, language)
        if matches := _least_free(readings):
            if len(matches) == 1:
                return matches[0]
            return Rejection(Reason("this could mean {}", either(map(shown, matches))))
        return Rejection(refused[0] if refused else Reason("no command says this"))

    def readings(self, text: str, language: str) -> list[Match]:
        """Everything that `text` may mean, each meaning once: a grammar should leave one at the most."""
        return self._read(text, language)[0]

    def _read(self, text: str, language: str | None) -> tuple[list[Match], list[str]]:
        """What `text` may mean, and why it may not mean other things."""
        found: dict[tuple[str, Params], Match] = {}
        refused: list[str] = []
        for one in self._chosen(language):
            for match in one.matches(text):
                if reason := _refused(match):
                    refused.append(reason)
                else:
                    found.setdefault(match.meaning, match)
        return list(found.values()), refused

    def _chosen(self, language: str | None) -> list[_Language]:
        return [one for tag, one in self._languages.items() if language in (None, tag)]

    def nearest(self, text: str, language: str | None = None) -> str | None:
        """The sentence that is most like `text`, of some thousand that are spread over the grammar."""
        return max((one.nearest(text) for one in self._chosen(language)), default=(0.0, ""))[1] or None

    def size(self, language: str) -> int:
        """How many sentences there are in a language; of numbers, a choice is counted."""
        return self._languages[language].size

    def say(self, language: str, index: int) -> Match | None:
        """Sentence number `index` of a language, as the match that it should be.

        None for one of the few that no command takes: its list holds more than the command's parameter allows.
        """
        said = self._languages[language].say(index)
        return None if said is None or _refused(said) else said

    def listed(self, language: str) -> int:
        """Values of lists in all sentences of a language, counted at every place where they may be said."""
        return self._languages[language].values

    def vocabulary(self, language: str) -> tuple[str, ...]:
        """Every word that sentences of a language are made of, without numbers."""
        return self._languages[language].vocabulary

    def network(self, language: str) -> Network:
        """The sentences of a language as a network of words."""
        return self._languages[language].network

    def slots(self, command: str, language: str) -> list[Slot]:
        """The slots in the sentences of one command."""
        return self._languages[language].slots.get(command, [])

    def intents(self, language: str) -> Intents:
        """The same grammar as hassil's object: an intent for every command, lists for every slot."""
        return self._languages[language].intents


def _least_free(matches: list[Match]) -> list[Match]:
    """Of readings of one command, those in which wildcards swallow least: the rest is what its author wrote."""
    if len({match.command.name for match in matches}) != 1:
        return matches
    most = max(len(match.literal.split()) for match in matches)
    return [match for match in matches if len(match.literal.split()) == most]


def shown(match: Match) -> str:
    """A match as people read it: set_speed(press=press_2, speed=95)."""
    return f"{match.command.name}({', '.join(f'{name}={value}' for name, value in match.params.items())})"


def _refused(match: Match) -> str | None:
    """Why the parameters of a sentence are none of the command's."""
    for name, schema in match.command.params.items():
        if name not in match.params:
            if not schema.get("optional"):
                return Reason("{} needs {}", match.command.name, name)
        elif reason := fault(schema, match.params[name]):
            unit = f" ({schema['unit']})" if "unit" in schema else ""
            return Reason("{}: {}", name + unit, reason)
    return None


class _Language:
    """What can be said in one language."""

    def __init__(self, pack: Pack, language: str) -> None:
        self.language = language
        self.intents = intents(pack, language)
        self._given = pack.words[language].lists if language in pack.words else {}
        self._listed: dict[str, Source] = {}
        self.slots: dict[str, list[Slot]] = {}
        draft = self._draft()
        for command in pack.commands.values():
            for sentence in command.sentences.get(language, ()):
                origin = _Origin(command, sentence.template, tuple(sentence.params.items()))
                expression = template(sentence.template, command.name, language)
                try:
                    draft.add(expression, origin, partial(self._source, command))
                except TemplateError as error:
                    place = ("commands", command.name, "sentences", language, sentence.template)
                    raise GrammarError(place, str(error)) from error
        self.network: Network = draft.finish()
        for silent in self.network.nodes[0].ends:
            assert isinstance(silent, _Origin)
            place = ("commands", silent.command.name, "sentences", language, silent.template)
            raise GrammarError(place, "everything in it is optional: silence would be this command")
        self.size = self.network.size

    def _draft(self) -> Draft:
        return Draft(self.language, self.intents.expansion_rules)

    @cached_property
    def values(self) -> int:
        """See Grammar.listed."""
        slots = (slot for node in self.network.nodes for slot in node.slots)
        return sum(slot.source.size for slot in slots if isinstance(slot.source, Listed))

    def matches(self, text: str) -> Iterator[Match]:
        """Everything that the whole text may mean, values outside their schema included."""
        heard = words(text, self.language)
        for end, origin, params, literal in self.network.walk(heard):
            if end == len(heard):
                assert isinstance(origin, _Origin)
                merged = _merged(origin.params, params)
                if merged is not None:
                    said, own = " ".join(heard), " ".join(literal)
                    yield Match(origin.command, merged, said, origin.template, self.language, own)

    def say(self, index: int) -> Match | None:
        said, origin, params = self.network.say(index)
        assert isinstance(origin, _Origin)
        merged = _merged(origin.params, params)
        return None if merged is None else Match(origin.command, merged, " ".join(said), origin.template, self.language)

    @cached_property
    def _compared(self) -> list[str]:
        return [" ".join(self.network.say(index)[0]) for index in self.network.spread(_COMPARED)]

    def nearest(self, text: str) -> tuple[float, str]:
        """How like (0–100), and which; an empty text where nothing is like it."""
        heard = " ".join(words(text, self.language))
        found = process.extractOne(heard, self._compared, scorer=fuzz.ratio, score_cutoff=_LIKE)
        return (found[1], found[0]) if found else (0.0, "")

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        networks = [self.network, *(source.network for source in self._listed.values() if isinstance(source, Listed))]
        return tuple(sorted({word for network in networks for word in network.vocabulary}))

    def _source(self, command: Command, reference: ListReference) -> Source:
        """What can be said for a {reference} in a sentence of `command`."""
        source = self._found(command, reference)
        self.slots.setdefault(command.name, []).append(Slot(reference.slot_name, source, 0))
        return source

    def _found(self, command: Command, reference: ListReference) -> Source:
        name = reference.slot_name
        schema = command.params.get(name)
        if schema is None:
            raise TemplateError(f"{{{name}}} is no parameter of {command.name}: add it to its params")
        slots = self.intents.slot_lists.get(reference.list_name)
        if inline := reference.get_inline_range():
            start, stop, step = map(Decimal, inline)
            return self._number(schema, Stepped(start, stop, step))
        if reference.list_name not in self._given and is_number(schema):
            return self._number(schema, None)
        if isinstance(slots, RangeSlotList):
            return self._number(schema, _stepped(slots))
        if slots is None:
            raise TemplateError(f"there is no list {{{reference.list_name}}}, and {name} is no number and has no enum")
        if reference.list_name not in self._listed:
            self._listed[reference.list_name] = self._made(reference.list_name, slots)
        return self._listed[reference.list_name]

    def _number(self, schema: Mapping[str, Any], stepped: Stepped | None) -> Source:
        return Number(schema, self.language, schema.get("unit"), stepped)

    def _made(self, name: str, slots: SlotList) -> Source:
        if isinstance(slots, WildcardSlotList):
            return Anything()
        assert isinstance(slots, TextSlotList)
        draft = self._draft()
        for item in slots.values:
            if not isinstance(item.value_out, Value):
                raise TemplateError(f"the list {name} has a template without `out`: say what it gives")
            draft.add(item.text_in, item.value_out, partial(_no_lists_in_lists, name))
        network = draft.finish()
        if network.nodes[0].ends:
            raise TemplateError(f"a value of the list {name} may be said without a word")
        return Listed(network)


def _no_lists_in_lists(name: str, reference: ListReference) -> Source:
    raise TemplateError(f"the list {name} refers to {{{reference.list_name}}}: lists hold words and rules only")


def _stepped(slots: RangeSlotList) -> Stepped:
    fraction = {"halves": Decimal("0.5"), "tenths": Decimal("0.1")}
    step = fraction[slots.fraction_type] if slots.fraction_type else Decimal(slots.step)
    multiplier = Decimal(str(slots.multiplier or 1))
    return Stepped(Decimal(slots.start), Decimal(slots.stop), step, multiplier)


def _merged(fixed: Params, said: Params) -> dict[str, Value] | None:
    """All parameters of a sentence; None where one was said twice with different values."""
    merged: dict[str, Value] = {}
    for name, value in (*said, *fixed):
        if merged.setdefault(name, value) != value:
            return None
    return merged
