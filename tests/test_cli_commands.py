"""`streamd commands …` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamd.cli.commands import Origin, _spelt_out
from streamd.commands.imports import KINDS
from tests.cli_runs import Run, runs


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return runs(capsys, monkeypatch, "commands")


def test_recordings_are_tried_beside_texts(run: Run, tiny_en: Path) -> None:
    Path("robot.yaml").write_text(ROBOT)
    recording = Path(__file__).parent / "data" / "goforward.flac"
    arguments = ("robot.yaml", "--text", "Go forward 3 meters", "--audio", str(recording), "--model", str(tiny_en))
    code, out, _ = run("try", *arguments, "--json")
    said, heard = map(json.loads, out.splitlines())
    assert code == 0
    assert (said["decision"], said["params"]) == ("accept", {"metres": 3})
    assert (heard["input"], heard["name"], heard["params"]) == (str(recording), "go", {"metres": 10})
    assert (said["heard"], heard["heard"]) == (None, "Go forward 10 meters.")
    assert heard["scores"].keys() == {"margin", "gap", "word", "shortfall", "ending", "stray", "certainty"}


def test_a_model_that_does_not_know_all_languages_of_a_pack_is_told_of(run: Run, tiny_en: Path) -> None:
    recording = Path(__file__).parent / "data" / "goforward.flac"
    code, out, err = run("try", "press-line", "--audio", str(recording), "--model", str(tiny_en))
    assert (code, err) == (
        0,
        f"streamd: the model {tiny_en} does not know de: recordings are only taken for en; "
        "give --model another one, such as base\n",
    )
    assert "heard: “Go forward" in out


def test_real_orders_are_understood_also_in_noise(run: Run, base: Path) -> None:
    Path("coffee.yaml").write_text(COFFEE.format(drinks="latte, cappuccino, iced coffee, mocha"))
    code, out, _ = run("try", "coffee.yaml", "--audio", str(ORDERS), "--model", str(base), "--json")
    assert code == 0
    tried = [json.loads(line) for line in out.splitlines()]
    assert {Path(one["input"]).stem: (one["decision"], one["params"]) for one in tried} == {
        "dark_roast_cappuccino": ("accept", {"roast": "dark", "drink": "cappuccino"}),
        "dark_roast_iced_coffee_6db": ("accept", {"roast": "dark", "drink": "iced coffee"}),
        "latte_brown_sugar": ("accept", {"drink": "latte", "extra": "brown sugar"}),
    }


def test_real_orders_of_what_there_is_not_are_not_taken_for_others(run: Run, tiny_en: Path) -> None:
    Path("coffee.yaml").write_text(COFFEE.format(drinks="espresso, house coffee, mocha"))
    _, out, _ = run("try", "coffee.yaml", "--audio", str(ORDERS), "--model", str(tiny_en), "--json")
    assert "accept" not in [json.loads(line)["decision"] for line in out.splitlines()]


def test_the_shipped_pack_has_no_errors_and_passes_its_tests(run: Run) -> None:
    code, out, _ = run("lint", "press-line")
    assert code == 0
    assert out.splitlines()[-1].startswith("5 commands in de, en: 0 errors, ")
    assert (
        "press-line.yaml:18: warning: commands.set_speed.params.press: “press 2” and “press 3” sound alike (en)" in out
    )
    assert run("lint", "--strict", "press-line")[0] == 78
    assert run("test", "press-line") == (0, "28 of 28 tests passed\n", "")


ORDERS = Path(__file__).parent / "data" / "commands"
COFFEE = """\
commands:
  order:
    sentences: ["(can I have|I want|make me|brew) (a|an) [{{roast}} roast] {{drink}} [with {{extra}}]"]
    params:
      roast: {{enum: [light, medium, dark], optional: true}}
      drink: {{enum: [{drinks}]}}
      extra: {{enum: [milk, cream, sugar, brown sugar], optional: true}}
    safety: {{risk: low}}
"""

ROBOT = """\
commands:
  go:
    sentences: ["go forward {metres} meters"]
    params:
      metres: {type: integer, minimum: 1, maximum: 20}
    safety: {risk: low}
"""

PACK = """\
commands:
  light:
    sentences: ["light on"]
    safety: {risk: low}
    tests:
      accept: ["light off"]
      reject: ["light on"]
