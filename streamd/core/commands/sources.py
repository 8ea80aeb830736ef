"""What can be said in a slot: a value of a list, a number with or without its unit, or anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from streamd.core.commands.network import Free, Network, Value
from streamd.core.commands.params import ENFORCED
from streamd.core.commands.spoken import is_figure, value, words
from streamd.core.commands.units import Unit, compatible, convert

_EXAMPLES = 200  # of a number that are said when sentences are counted


@dataclass(frozen=True, eq=False)
class Listed:
    """One of the values of a list; each ends a sentence of `network` and is what it means."""

    network: Network

    @property
    def size(self) -> int:
        return self.network.size

    def spans(self, heard: Sequence[str], start: int) -> Iterator[tuple[int, Value]]:
        for end, meaning, _, _ in self.network.walk(heard, start):
            assert isinstance(meaning, Value)
            yield end, meaning

    def say(self, index: int) -> tuple[tuple[str, ...], Value]:
        said, meaning, _ = self.network.say(index)
        assert isinstance(meaning, Value)
        return said, meaning


@dataclass(frozen=True)
class Anything:
    """One word or more, as they were heard."""

    size: int = 1

    def spans(self, heard: Sequence[str], start: int) -> Iterator[tuple[int, Value]]:
        for end in range(start + 1, len(heard) + 1):
            yield end, Free(" ".join(heard[start:end]))

    def say(self, index: int) -> tuple[tuple[str, ...], Value]:
        assert index == 0
        return ("something",), Free("something")


@dataclass(frozen=True)
class Stepped:
    """Numbers of hassil's `range`."""

    start: Decimal
    stop: Decimal
    step: Decimal
    multiplier: Decimal = Decimal(1)

    def takes(self, number: Decimal) -> bool:
        return self.start <= number <= self.stop and (number - self.start) % self.step == 0


@dataclass(frozen=True)
class Number:
    """A quantity. Other units of the same kind are converted; without one it is in `unit`.

    What is outside the schema is taken here too: who said it is told why it isn't done.
    """

    schema: Mapping[str, Any]
    language: str
    unit: str | None = None
    range: Stepped | None = None

    @cached_property
    def _units(self) -> list[tuple[tuple[str, ...], Unit]]:
        units = compatible(self.unit) if self.unit else ()
        return [(words(name, self.language), unit) for unit in units for name in unit.names]

    @cached_property
    def _examples(self) -> list[Decimal]:
        return list(_examples(self.schema, self.range, _EXAMPLES))

    def numbers(self, most: int) -> list[str]:
        """Numbers as words of a sentence, from the lowest to the highest: all of them, or about `most`."""
        return [format(number.normalize(), "f") for number in _examples(self.schema, self.range, most)]

    @property
    def units(self) -> list[tuple[str, ...]]:
        """The words of every unit that may be said behind the number."""
        return [name for name, _ in self._units]

    @property
    def size(self) -> int:
        return len(self._examples) * (2 if self._units else 1)

    def spans(self, heard: Sequence[str], start: int) -> Iterator[tuple[int, Value]]:
        if not is_figure(heard[start]):
            return
        number = value(heard[start])
        if self.range and not self.range.takes(number):
            return
        multiplier = self.range.multiplier if self.range else Decimal(1)
        yield start + 1, _plain(number * multiplier)
        for name, unit in self._units:
            if tuple(heard[start + 1 : start + 1 + len(name)]) == name:
                assert self.unit is not None
                yield start + 1 + len(name), _plain(convert(number, unit, self.unit))

    def say(self, index: int) -> tuple[tuple[str, ...], Value]:
        with_unit, which = divmod(index, len(self._examples))
        number = self._examples[which]
        multiplier = self.range.multiplier if self.range else Decimal(1)
        said: tuple[str, ...] = (format(number.normalize(), "f"),)
        if with_unit:
            assert self.unit is not None
            said += words(self.unit, self.language)
        return said, _plain(number * multiplier)


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def _examples(schema: Mapping[str, Any], stepped: Stepped | None, most: int) -> Iterator[Decimal]:
    """Values from the lowest to the highest that may be said, all of them where they are few."""
    if "enum" in schema and not stepped:
        yield from (Decimal(str(item)) for item in schema["enum"])
        return
    limits = {key: Decimal(str(schema[key])) for key in ENFORCED & schema.keys() if _is_limit(schema[key])}
    step = stepped.step if stepped else limits.get("multipleOf", Decimal(1))
    low = stepped.start if stepped else limits.get("minimum", limits.get("exclusiveMinimum", Decimal(0)))
    high = stepped.stop if stepped else limits.get("maximum", limits.get("exclusiveMaximum", low + 100 * step))
    first = -(-low // step) * step if not stepped else low  # the first multiple that isn't below
    first += step if first == limits.get("exclusiveMinimum") else 0
    count = int((high - first) // step) + 1
    for number in range(0, count, max(1, count // most)):
        if (example := first + number * step) != limits.get("exclusiveMaximum"):
            yield example


def _is_limit(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool)
