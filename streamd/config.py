"""Where every setting comes from: config.toml + pipelines/NAME.toml + STREAMD_* + --set + flags → Settings.

Later layers win, key by key. Every value keeps its origin, so that `streamd check` can show it and an error can
name it. What the keys are is settings.py's business.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn

from platformdirs import user_config_path
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from streamd.errors import ConfigError, UsageError
from streamd.resources import resource
from streamd.settings import Pipeline, Settings

DEFAULT = "default"
COMMAND_LINE = "command line"
PREFIX = "STREAMD_"
NOT_SETTINGS = frozenset({"STREAMD_CONFIG", "STREAMD_TOKEN", "STREAMD_TEST_MODELS", "STREAMD_REQUIRE_ALL"})
PLANNED_STAGES = frozenset({"gemma", "push", "sounds", "speakers", "translate"})
OPTIONAL_STAGES = frozenset({"revise", "route", "commands"})
_SECRETS = "server.tokens."


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for every dotted key where its value came from."""

    settings: Settings
    origins: dict[str, str]
    files: tuple[Path, ...] = ()  # that were read, in order

    def changed(self) -> dict[str, object]:
        """Dotted key → value of everything that differs from the defaults."""
        default = flat(Settings())
        return {key: value for key, value in flat(self.settings).items() if value != default[key]}


@dataclass(frozen=True, slots=True)
class _Given:
    """One value of one layer."""

    key: str
    value: object
    origin: str


@dataclass(slots=True)
class _Schema:
    """Dotted names of everything that can be set."""

    leaves: dict[str, FieldInfo] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)


def load(
    config_file: Path | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] | None = None,
) -> Loaded:
    """Settings from all layers. Raises ConfigError, naming the origin, or UsageError for a malformed --set."""
    path = _config_file(config_file, environ)
    file = list(_from_config(path)) if path else []
    texts = [*_from_environment(environ), *_from_sets(sets)]
    flags = [_known(key, value, COMMAND_LINE) for key, value in (overrides or {}).items()]
    pipeline = _pipeline_file([*file, *texts, *flags])
    given = {item.key: item for item in [*file, *_from_pipeline(pipeline), *texts, *flags]}
    name = given.get("pipeline_name")
    if name and _is_path(name.value):
        given["pipeline_name"] = _Given(name.key, pipeline.stem, name.origin)
    origins = dict.fromkeys(schema().leaves, DEFAULT) | {item.key: item.origin for item in given.values()}
    return Loaded(_validate(given), origins, (path, pipeline) if path else (pipeline,))


def flat(table: BaseModel, prefix: str = "") -> dict[str, object]:
    """Dotted key → value of everything in `table`."""
    values: dict[str, object] = {}
    for name in type(table).model_fields:
        value = getattr(table, name)
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {f"{prefix}{name}": value}
    return values


def shown(key: str, value: object) -> str:
    """A value as TOML would spell it, a secret left out."""
    if key.startswith(_SECRETS):
        return "(secret)"
    return json.dumps(value, default=str, ensure_ascii=False)


@cache
def schema() -> _Schema:
    """Every key and table of Settings."""
    found = _Schema()

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                found.tables.add(prefix + name)
                walk(info.annotation, f"{prefix}{name}.")
            else:
                found.leaves[prefix + name] = info

    walk(Settings, "")
    return found


# --- layers ---------------------------------------------------------------------------------------------------------


def _config_file(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    if explicit:
        return explicit
    if named := environ.get("STREAMD_CONFIG"):
        return Path(named).expanduser()
    own = user_config_path("streamd") / "config.toml"
    return own if own.exists() else None


def _from_config(path: Path) -> Iterator[_Given]:
    table, lines = _read(path)
    for item in _walk(table, "", _Places(path, lines)):
        if item.key.startswith("pipeline."):
            raise ConfigError(f"{item.origin}: {item.key}: stages are set in pipelines/NAME.toml, not here")
        yield item


def _pipeline_file(given: Sequence[_Given]) -> Path:
    choice = _Given("pipeline_name", "captions", DEFAULT)
    for item in given:
        choice = item if item.key == "pipeline_name" else choice
    name = choice.value
    if _is_path(name):
        return Path(str(name)).expanduser()
    folders = (user_config_path("streamd") / "pipelines", resource("pipelines"))
    for folder in folders:
        if (folder / f"{name}.toml").exists():
            return folder / f"{name}.toml"
    names = ", ".join(sorted({path.stem for folder in folders for path in folder.glob("*.toml")}))
    raise ConfigError(f"{choice.origin}: there is no pipeline {shown('', name)}; there are {names}, or give a path")


def _from_pipeline(path: Path) -> Iterator[_Given]:
    """A table that is present is a stage that runs; all but OPTIONAL_STAGES have to."""
    table, lines = _read(path)
    places = _Places(path, lines)
    for stage in table:
        if stage in PLANNED_STAGES:
            raise ConfigError(f"{places[stage]}: the stage [{stage}] is not built yet; use --pipeline captions")
    for stage in Pipeline.model_fields:
        if stage not in table and stage not in OPTIONAL_STAGES:
            raise ConfigError(f"{_relative(path)}: the stage [{stage}] is missing; captions need it (it may be empty)")
    if "revise" in table and not table["revise"].get("model"):
        raise ConfigError(f'{places["revise"]}: the stage [revise] needs a model, such as model = "base"')
    if "commands" in table and not table["commands"].get("pack"):
        raise ConfigError(f'{places["commands"]}: the stage [commands] needs a pack, such as pack = "press-line"')
    yield from _walk(table, "pipeline.", places)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            yield from _from_text(key, environ[name], f"environment {name}")


def _from_sets(sets: Sequence[str]) -> Iterator[_Given]:
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: write it as key=value, as in --set server.port=9000")
        yield from _from_text(key.strip(), value.strip(), f"--set {key.strip()}")


def _from_text(key: str, text: str, origin: str) -> Iterator[_Given]:
    """`text` is a TOML value, or a string without its quotes where that is what the key takes."""
    try:
        parsed = tomllib.loads(f"value = {text}")
        value = parsed["value"] if len(parsed) == 1 else text
    except tomllib.TOMLDecodeError:
        value = text
    if key in schema().tables and isinstance(value, dict):
        yield from _walk(value, f"{key}.", _Places(origin))
        return
    typed, plain = _known(key, _expand(value), origin), _known(key, _expand(text), origin)
    yield plain if _fits(plain) and not _fits(typed) else typed


# --- one layer's keys -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Places:
    """Where each key of a layer stands: file:line, or whatever the layer is called."""

    layer: Path | str
    lines: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, key: str) -> str:
        layer = _relative(self.layer) if isinstance(self.layer, Path) else self.layer
        return f"{layer}:{self.lines[key]}" if key in self.lines else layer


