"""Media files → 16 kHz: real files, whole, cut off, damaged, or no media at all."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamd.core.audio import FRAME_BYTES, SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.sources.base import Missing
from streamd.sources.decode import Piece, check_media, decode
from tests.sound_files import cut_off, similarity, tone, write_media

SECONDS = 3.0

# ending, codec, rate, more
KINDS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("wav", "pcm_s16le", 44_100, {"stereo": True}),
    ("wav", "pcm_f32le", 8_000, {}),
    ("wav", "pcm_s16le", 16_000, {}),
    ("flac", "flac", 48_000, {}),
    ("mp3", "libmp3lame", 44_100, {"stereo": True}),
    ("ogg", "libopus", 48_000, {}),
    ("m4a", "aac", 44_100, {}),
    ("mp4", "aac", 48_000, {"video": True, "stereo": True}),
    ("mkv", "aac", 48_000, {"video": True}),
    ("webm", "libopus", 48_000, {}),
]


def sound_of(pieces: list[Piece]) -> bytes:
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def refusal(path: Path) -> str:
    with pytest.raises(UnavailableError) as caught:
        list(decode(path))
    with pytest.raises(UnavailableError, match=re.escape(str(caught.value))):
        check_media(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("ending", "codec", "rate", "more"), KINDS)
def test_files_become_16_khz_mono(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str, codec: str, rate: int, more: dict[str, Any]
) -> None:
    path = write_media(tmp_path / f"talk.{ending}", codec, tone(SECONDS, rate), rate, **more)
    check_media(path)
    pieces = list(decode(path))
    assert {len(piece) for piece in pieces[:-1] if isinstance(piece, bytes)} == {FRAME_BYTES}
    assert len(sound_of(pieces)) / 2 / SAMPLE_RATE == pytest.approx(SECONDS, abs=0.06)
    assert similarity(sound_of(pieces), tone(SECONDS, SAMPLE_RATE)) > 0.95
    assert caplog.text == ""


def test_a_track_that_starts_later_than_the_video_keeps_its_time(tmp_path: Path) -> None:
    path = write_media(tmp_path / "late.mp4", "aac", tone(SECONDS, 48_000), 48_000, video=True, start_s=1.5)
    sound = sound_of(list(decode(path)))
    assert len(sound) / 2 / SAMPLE_RATE == pytest.approx(SECONDS + 1.5, abs=0.1)
    assert not any(sound[: 2 * SAMPLE_RATE])


@pytest.mark.parametrize(
    ("ending", "codec", "more"),
    [
        ("wav", "pcm_s16le", {}),
        ("flac", "flac", {}),
        ("mp3", "libmp3lame", {}),
        ("m4a", "aac", {"options": {"movflags": "faststart"}}),
        ("webm", "libopus", {}),
    ],
)
def test_a_file_that_was_cut_off_is_used_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str, codec: str, more: dict[str, Any]
) -> None:
    path = cut_off(write_media(tmp_path / f"half.{ending}", codec, tone(2 * SECONDS, 48_000), 48_000, **more))
    with caplog.at_level(logging.WARNING, logger="streamd"):
        sound = sound_of(list(decode(path)))
    assert len(sound) / 2 / SAMPLE_RATE == pytest.approx(SECONDS, abs=0.5)
    assert similarity(sound, tone(SECONDS, SAMPLE_RATE)) > 0.9
    assert re.search(
        rf"{path} breaks off after \d\.\d s of \d\.\d s: what is there was used; .* copy it again", caplog.text
    )


def spoil(path: Path, start: float, end: float) -> Path:
    """Overwrite a part of an MP4's packets; its index is left."""
    data = path.read_bytes()
    first = data.index(b"mdat") + 4
    length = data.index(b"moov") - 4 - first
    left, right = first + round(start * length), first + round(end * length)
    path.write_bytes(data[:left] + b"\xff" * (right - left) + data[right:])
    return path


def test_what_is_damaged_in_the_middle_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_media(tmp_path / "hurt.m4a", "aac", tone(9.0, 48_000), 48_000)
    with caplog.at_level(logging.WARNING, logger="streamd"):
        pieces = list(decode(spoil(path, 1 / 3, 2 / 3)))
    missing = [piece for piece in pieces if isinstance(piece, Missing)]
    assert [piece.reason for piece in missing] == ["damaged"]
    assert missing[0].samples / SAMPLE_RATE == pytest.approx(3.0, abs=0.2)
    assert (missing[0].samples + len(sound_of(pieces)) // 2) / SAMPLE_RATE == pytest.approx(9.0, abs=0.1)
    assert f"{path}: " in caplog.text
    assert "damaged packets were left out" in caplog.text


def test_nothing_but_damage(tmp_path: Path) -> None:
    path = write_media(tmp_path / "noise.m4a", "aac", tone(1.0, 48_000), 48_000)
    with pytest.raises(UnavailableError, match="nothing in it can be decoded"):
        list(decode(spoil(path, 0, 1)))


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.wav") == f"{tmp_path}/no.wav does not exist: check the name"


def test_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is a directory: name a file in it"


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refusal(tmp_path / "pipe")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert "empty.wav is empty (0 bytes)" in refusal(tmp_path / "empty.wav")


@pytest.mark.parametrize("content", [b"Dear all,\n", b"\x7fELF" + bytes(5_000), b"RIFF\xff\xff\0\0WAVEfmt "])
def test_no_media(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.wav"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path} is neither audio nor video that FFmpeg can read (Invalid data found")
    assert "convert it to WAV" in message


def test_video_without_sound(tmp_path: Path) -> None:
    path = write_media(tmp_path / "mute.mp4", None, tone(1.0, 48_000), 48_000, video=True)
    assert refusal(path) == f"{path} has no sound: there is no audio track in it"


def test_a_file_of_another_user(tmp_path: Path) -> None:
    """Root may read everything, so another user tries."""
    path = write_media(tmp_path / "secret.wav", "pcm_s16le", tone(0.1, 16_000), 16_000)
    path.chmod(0)
    if os.geteuid() != 0:
        assert "may not be read by this user" in refusal(path)
        return
    # The other user must reach the file: pytest's folders are private.
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from streamd.errors import UnavailableError\n"
        "from streamd.sources.decode import check_media\n"
        "os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    check_media(Path('secret.wav'))\n"
        "except UnavailableError as error:\n"
        "    print(error)\n"
    )
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("secret.wav may not be read by this user"), done.stderr


def test_ffmpeg_does_not_print(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = cut_off(write_media(tmp_path / "half.mp3", "libmp3lame", tone(2.0, 48_000), 48_000))
    list(decode(path))
    (tmp_path / "letter.wav").write_text("Dear all,")
    refusal(tmp_path / "letter.wav")
    assert capfd.readouterr() == ("", "")
