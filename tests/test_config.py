"""Layers of settings, their origins, and what is said about mistakes in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import COMMAND_LINE, DEFAULT, Loaded, flat, load, schema, shown
from streamd.errors import ConfigError, UsageError
from streamd.resources import resource
from streamd.settings import Settings

SHIPPED = resource("config.toml")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without configuration, and a working directory without files."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(*sets: str, file: Path | None = None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, sets, environ or {})
    return str(caught.value)


# --- layers ---


def test_without_any_layer_there_are_the_defaults() -> None:
    loaded = load(environ={})
    assert loaded.settings == Settings()
    assert loaded.changed() == {}
    assert loaded.origins["server.port"] == DEFAULT


def test_every_key_has_an_origin() -> None:
    assert load(environ={}).origins.keys() == flat(Settings()).keys() == schema().leaves.keys()


def test_later_layers_win(tmp_path: Path) -> None:
    """Each of five keys is set by one layer more than the one before it."""
    pipeline = write(
        tmp_path / "p.toml", "[vad]\nthreshold = 0.6\n[endpoint]\nhangover_ms = 600\npreroll_ms = 0\n[recognise]\n"
    )
    file = write(tmp_path / "c.toml", f'session = "file"\npipeline_name = "{pipeline}"\n[server]\nport = 1\n')
    environ = {"STREAMD_SERVER__PORT": "2", "STREAMD_PIPELINE__ENDPOINT__HANGOVER_MS": "700", "HOME": "/"}
    loaded = load(file, ["server.port=3", "server.max_sessions=3"], environ, {"server.max_sessions": 4})
    assert loaded.changed() == {
        "session": "file",
        "pipeline_name": "p",
        "server.port": 3,
        "server.max_sessions": 4,
        "pipeline.vad.threshold": 0.6,
        "pipeline.endpoint.hangover_ms": 700,
        "pipeline.endpoint.preroll_ms": 0,
    }
    assert loaded.files == (file, pipeline)
    assert {key: loaded.origins[key] for key in loaded.changed()} == {
        "session": "c.toml:1",
        "pipeline_name": "c.toml:2",
        "server.port": "--set server.port",
        "server.max_sessions": COMMAND_LINE,
        "pipeline.vad.threshold": "p.toml:2",
        "pipeline.endpoint.hangover_ms": "environment STREAMD_PIPELINE__ENDPOINT__HANGOVER_MS",
        "pipeline.endpoint.preroll_ms": "p.toml:5",
    }


def test_the_file_is_found_in_the_home_directory_or_named_by_the_environment(home: Path, tmp_path: Path) -> None:
    own = write(home / ".config/streamd/config.toml", "server.port = 1")
    named = write(tmp_path / "named.toml", "server.port = 2")
    explicit = write(tmp_path / "explicit.toml", "server.port = 3")
    environ = {"STREAMD_CONFIG": str(named)}
    assert [path.settings.server.port for path in (load(environ={}), load(None, (), environ))] == [1, 2]
    assert load(explicit, (), environ).settings.server.port == 3
    assert load(environ={}).files[0] == own


def test_a_pipeline_of_ones_own_goes_before_the_shipped_one(home: Path) -> None:
    write(home / ".config/streamd/pipelines/captions.toml", "[vad]\n[endpoint]\nhangover_ms = 999\n[recognise]\n")
    assert load(environ={}).settings.pipeline.endpoint.hangover_ms == 999


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {"STREAMD_TEST_MODELS": "/x", "STREAMD_REQUIRE_ALL": "1", "STREAMD_TOKEN": "t", "PATH": "/bin"}
    assert load(environ=environ).changed() == {}


def test_a_table_can_be_set_at_once() -> None:
    loaded = load(None, ["server={port = 7, tokens = {viewer = ['a-long-secret']}}"], {})
    assert loaded.changed() == {"server.port": 7, "server.tokens.viewer": ("a-long-secret",)}


def test_home_is_expanded(home: Path) -> None:
    loaded = load(None, ["store.path=~/j.sqlite3", 'engines.whisper.model="~/m"'], {})
    assert loaded.settings.store.path == home / "j.sqlite3"
    assert loaded.settings.engines.whisper.model == str(home / "m")


def test_an_empty_store_path_keeps_nothing() -> None:
    assert load(None, ["store.path="], {}).settings.store.path is None


@pytest.mark.parametrize("text", ["123", "true", "2024-01-01", "1.5", "a.b", "-"])
def test_text_that_looks_like_something_else_stays_text_where_text_is_wanted(text: str) -> None:
    assert load(None, [f"source.device={text}"], {}).settings.source.device == text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])).filter(lambda text: text[:1] != "~"))
def test_quoted_text_arrives_as_it_was(text: str) -> None:
    """JSON's strings are TOML's. A tilde in front is the user's home folder."""
    assert load(environ={"STREAMD_SOURCE__DEVICE": json.dumps(text, ensure_ascii=False)}).settings.source.device == text


