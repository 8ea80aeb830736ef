"""Packs from files: merged, and every fault told with the line where it stands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamd.commands.files import load
from streamd.core.commands.grammar import Match
from streamd.errors import ConfigError

LIGHT = """\
commands:
  light:
    sentences: ["light {state}"]
    params: {state: {enum: [on, off]}}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_files_of_a_folder_are_one_pack(tmp_path: Path) -> None:
    (tmp_path / "packs" / "more").mkdir(parents=True)
    (tmp_path / "packs" / "light.yaml").write_text(LIGHT)
    lists = "lists:\n  state: {values: [{in: very dark, out: off}]}\n"
    horn = "language: de\ncommands:\n  horn:\n    sentences: [Hupe]\n    prompt: Wirklich hupen?\n"
    (tmp_path / "packs" / "more" / "horn.yml").write_text(horn)
    (tmp_path / "packs" / "words.yaml").write_text(lists)
    (tmp_path / "packs" / "notes.txt").write_text("not one of them")
    loaded = load([tmp_path / "packs"])
    grammar = loaded.grammar()
    found = grammar.match("light very dark")
    assert isinstance(found, Match)
    assert found.params == {"state": "off"}
    assert isinstance(grammar.match("Hupe", "de"), Match)
    assert loaded.pack.commands["horn"].prompt == {"de": "Wirklich hupen?"}
    assert loaded.origins["commands", "horn", "sentences", "de", "Hupe"] == "packs/more/horn.yml:4"
    assert loaded.origins["words", "en", "lists", "state", "values"] == "packs/words.yaml:2"
    assert loaded.origins["commands", "nothing"] == "packs/light.yaml, packs/more/horn.yml, packs/words.yaml"


def test_the_same_list_twice_is_one(tmp_path: Path) -> None:
    words = "words:\n  en:\n    lists:\n      state: {values: [{in: dark, out: off}]}\n"
    (tmp_path / "light.yaml").write_text(LIGHT + words)
    (tmp_path / "words.yaml").write_text(words)
    assert load(["light.yaml", "words.yaml"]).grammar().match("light dark")


def test_shipped_packs_are_known_by_name() -> None:
    assert set(load(["press-line"]).grammar().languages) == {"de", "en"}


PACK = "commands:\n  light:\n    sentences: [light]\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "pack.yaml: there are no commands in it"),
        (
            "intents: {}",
            "pack.yaml:1: unknown key intents: a pack has commands, words, language, lists, expansion_rules",
        ),
        ("commands: [light]", "pack.yaml:1: commands: has to be keys with values, not list"),
        ("commands:\n  light: now", "pack.yaml:2: light: has to be keys with values, not str"),
        (f"{PACK}    shell: rm", "pack.yaml:4: commands.light.shell = 'rm': Extra inputs are not permitted"),
        (
            f"{PACK}    safety:\n      risk: high",
            "pack.yaml:5: commands.light.safety.risk = 'high': should be 'read', 'low', 'confirm', 'two_person' or",
        ),
        (
            f"{PACK}    params:\n      p: {{type: array}}",
            "pack.yaml:4: commands.light.params: p: type 'array' can't be spoken: use one of",
        ),
        (
            "commands:\n  light:\n    sentences:\n      - light\n      - light {p}",
            "pack.yaml:5: commands.light.sentences.en.light {p}: {p} is no parameter of light: add it to its params",
        ),
        (f"{PACK}lists:\n  p: {{value: []}}", "pack.yaml:5: words.en.lists.p: not as hassil writes it"),
        (f"{PACK}words:\n  en:\n    list: {{}}", "pack.yaml:5: unknown key list: words have lists and expansion_rules"),
    ],
)
def test_faults_are_told_with_their_line(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "pack.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(["pack.yaml"]).grammar()
    assert str(refused.value).startswith(reason)


def test_what_two_files_say_of_the_same_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LIGHT + "lists:\n  p: {wildcard: true}")
    (tmp_path / "b.yaml").write_text(LIGHT)
    (tmp_path / "c.yaml").write_text("lists:\n  p: {values: [a]}")
    with pytest.raises(ConfigError, match=r"b.yaml:2: light is defined twice; the other is at a.yaml:2"):
        load(["a.yaml", "b.yaml"])
    with pytest.raises(ConfigError, match=r"c.yaml:2: p is defined otherwise at a.yaml:6: rename one"):
        load(["a.yaml", "c.yaml"])


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"commands: \xe4")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "locked.yaml").symlink_to("/proc/self/mem")
    for given, reason in {
        "nowhere": "nowhere: there is no such pack; give a file or folder, or one of press-line",
        "./nowhere": "./nowhere: there is no such pack",
        "empty": "empty: there is no \\*.yaml file in it",
        "latin.yaml": "latin.yaml: not a YAML file: byte 10 is not UTF-8",
        "locked.yaml": "locked.yaml: can't be read: Input/output error",
        "json:nothing": "json:nothing: can't be imported: module 'json' has no attribute 'nothing'",
        "no_such_module:pack": "no_such_module:pack: can't be imported: No module named",
        "json:dumps": "json:dumps: is a function, not a pack: see streamd.commands.decorate",
    }.items():
        with pytest.raises(ConfigError, match=reason):
            load([given])


def test_a_module_may_be_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_orders.py").write_text(
        "from streamd.commands.decorate import Commands\n"
        "orders = Commands()\n"
        "@orders.command(en=['light on'])\n"
        "def light_on() -> None: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert list(load(["my_orders:orders"]).pack.commands) == ["light_on"]
    assert sys.path == before
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.path)
    load(["my_orders:orders"])
    assert sys.path == before
    monkeypatch.delitem(sys.modules, "my_orders")