def _walk(table: Mapping[str, object], prefix: str, places: _Places, above: str = "") -> Iterator[_Given]:
    for name, value in table.items():
        place = places[above + name]
        if prefix + name in schema().tables and isinstance(value, dict):
            yield from _walk(value, f"{prefix}{name}.", places, f"{above}{name}.")
        else:
            yield _known(prefix + name, _expand(value), place)


def _known(key: str, value: object, origin: str) -> _Given:
    if key in schema().leaves:
        return _Given(key, value, origin)
    if key in schema().tables:
        raise ConfigError(f"{origin}: {key} = {shown(key, value)}: {key} is a table of keys, not a value")
    near = _nearest(key)
    raise ConfigError(f"{origin}: unknown key {key}" + (f"; did you mean {near}?" if near else ""))


def _nearest(key: str) -> str | None:
    """The key that was probably meant.

    In this order: one that lacks only its dots or its first tables, a similar name beside it, the same name elsewhere,
    anything similar.
    """
    names = [*schema().leaves, *schema().tables]
    whole = [name for name in names if name.endswith(f".{key}") or _letters(name) == _letters(key)]
    table, _, last = key.rpartition(".")
    siblings = [name for name in names if name.rpartition(".")[0] == table]
    namesakes = [name for name in names if name.rpartition(".")[2] == last]
    close = whole or get_close_matches(key, siblings, 1) or namesakes[:1] or get_close_matches(key, names, 1)
    return close[0] if close else None


def _letters(key: str) -> str:
    return re.sub(r"[._-]", "", key).casefold()


def _expand(value: object) -> object:
    """`~/` at the start of a string is the home directory."""
    return str(Path(value).expanduser()) if isinstance(value, str) and value.startswith("~/") else value


def _is_path(name: object) -> bool:
    return isinstance(name, str) and ("/" in name or name.endswith(".toml"))


# --- files ----------------------------------------------------------------------------------------------------------

_HEADER = re.compile(r"\s*\[\s*([\w.\- ]+?)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([\w.\-]+)\s*=")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """A TOML file, and the line of each of its keys and tables."""
    name = _relative(path)
    try:
        text = path.read_bytes().decode()
        return tomllib.loads(text), _line_numbers(text)
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: there is no such file") from error
    except OSError as error:
        raise ConfigError(f"{name}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not a TOML file: byte {error.start} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not a TOML file: {error}") from error


def _line_numbers(text: str) -> dict[str, int]:
    """Good enough to point at a line: strings over several lines are not understood."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            lines[header[1]] = number
            table = f"{header[1]}."
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault(table + assignment[1], number)
    return lines


def _relative(path: Path) -> str:
    """As short as it can be and still be found from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


# --- validation -----------------------------------------------------------------------------------------------------


def _fits(item: _Given) -> bool:
    info = schema().leaves[item.key]
    kind: Any = Annotated[info.annotation, info]
    try:
        TypeAdapter(kind).validate_json(json.dumps(item.value, default=str), strict=True)
    except ValidationError:
        return False
    return True


def _validate(given: Mapping[str, _Given]) -> Settings:
    """Strict, and as JSON: text is no number and 1 is no boolean, but a list may be a tuple and text a path."""
    tree: dict[str, Any] = {}
    for item in given.values():
        *tables, name = item.key.split(".")
        table = tree
        for step in tables:
            table = table.setdefault(step, {})
        table[name] = item.value
    try:
        return Settings.model_validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        _explain(error.errors()[0], given)


def _explain(error: ErrorDetails, given: Mapping[str, _Given]) -> NoReturn:
    key = ".".join(str(step) for step in error["loc"])
    culprit = next((item for item in given.values() if f"{key}.".startswith(f"{item.key}.")), None)
    reason = _reason(error, culprit.key if culprit else "")
    if culprit:
        raise ConfigError(f"{culprit.origin}: {culprit.key} = {shown(culprit.key, culprit.value)}: {reason}")
    near = [item for item in given.values() if item.key.startswith(f"{key}.")]
    near = [item for item in near if re.search(rf"\b{item.key.rpartition('.')[2]}\b", reason)] or near
    default = flat(Settings())
    near = [item for item in near if item.value != default[item.key]] or near  # what is as shipped is not at fault
    raise ConfigError(f"[{key}] {reason} ({', '.join(f'{item.key} from {item.origin}' for item in near)})")


def _reason(error: ErrorDetails, key: str) -> str:
    match error["type"]:
        case "string_pattern_mismatch":
            return f"should be {schema().leaves[key].description}"
        case "tuple_type":
            return 'should be a list, as in ["one", "two"]'
        case _:
            return re.sub(r"^(Value error, |Input )", "", error["msg"])