# --- shipped files ---


def test_the_shipped_configuration_is_the_default() -> None:
    loaded = load(SHIPPED, (), {})
    assert loaded.changed() == {}


def test_the_shipped_configuration_has_every_key() -> None:
    """Active, or commented out where the default depends on the user."""
    assert keys(SHIPPED) == {key for key in schema().leaves if not key.startswith("pipeline.")}


def test_the_shipped_pipeline_is_the_default_and_has_every_key() -> None:
    stages = {key.removeprefix("pipeline.") for key in schema().leaves if key.startswith("pipeline.")}
    assert keys(resource("pipelines/captions.toml")) == stages
    assert load(None, ["pipeline_name=captions"], {}).changed() == {}


def test_long_sessions_wait_longer_for_the_end_of_a_sentence() -> None:
    session = load(None, ["pipeline_name=session"], {}).settings.pipeline.endpoint
    assert session.hangover_ms > Settings().pipeline.endpoint.hangover_ms


def keys(path: Path) -> set[str]:
    table, found = "", set()
    for line in path.read_text().splitlines():
        if header := re.match(r"(?:# )?\[([\w.]+)\]", line):
            table = header[1] + "."
        elif key := re.match(r"(?:# )?(\w+) = ", line):
            found.add(table + key[1])
    return found


# --- mistakes ---


@pytest.mark.parametrize(
    ("given_key", "meant"),
    [
        ("server.prot", "server.port"),
        ("servr.port", "server.port"),
        ("port", "server.port"),
        ("servers", "server"),
        ("engines.whisper.modle", "engines.whisper.model"),
        ("server.port.number", "server.port"),
        ("serverport", "server.port"),
        ("server.max-sessions", "server.max_sessions"),
        ("revise.model", "pipeline.revise.model"),
    ],
)
def test_an_unknown_key_names_the_nearest(given_key: str, meant: str) -> None:
    assert refused(f"{given_key}=1") == f"--set {given_key}: unknown key {given_key}; did you mean {meant}?"


def test_an_unknown_key_that_resembles_nothing() -> None:
    assert refused("xyzzy=1") == "--set xyzzy: unknown key xyzzy"


def test_an_unknown_key_in_a_file_has_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", "# comment\n[server]\nhost = '::1'\nprot = 1\n")
    assert refused(file=file) == "c.toml:4: unknown key server.prot; did you mean server.port?"


def test_an_unknown_table_in_a_file_has_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", "\n[sevrer]\nport = 1\n")
    assert refused(file=file) == "c.toml:2: unknown key sevrer; did you mean server?"


