"""YAML with the line of every key, in which text is text and nothing stands twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from streamd.errors import ConfigError

Place = tuple[str | int, ...]
"""The way to something in a document: keys and numbers of items."""


def shown(place: Place) -> str:
    return ".".join(map(str, place))


class _Loader(yaml.SafeLoader):
    """Scalars as YAML 1.2 has them: off, 12:30 and 2026-01-02 are text, 010 is ten (https://yaml.org/spec/1.2.2/#103-core-schema)."""


class _Dumper(yaml.SafeDumper):
    """Without references from one place to another: each stands for itself. What reads as a number is quoted."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


_KINDS = {
    "merge": (r"<<", ["<"]),  # of YAML 1.1, and used
    "null": (r"null|~|", ["n", "~", ""]),
    "bool": (r"true|false", ["t", "f"]),
    "int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "float": (r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", list("-+0123456789.")),
}
_Loader.yaml_implicit_resolvers = {}
for _kind, (_pattern, _first) in _KINDS.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def read_yaml(text: str, name: str) -> tuple[dict[str, Any], dict[Place, str]]:
    """What a YAML text says, and the line of each of its keys and items. Raises ConfigError."""
    lines: dict[Place, str] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{name}: no pack: it has to begin with keys such as commands:")
        _number(node, (), name, lines)
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(f"{place}: not a YAML file: {getattr(error, 'problem', error)}") from error


def _number(node: yaml.Node, place: Place, name: str, lines: dict[Place, str]) -> None:
    """Lines of everything in a node. A key that stands twice is refused: the last one would win without a word."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, key.value)
            line = f"{name}:{key.start_mark.line + 1}"
            if inner in lines:
                raise ConfigError(f"{line}: {shown(inner)} stands twice; the other is at {lines[inner]}")
            lines[inner] = line
            _number(value, inner, name, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            line = f"{name}:{value.start_mark.line + 1}"
            lines[*place, index] = line
            if isinstance(value, yaml.ScalarNode):
                lines[*place, value.value] = line
            _number(value, (*place, index), name, lines)


def write_yaml(data: Mapping[str, Any]) -> str:
    """Keys in their order, as people write them."""
    text: str = yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
