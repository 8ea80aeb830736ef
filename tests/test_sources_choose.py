"""From settings to a source."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import sys
from pathlib import Path

import pytest

from streamd.core.audio import SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.settings import Source as SourceSettings
from streamd.sources import MediaFile, Microphone, Source, StdinSource, open_source
from streamd.sources.devices import Device
from tests.sound_files import tone, write_media

NO_MICROPHONE = "no microphone found: connect one"
DEVICE = Device(0, "USB Audio: - (hw:1,0)", "ALSA", 48_000, 1, default=True)


@pytest.fixture
def no_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_device(_: str) -> Device:
        raise UnavailableError(NO_MICROPHONE)

    monkeypatch.setattr("streamd.sources.choose.find_device", find_device)


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.sources.choose.find_device", lambda _: DEVICE)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_media(tmp_path / "demo.flac", "flac", tone(0.5, SAMPLE_RATE), SAMPLE_RATE)
    monkeypatch.setattr("streamd.sources.choose.resource", {"demo/demo.flac": path}.__getitem__)
    return path


def test_none_is_nothing() -> None:
    assert open_source(SourceSettings(kind="none")) is None


@pytest.mark.parametrize("kind", ["mic", "auto"])
def test_a_microphone_that_is_there(microphone: None, kind: str) -> None:
    source = open_source(SourceSettings(kind=kind))
    assert isinstance(source, Microphone)
    assert (source.name, source.live) == ("microphone: USB Audio: - (hw:1,0)", True)


def test_a_microphone_that_must_be_there(no_microphone: None) -> None:
    with pytest.raises(UnavailableError, match=NO_MICROPHONE):
        open_source(SourceSettings(kind="mic"))


def test_auto_without_a_microphone_says_why_and_plays_the_demonstration_for_ever(
    no_microphone: None, demo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="streamd"):
        source = open_source(SourceSettings(kind="auto"))
    assert isinstance(source, MediaFile)
    assert source.name == f"demo recording ({NO_MICROPHONE})"
    assert [record.getMessage() for record in caplog.records] == [
        f"{NO_MICROPHONE}; a recorded demonstration is captioned instead"
    ]


def test_a_lost_demonstration_is_named(no_microphone: None, demo: Path) -> None:
    demo.unlink()
    with pytest.raises(UnavailableError, match=r"demo\.flac does not exist"):
        open_source(SourceSettings(kind="auto"))


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_media(tmp_path / "talk.wav", "pcm_s16le", tone(0.1, SAMPLE_RATE), SAMPLE_RATE)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = open_source(SourceSettings(kind="~/talk.wav"), fast=True)
    assert source is not None
    assert (source.name, source.live) == ("file: talk.wav", False)
    assert asyncio.run(heard(source)) == tone(0.1, SAMPLE_RATE).tobytes()


async def heard(source: Source) -> bytes:
    return b"".join([chunk async for chunk in source.chunks() if isinstance(chunk, bytes)])


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nein\.wav does not exist: check the name"):
        open_source(SourceSettings(kind=str(tmp_path / "nein.wav")))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert isinstance(open_source(SourceSettings(kind="-", rate=44_100)), StdinSource)


def test_closed_standard_input_is_no_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UnavailableError, match="standard input is closed: pipe mono s16le at 16000 Hz into it"):
        open_source(SourceSettings(kind="-"))


def test_a_terminal_is_no_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal, "r") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(
            UnavailableError, match="is a terminal: pipe mono s16le at 16000 Hz into it, for example: ffmpeg"
        ):
            open_source(SourceSettings(kind="-"))
    os.close(keyboard)