def test_an_unknown_variable() -> None:
    message = refused(environ={"STREAMD_SERVER__PRT": "1"})
    assert message == "environment STREAMD_SERVER__PRT: unknown key server.prt; did you mean server.port?"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("server.port=eight", 'server.port = "eight": should be a valid integer'),
        ("server.port=true", "server.port = true: should be a valid integer"),
        ("server.port='80'", 'server.port = "80": should be a valid integer'),
        ("server.port=70000", "server.port = 70000: should be less than or equal to 65535"),
        ("server.insecure=1", "server.insecure = 1: should be a valid boolean"),
        ("server=1", "server = 1: server is a table of keys, not a value"),
        ("server.origins=x", 'server.origins = "x": should be a list, as in ["one", "two"]'),
        ("server.tokens.viewer=geheim", 'server.tokens.viewer = (secret): should be a list, as in ["one", "two"]'),
        ("server.tokens.viewer=[1]", "server.tokens.viewer = (secret): should be a valid string"),
        ("engines.whisper.device=gpu", "engines.whisper.device = \"gpu\": should be 'cpu', 'cuda' or 'auto'"),
        ("pipeline.vad.gate=9", "pipeline.vad.gate = 9: should be less than or equal to 3"),
    ],
)
def test_a_wrong_value_is_named_with_its_origin_and_what_was_expected(text: str, reason: str) -> None:
    assert refused(text) == f"--set {text.partition('=')[0]}: {reason}"


def test_a_short_token_is_refused_and_not_shown() -> None:
    message = refused("server.tokens.viewer=['geheim']")
    assert "server.tokens.viewer = (secret): a token needs at least 12 characters, this one has 6" in message
    assert "geheim" not in message


def test_a_language_that_whisper_does_not_know_is_refused() -> None:
    message = refused("pipeline.recognise.language=xx")
    assert 'pipeline.recognise.language = "xx": should be auto or one of Whisper\'s languages: af, am, ' in message


def test_languages_that_come_into_question_must_be_known() -> None:
    message = refused("pipeline.recognise.languages=['de', 'auto']")
    assert "pipeline.recognise.languages = " in message
    assert "'auto' should be one of Whisper's languages: af, am, " in message


def test_a_language_may_be_named_with_its_country() -> None:
    said = {"pipeline.recognise.language": "de-AT", "pipeline.recognise.languages": "['DE', 'en_US']"}
    sets = [f"{key}={value}" for key, value in said.items()]
    recognise = load(sets=sets, environ={}).settings.pipeline.recognise
    assert (recognise.language, recognise.languages) == ("de", ("de", "en"))


def test_a_name_with_a_space_is_explained() -> None:
    assert refused("session=a b").startswith("--set session: session = \"a b\": should be 1 to 64 letters, digits, '.'")


def test_settings_that_contradict_each_other_name_the_origins_that_matter(tmp_path: Path) -> None:
    """Neither those of the table's other keys, nor what is as shipped."""
    file = write(tmp_path / "c.toml", "[server]\nport = 1\n")
    message = refused("server.host=0.0.0.0", file=file)
    assert message.startswith("[server] host 0.0.0.0 is reachable from other machines: set server.tokens.viewer")
    assert message.endswith("(server.host from --set server.host)")
    assert refused("pipeline.route.quick=2.0", "pipeline.route.rest_s=9") == (
        "[pipeline.route] quick (2.0) is slower than slow (0.9) (pipeline.route.quick from --set pipeline.route.quick)"
    )
    both = refused("pipeline.route.quick=2.0", "pipeline.route.slow=1.0")
    assert "pipeline.route.slow from --set pipeline.route.slow" in both
    assert "pipeline.route.quick from --set pipeline.route.quick" in both


def test_a_target_without_a_translation_is_refused() -> None:
    message = refused("pipeline.recognise.target_language=de")
    assert message.startswith(
        '[pipeline.recognise] target_language (de) is that of a translation: set task = "translate"'
    )
    assert message.endswith("(pipeline.recognise.target_language from --set pipeline.recognise.target_language)")
    stage = load(None, ["pipeline.recognise.target_language=de", "pipeline.recognise.task=translate"], {})
    assert stage.settings.pipeline.recognise.target_language == "de"


def test_a_set_without_a_value_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="write it as key=value"):
        load(None, ["server.port"], {})


