"""Packs as YAML files: read with the line of every key, merged, and every fault told by where it stands.

    language: en                      # of sentences, lists and rules that don't say theirs
    commands:
      stop_line:
        sentences: ["stop [the] line"]
    lists: …                          # as hassil writes them, and expansion_rules

A pack in several languages gives `sentences: {en: […], de: […]}` and `words: {en: {lists: …}, de: {lists: …}}`.
Text is text: `on`, `off`, `yes` and `no` are words, as in YAML 1.2; only true and false are not.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from platformdirs import user_config_path
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamd.commands.documents import Place, read_yaml, shown
from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar, GrammarError
from streamd.errors import ConfigError
from streamd.resources import resource

SUFFIXES = (".yaml", ".yml")
_LANGUAGE = "en"  # of a file that doesn't say
_WORDS = ("lists", "expansion_rules")
_ATTRIBUTE = re.compile(r"([\w.]+):([\w.]+)")


@dataclass(slots=True)
class Origins:
    """Where everything in a pack stands: file:line by its place in the pack."""

    lines: dict[Place, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # files that were read

    def __getitem__(self, place: Place) -> str:
        """The line of a place, or of what is around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, ", ".join(self.names))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pack, and where its parts come from."""

    pack: Pack
    origins: Origins

    def grammar(self) -> Grammar:
        """Raises ConfigError that names file and line."""
        try:
            return Grammar(self.pack)
        except GrammarError as error:
            raise ConfigError(f"{self.origins[error.place]}: {shown(error.place)}: {error.reason}") from error


def load(packs: Sequence[str | Path]) -> Loaded:
    """The pack that files, folders, names of shipped packs and `module:attribute` make together. Raises ConfigError."""
    origins = Origins()
    merged: dict[str, Any] = {"commands": {}, "words": {}}
    for given in packs:
        for name, data, lines in _parts(str(given)):
            origins.names.append(name)
            _merge(merged, data, lines, origins)
    if not merged["commands"]:
        raise ConfigError(f"{', '.join(map(str, packs))}: there are no commands in it")
    try:
        return Loaded(Pack.model_validate(merged), origins)
    except ValidationError as error:
        _explain(error.errors()[0], origins)


# --- what is given --------------------------------------------------------------------------------------------------


def _parts(given: str) -> Iterator[tuple[str, dict[str, Any], dict[Place, str]]]:
    """Each file: its name, what it says, and where."""
    if _ATTRIBUTE.fullmatch(given) and not Path(given).exists():
        yield given, _from_python(given), {}
        return
    for path in _files(given):
        yield _relative(path), *_read(path)


def _files(given: str) -> list[Path]:
    named = [Path(given).expanduser()]
    if "/" not in given:
        named += [
            folder / f"{given}{suffix}"
            for folder in (user_config_path("streamd") / "commands", resource("commands"))
            for suffix in ("", *SUFFIXES)
        ]
    path = next((path for path in named if path.exists()), None)
    if path is None:
        shipped = ", ".join(sorted(path.stem for path in resource("commands").glob("*.yaml")))
        raise ConfigError(f"{given}: there is no such pack; give a file or folder, or one of {shipped}")
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not files:
        raise ConfigError(f"{given}: there is no *.yaml file in it")
    return files


def _from_python(given: str) -> dict[str, Any]:
    """A pack that a decorated module offers, which may be in the working directory."""
    module, attribute = given.split(":")
    try:
        with _here_too():
            found: Any = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{given}: can't be imported: {error}") from error
    pack = getattr(found, "pack", found)
    if not isinstance(pack, Pack):
        raise ConfigError(f"{given}: is a {type(found).__name__}, not a pack: see streamd.commands.decorate")
    said = pack.model_dump(mode="json", exclude_unset=True)
    for command in said["commands"].values():
        command.pop("name")
    return said


@contextmanager
def _here_too() -> Iterator[None]:
    """Modules are looked for in the working directory, after all other places."""
    here = str(Path.cwd())
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _relative(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _read(path: Path) -> tuple[dict[str, Any], dict[Place, str]]:
    name = _relative(path)
    try:
        return read_yaml(path.read_bytes().decode(), name)
    except OSError as error:
        raise ConfigError(f"{name}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not a YAML file: byte {error.start} is not UTF-8") from error


# --- one file of several --------------------------------------------------------------------------------------------


def _merge(merged: dict[str, Any], data: Mapping[str, Any], lines: Mapping[Place, str], origins: Origins) -> None:
    """What a file says beside what others said; nothing may be said twice."""
    name = origins.names[-1]
    language = data.get("language", _LANGUAGE)
    for key, value in data.items():
        place = lines.get((key,), name)
        if key in _WORDS:
            _add_words(merged, language, {key: value}, origins, lines, (key,))
        elif key == "words":
            for spoken, words in _mapping(value, place, key).items():
                _add_words(merged, spoken, words, origins, lines, (key, spoken))
        elif key == "commands":
            for title, command in _mapping(value, place, key).items():
                _add_command(merged, str(title), command, language, origins, lines)
        elif key != "language":
            raise ConfigError(
                f"{place}: unknown key {key}: a pack has commands, words, language, lists, expansion_rules"
            )


def _add_command(
    merged: dict[str, Any],
    title: str,
    command: Any,
    language: str,
    origins: Origins,
    lines: Mapping[Place, str],
) -> None:
    here = ("commands", title)
    place = lines.get(here, origins.names[-1])
    if title in merged["commands"]:
        raise ConfigError(f"{place}: {title} is defined twice; the other is at {origins[here]}")
    command = dict(_mapping(command, place, title))
    for key, alone in (("sentences", list), ("prompt", str)):
        if isinstance(command.get(key), alone):
            command[key] = {language: command[key]}
    merged["commands"][title] = command | {"name": title}
    inside = {inner: line for inner, line in lines.items() if inner[:2] == here}
    said = {inner: line for inner, line in inside.items() if inner[:3] == (*here, "sentences")}
    origins.lines |= inside | {(*inner[:3], language, *inner[3:]): line for inner, line in said.items()}


def _add_words(
    merged: dict[str, Any],
    language: str,
    words: Any,
    origins: Origins,
    lines: Mapping[Place, str],
    where: Place,
) -> None:
    place = lines.get(where, origins.names[-1])
    taken = merged["words"].setdefault(language, {kind: {} for kind in _WORDS})
    for kind, items in _mapping(words, place, shown(where)).items():
        if kind not in _WORDS:
            raise ConfigError(f"{place}: unknown key {kind}: words have lists and expansion_rules")
        for title, item in _mapping(items, place, kind).items():
            here = ("words", language, kind, title)
            inside = (*where, title) if where == (kind,) else (*where, kind, title)
            if title in taken[kind] and taken[kind][title] != item:
                other = origins[here]
                raise ConfigError(f"{lines.get(inside, place)}: {title} is defined otherwise at {other}: rename one")
            taken[kind][title] = item
            origins.lines |= {
                (*here, *inner[len(inside) :]): line for inner, line in lines.items() if inner[: len(inside)] == inside
            }


def _mapping(value: Any, place: str, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: {name}: has to be keys with values, not {type(value).__name__}")
    return value


def _explain(error: ErrorDetails, origins: Origins) -> NoReturn:
    place = error["loc"]
    given = error["input"]
    value = f" = {given!r}" if isinstance(given, str | int | float | bool) else ""
    reason = re.sub(r"^(Value error, |Input )", "", error["msg"])
    raise ConfigError(f"{origins[place]}: {shown(place)}{value}: {reason}")
