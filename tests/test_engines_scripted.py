"""The engine that answers from a script."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.tools.tool import Tool, ToolCall
from streamd.engines.base import Context, Hypothesis, UnknownUtterance
from streamd.engines.scripted import REMEMBERED, ScriptedEngine, build
from streamd.errors import ConfigError
from tests.gate import Gate

LAMP = [
    {"text": " lamp", "start_s": 0.2, "end_s": 0.5},
    {"text": " on", "start_s": 0.6, "end_s": 0.9, "confidence": 0.5, "at_first": " off", "until_s": 1.5},
]


def hear(
    engine: ScriptedEngine,
    seconds: float,
    utterance: str = "u",
    *,
    first: bool = True,
    last: bool = False,
    **known: Any,
) -> Hypothesis:
    samples = np.zeros(round(16_000 * seconds), np.int16)
    return engine.advance(utterance, samples, last, Context(**known), first=first)


def test_without_a_script_it_counts() -> None:
    engine = build({})
    engine.warm_up()
    assert hear(engine, 0.3).text == ""
    assert hear(engine, 0.9, first=False).text == "one two three"  # 3 × 0.4 s to the sample
    assert (
        hear(engine, 3.2, first=False, last=True).text
        == "one two three four five six seven eight nine one-zero one-one"
    )


def test_words_appear_once_they_were_heard_and_may_be_revised() -> None:
    engine = build({"utterances": [LAMP]})
    assert hear(engine, 0.4).text == ""
    assert hear(engine, 0.2, first=False).text == "lamp"
    assert hear(engine, 0.5, first=False).text == "lamp off"
    final = hear(engine, 0.5, first=False, last=True)
    assert [(word.text, word.start_s, word.end_s, word.confidence) for word in final.words] == [
        (" lamp", 0.2, 0.5, 0.9),
        (" on", 0.6, 0.9, 0.5),
    ]
    assert final.covered_s == 1.6


def test_the_last_call_shows_what_has_begun() -> None:
    final = hear(build({"utterances": [LAMP]}), 0.7, last=True)
    assert [(word.text, word.end_s) for word in final.words] == [(" lamp", 0.5), (" off", 0.7)]


def test_a_text_is_spread_over_its_utterance() -> None:
    engine = build({"utterances": [{"text": "größer als 你好 Žižek", "word_s": 0.5, "language": "de"}]})
    assert hear(engine, 1.0).text == "größer als"
    final = hear(engine, 0.6, first=False, last=True)
    assert (final.text, final.language) == ("größer als 你好 Žižek", "de")
    assert [word.end_s for word in final.words] == pytest.approx([0.4, 0.8, 1.2, 1.6])


def test_no_sound_no_words() -> None:
    assert hear(build({"utterances": ["hello"]}), 0, last=True).words == ()


def test_utterances_are_given_out_in_turn_except_named_ones() -> None:
    engine = build({"utterances": ["a", "b", {"id": "room/7", "text": "c"}]})
    heard = [hear(engine, 1, name, last=True).text for name in ("x", "room/7", "y", "z", "x")]
    assert heard == ["a", "c", "b", "a", "a"]


def test_only_named_utterances_leave_the_others_empty() -> None:
    assert hear(build({"utterances": [{"id": "room/7", "text": "c"}]}), 1).text == ""


def test_a_program_s_language_is_repeated() -> None:
    assert hear(build({}), 1, language="fr").language == "fr"


@given(
    committed=st.text(st.characters(codec="utf-8", exclude_categories=("Zs", "Cc")), max_size=12).map(str.strip),
    tail=st.sampled_from(["", " and more", " lamp"]),
    seconds=st.floats(0, 3),
)
def test_it_goes_on_from_what_was_shown_for_good(committed: str, tail: str, seconds: float) -> None:
    shown = (committed + tail).strip()
    hypothesis = hear(build({"utterances": [LAMP]}), seconds, committed=shown)
    assert hypothesis.text.startswith(shown)
    assert all(0 <= word.start_s <= word.end_s <= seconds + 0.001 for word in hypothesis.words)


def test_what_was_shown_replaces_as_many_words() -> None:
    assert hear(build({"utterances": [LAMP]}), 1, committed="ramp").text == "ramp off"
    assert hear(build({"utterances": [LAMP]}), 1, committed="a long ramp").text == "a long ramp"


def test_an_utterance_may_ask_for_a_call() -> None:
    on = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    engine = build({"utterances": [{"text": "light", "call": {"name": "light", "arguments": {"on": True}}}, "hello"]})
    for utterance in ("u", "v"):
        hear(engine, 1, utterance, last=True)
    sound = np.zeros(16_000, np.int16)
    engine.prepare([Tool("light", "", on)])
    asked = engine.decide("u", sound, [Tool("light", "", on)], Context())
    assert (asked.call, asked.margin, asked.problem) == (ToolCall("light", {"on": True}), 5.0, None)
    assert engine.decide("v", sound, [Tool("light", "", on)], Context()).call is None
    unknown = engine.decide("u", sound, [Tool("light", "")], Context())
    assert unknown.call is None
    assert unknown.problem is not None


def test_open_and_closed_utterances() -> None:
    engine = build({})
    with pytest.raises(UnknownUtterance):
        hear(engine, 1, first=False)
    hear(engine, 1)
    engine.forget("u")
    engine.forget("u")
    with pytest.raises(UnknownUtterance):
        hear(engine, 1, first=False)


def test_a_script_file_and_its_memory(tmp_path: Path) -> None:
    """Another worker gives an utterance the same words as the first one did, and faults do not happen again."""
    script = tmp_path / "demo.toml"
    script.write_text(
        'memory = "memory.json"\nutterances = ["a", "b"]\n[[faults]]\ncall = 2\nkind = "raise"\n', encoding="utf-8"
    )
    options = {"script": str(script)}
    engine = build(options)
    assert hear(engine, 1, "x").text == "a"
    with pytest.raises(RuntimeError, match="this call fails"):
        hear(engine, 1, "y")
    assert hear(engine, 1, "y").text == "b"
    replaced = build(options)
    assert hear(replaced, 1, "y").text == "b"
    assert hear(replaced, 1, "z").text == "a"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["demo.toml", "memory.json"]


def test_memory_has_an_end(tmp_path: Path) -> None:
    engine = build({"utterances": ["a", "b"], "memory": str(tmp_path / "memory.json")})
    for number in range(REMEMBERED + 1):
        hear(engine, 1, str(number), last=True)
    known = json.loads((tmp_path / "memory.json").read_text())["entries"]
    assert len(known) == REMEMBERED
    assert "0" not in known
    assert hear(engine, 1, str(REMEMBERED + 1)).text == "b"


def test_a_json_list_is_a_list_of_utterances(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text('["größer", [{"text": "b", "start_s": 0, "end_s": 1}]]', encoding="utf-8")
    engine = build({"script": path})
    assert [hear(engine, 1, name).text for name in "xy"] == ["größer", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", 'utterance = "x"', "a.toml: utterance: Extra inputs are not permitted, found 'x'"),
        ("a.toml", "utterances = [", "a.toml: not a script"),
        ("a.json", "{", "a.json: not a script"),
        ("a.json", "7", "a.json: a script is a table or a list of utterances, not 7"),
        ("a.json", '["a", {"words": [], "text": ""}]', "a.json: utterances 2: .*either a text or words"),
        ("a.json", '["a", {"text": "b", "word_s": 0}]', "utterances 2 word_s: .*greater than 0, found 0"),
        ("a.json", '[[{"text": "a", "start_s": 1, "end_s": 0}]]', "utterances 1 words 1: .*after its end at 0"),
        ("a.json", '[[{"text": "a", "start_s": 1}]]', "utterances 1 words 1 end_s: Field required"),
        ("a.json", json.dumps([LAMP[::-1]]), "utterances 1: .*' lamp' starts before ' on' ends"),
        ("a.json", '{"faults": [{"kind": "exit"}]}', "faults 1: .*either to a call or to an utterance"),
        ("a.json", '{"faults": [{"kind": "boom", "call": 1}]}', "faults 1 kind: .*found 'boom'"),
        ("a.json", '{"faults": [{"kind": "wait", "call": 1}]}', "faults 1: .*path belongs to kind wait"),
    ],
)
def test_a_bad_script_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        build({"script": tmp_path / name})


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: the script can't be read \(No such file"):
        build({"script": tmp_path / "gone.toml"})


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a script"):
        build({"script": tmp_path / "a.toml"})


def test_bad_options_have_no_file() -> None:
    with pytest.raises(ConfigError, match="engine scripted: utterances 1"):
        build({"utterances": [7]})


def test_a_slow_call(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    hear(build({"faults": [{"call": 1, "kind": "slow", "ms": 250}]}), 1)
    assert slept == [0.25]


def test_a_call_that_waits(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate") as gate:
        engine = build({"faults": [gate.fault("u")]})
        assert hear(engine, 1, "other").text == "one two"
        heard: list[str] = []
        waiting = threading.Thread(target=lambda: heard.append(hear(engine, 1).text))
        waiting.start()
        with gate.arrival():
            assert not heard
        waiting.join()
        assert heard == ["one two"]


def test_a_call_that_ends_its_process() -> None:
    program = "from streamd.engines.scripted import build; build({'faults': [{'call': 0, 'kind': 'exit'}]}).warm_up()"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 70


def test_a_call_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []
    monkeypatch.setattr(threading.Event, "wait", lambda _, timeout=None: waited.append(timeout))
    hear(build({"faults": [{"call": 1, "kind": "hang"}]}), 1)
    assert waited == [None]  # without end