def test_stages_do_not_belong_into_the_configuration(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", "[pipeline.vad]\ngate = 2\n")
    assert refused(file=file) == "c.toml:2: pipeline.vad.gate: stages are set in pipelines/NAME.toml, not here"


def test_a_stage_that_is_not_built_yet_is_refused(tmp_path: Path) -> None:
    pipeline = write(tmp_path / "p.toml", "[vad]\n[endpoint]\n[recognise]\n[translate]\n")
    message = refused(f"pipeline_name={pipeline}")
    assert message == "p.toml:4: the stage [translate] is not built yet; use --pipeline captions"


def test_commands_need_a_pack(tmp_path: Path) -> None:
    pipeline = write(tmp_path / "p.toml", "[vad]\n[endpoint]\n[recognise]\n[commands]\n")
    message = refused(f"pipeline_name={pipeline}")
    assert message == 'p.toml:4: the stage [commands] needs a pack, such as pack = "press-line"'


def test_a_misspelt_stage(tmp_path: Path) -> None:
    pipeline = write(tmp_path / "p.toml", "[vad]\n[endpoint]\n[recognise]\n[recognize]\n")
    message = refused(f"pipeline_name={pipeline}")
    assert message == "p.toml:4: unknown key pipeline.recognize; did you mean pipeline.recognise?"


def test_a_missing_stage(tmp_path: Path) -> None:
    pipeline = write(tmp_path / "p.toml", "[vad]\n[endpoint]\n")
    message = refused(f"pipeline_name={pipeline}")
    assert message == "p.toml: the stage [recognise] is missing; captions need it (it may be empty)"


def test_a_second_pass_needs_a_model(tmp_path: Path) -> None:
    stages = "[vad]\n[endpoint]\n[recognise]\n[revise]\n"
    message = refused(f"pipeline_name={write(tmp_path / 'p.toml', stages)}")
    assert message == 'p.toml:4: the stage [revise] needs a model, such as model = "base"'
    pipeline = write(tmp_path / "q.toml", stages + 'model = "small"\n')
    assert load(None, [f"pipeline_name={pipeline}"], {}).settings.pipeline.revise.model == "small"
    assert load(None, ["pipeline.revise.model=base"], {}).settings.pipeline.revise.model == "base"


def test_an_unknown_pipeline_names_the_known_ones(home: Path) -> None:
    write(home / ".config/streamd/pipelines/mine.toml", "")
    message = refused("pipeline_name=capitons")
    assert message.startswith(
        '--set pipeline_name: there is no pipeline "capitons"; there are captions, commands, mine'
    )


def test_a_pipeline_whose_file_name_is_no_name(tmp_path: Path) -> None:
    pipeline = write(tmp_path / "my pipe.toml", "[vad]\n[endpoint]\n[recognise]\n")
    assert 'pipeline_name = "my pipe": should be' in refused(f"pipeline_name={pipeline}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[server\nport = 1", "not a TOML file: "),
        (b"host = '\xff'", "not a TOML file: byte 8 is not UTF-8"),
    ],
)
def test_a_file_that_is_not_toml(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    assert refused(file=tmp_path / "c.toml").startswith(f"c.toml: {reason}")


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    assert "line 2" in refused(file=write(tmp_path / "c.toml", "a = 1\nb = = 2\n"))


def test_a_missing_file(tmp_path: Path) -> None:
    assert refused(file=tmp_path / "gone.toml") == "gone.toml: there is no such file"
    assert refused(environ={"STREAMD_CONFIG": "/gone.toml"}) == "/gone.toml: there is no such file"


def test_a_directory_instead_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    assert refused(file=tmp_path / "d") == "d: can't be read: Is a directory"


def test_secrets_are_not_shown() -> None:
    assert shown("server.tokens.viewer", ["geheim"]) == "(secret)"
    assert shown("source.device", "Mikrofon ü") == '"Mikrofon ü"'


def test_loaded_compares_with_the_defaults_of_this_user() -> None:
    assert Loaded(Settings(), {}).changed() == {}
