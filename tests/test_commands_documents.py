"""YAML: text stays text, every key has its line, nothing stands twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.commands.documents import read_yaml, shown, write_yaml
from streamd.errors import ConfigError

TEXT = """\
commands:
  light:
    sentences:
      - "light on"
      - {template: light off, params: {state: off}}
    quick: true
"""


def test_on_and_off_are_words() -> None:
    data, lines = read_yaml(TEXT, "pack.yaml")
    light = data["commands"]["light"]
    assert light["sentences"][1] == {"template": "light off", "params": {"state": "off"}}
    assert light["quick"] is True
    assert lines["commands", "light", "quick"] == "pack.yaml:6"
    assert lines["commands", "light", "sentences", 1, "params", "state"] == "pack.yaml:5"
    assert lines["commands", "light", "sentences", "light on"] == "pack.yaml:4"
    assert shown(("commands", "light", 1)) == "commands.light.1"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("true", True), ("false alarm", "false alarm"), ("truely", "truely"), ("yes", "yes"), ("~", None)),
        *(("12:30", "12:30"), ("2026-01-02", "2026-01-02"), ("1_000", "1_000"), ("null", None), ("null and void",) * 2),
        *(("12", 12), ("-0.5", -0.5), ("+7", 7), ("1e3", 1000.0), ("0x1F", "0x1F"), ("5.", 5.0), ("3 bar", "3 bar")),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, value: object) -> None:
    data, _ = read_yaml(f"a: {written}", "pack.yaml")
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


def test_leading_zeros_make_no_octal_numbers() -> None:
    found = read_yaml("a: [010, 007, -08, 12]", "pack.yaml")[0]["a"]
    assert found == [10, 7, -8, 12]
    assert {type(value) for value in found} == {int}


def test_keys_may_be_merged() -> None:
    data, _ = read_yaml("a: &safe {risk: low}\nb: {<<: *safe, cooldown_s: 2}", "pack.yaml")
    assert data["b"] == {"risk": "low", "cooldown_s": 2}


def test_what_is_written_is_read() -> None:
    data, _ = read_yaml(TEXT, "pack.yaml")
    shared = [data["commands"], data["commands"]]
    assert read_yaml(write_yaml({"a": shared}), "again.yaml")[0] == {"a": shared}
    assert "&" not in write_yaml({"a": shared})


@given(
    st.from_regex(r"[-+]?[0-9]{0,20}\.?[0-9]{0,9}(e[0-9]{1,2})?", fullmatch=True) | st.integers() | st.floats(-1e9, 1e9)
)
def test_text_stays_text_and_numbers_numbers(value: str | float) -> None:
    again = read_yaml(write_yaml({"a": value}), "again.yaml")[0]["a"]
    assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- light", "pack.yaml: no pack: it has to begin with keys such as commands:"),
        ("", "pack.yaml: no pack: it has to begin with keys such as commands:"),
        ("a: 1\nb: 2\na: 3", "pack.yaml:3: a stands twice; the other is at pack.yaml:1"),
        ("a:\n  - b: 1\n    b: 2", "pack.yaml:3: a.0.b stands twice; the other is at pack.yaml:2"),
        ("a: [1", "pack.yaml:1: not a YAML file: expected ',' or ']', but got '<stream end>'"),
        ("a: \x07", "pack.yaml: not a YAML file: "),
    ],
)
def test_what_is_no_pack_is_named(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_yaml(text, "pack.yaml")
    assert str(refused.value).startswith(reason)