"""


def test_what_is_wrong_is_told_with_its_line(run: Run) -> None:
    Path("pack.yaml").write_text(PACK)
    code, out, _ = run("test", "pack.yaml")
    assert code == 78
    assert out.splitlines() == [
        "pack.yaml:6: “light off” should be light, but no command says this",
        "pack.yaml:7: “light on” should be rejected, but it is light()",
        "0 of 2 tests passed",
    ]
    code, out, _ = run("lint", "pack.yaml")
    assert code == 78
    assert "pack.yaml:7: error: commands.light.tests.reject.0: “light on” should be rejected, but it is light()" in out
    Path("pack.yaml").write_text(PACK.replace("light on", "light {x}"))
    code, _, err = run("lint", "pack.yaml")
    assert code == 78
    assert err.startswith("streamd: pack.yaml:3: commands.light.sentences.en.light {x}: {x} is no parameter of light")


def test_each_text_is_one_line(run: Run) -> None:
    code, out, _ = run(
        "try", "press-line", "--text", "light on", "don't stop the line", "--text", "Licht aus", "--json"
    )
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [list(line) for line in lines] == 3 * [
        ["input", "decision", "name", "params", "reason", "nearest", "scores", "limits", "heard", "answer"]
    ]
    assert [(line["input"], line["decision"], line["name"]) for line in lines] == [
        ("light on", "accept", "work_light"),
        ("don't stop the line", "reject", None),
        ("Licht aus", "accept", "work_light"),
    ]


def test_it_is_explained_in_words(run: Run) -> None:
    code, out, _ = run("try", "press-line", "--language", "en", "--text", "start press one")
    assert code == 0
    assert out.startswith("confirm start_press(press=press_1): a second person has to confirm it\n")
    assert run("try", "press-line") == (2, "", "streamd: nothing to try: give --text TEXT or --audio FILE\n")


def test_a_language_that_the_pack_lacks_is_named_beside_those_that_it_has(run: Run) -> None:
    said = "streamd: --language fr: the pack has sentences in de, en: give one of them, or leave it out\n"
    assert run("try", "press-line", "--language", "fr", "--text", "stop the line") == (2, "", said)
    assert run("try", "press-line", "--language", "fr", "--audio", str(ORDERS)) == (2, "", said)
    code, out, _ = run("try", "press-line", "--language", "de-DE", "--text", "Licht an", "light on", "--json")
    assert code == 0
    assert [json.loads(line)["decision"] for line in out.splitlines()] == ["accept", "reject"]


def test_options_come_before_or_after_the_pack() -> None:
    assert list(_spelt_out(["pack", "--text", "a", "b", "--json"])) == ["pack", "--text", "a", "--text", "b", "--json"]
    assert list(_spelt_out(["p", "--audio", "a", "b", "--model", "m"])) == [
        *("p", "--audio", "a", "--audio", "b", "--model", "m")
    ]
    assert list(_spelt_out(["--text", "a", "pack"])) == ["--text", "a", "pack"]
    assert list(_spelt_out(["--language", "en", "--json", "pack", "--text", "a"])) == [
        "--language", "en", "--json", "pack", "--text", "a",
    ]  # fmt: skip


RHINO = 'context: {expressions: {brew: ["[make, brew] $drink:drink"]}, slots: {drink: [latte]}}'


def test_a_grammar_is_taken_over(run: Run) -> None:
    Path("coffee.yaml").write_text(RHINO)
    code, out, _ = run("import", "--from", "rhino", "coffee.yaml", "--out", "pack.yaml")
    assert (code, out) == (0, "pack.yaml: 1 commands, risk low; next: streamd commands lint pack.yaml\n")
    tried = run("try", "pack.yaml", "--text", "brew latte", "--json")[1]
    assert json.loads(tried)["params"] == {"drink": "latte"}
    assert run("import", "--from", "rhino", "coffee.yaml", "--out", "pack.yaml")[0] == 2
    assert run("import", "--from", "rhino", "coffee.yaml", "--out", "pack.yaml", "--force")[0] == 0
    assert {origin.value for origin in Origin} == set(KINDS)


def test_what_can_not_be_taken_over_is_named(run: Run) -> None:
    Path("latin.yaml").write_bytes(b"\xe4")
    Path("coffee.yaml").write_text(RHINO)
    assert run("import", "--from", "rhino", "nowhere.yaml", "--out", "pack.yaml") == (
        69, "", "streamd: nowhere.yaml: can't be read: No such file or directory\n",
    )  # fmt: skip
    assert run("import", "--from", "rhino", "latin.yaml", "--out", "pack.yaml")[0] == 78
    assert run("import", "--from", "rhino", "coffee.yaml", "--out", "no/pack.yaml")[0] == 69
    assert run("import", "--from", "alexa", "coffee.yaml", "--out", "pack.yaml")[0] == 2


def test_an_audit_is_replayed(run: Run) -> None:
    heard = {
        "heard": "light off",
        "hypotheses": ["light off"],
        "language": "en",
        "verdict": "reject",
        "understood": None,
    }
    record: dict[str, object] = {"type": "command", "name": None, "params": {}}
    Path("audit.jsonl").write_text(json.dumps({"record": record, "note": heard}))
    code, out, _ = run("replay", "press-line", "audit.jsonl")
    assert code == 0
    assert out.splitlines()[2] == "    would be  accept work_light(on=False)  understood"
    assert out.splitlines()[3].startswith("1 utterances, 1 with another outcome under version ")
    code, out, _ = run("replay", "press-line", "audit.jsonl", "--json")
    assert json.loads(out)["before"] == ["reject", None, {}]
