"""Real speech goes in by every way there is, and the same words come out."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr

from streamd.core.audio import SAMPLE_RATE
from streamd.core.events import Ended, Final, Partial, Status
from tests.e2e.clients import reading, speaking
from tests.e2e.daemon import PATIENCE_S, WHOLE, Daemon, streamd
from tests.e2e.pulse import VirtualMicrophone, microphone
from tests.speech import MOST_ERRORS, recording, word_error_rate

__all__ = ["microphone"]  # a fixture

pytestmark = pytest.mark.model

NAME = "austen_0890"
READ = recording(NAME)
SOUND = READ.pcm.tobytes()
RANDOM = tuple(np.random.default_rng(0).integers(1, 16_000, 500).tolist())  # bytes
A_FEW_WORDS = 0.2  # of them may differ where the samples do


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Daemon]:
    """A daemon that listens to READ as a file."""
    arguments = ("--source", READ.path, "--fast", *WHOLE)
    with Daemon(tmp_path_factory.mktemp("room"), *arguments, model=tiny_en) as daemon:
        daemon.start()
        yield daemon


async def from_file(daemon: Daemon) -> list[str]:
    """What the daemon heard in the file."""
    async with reading(daemon) as reader:
        await reader.until(lambda: reader.view.ended)
        return reader.texts


async def said(daemon: Daemon, sound: bytes, sizes: tuple[int, ...] = (8_000,), **options: object) -> list[str]:
    """What the daemon hears when it is said in messages of these sizes."""
    async with speaking(daemon, "said", **options) as speaker:
        await speaker.say(sound, sizes)
        await speaker.end()
        return speaker.texts


@pytest.mark.parametrize(
    "sizes",
    [(1,) * 1_000 + (3_999,), (7, 333), (1, 7, 333, 4_001), RANDOM, (len(SOUND),)],
    ids=["single bytes", "small", "odd", "random", "all at once"],
)
async def test_a_socket_and_a_file_give_the_same_words(room: Daemon, sizes: tuple[int, ...]) -> None:
    expected = await from_file(room)
    assert word_error_rate(READ.text, " ".join(expected)) <= MOST_ERRORS
    assert await said(room, SOUND, sizes) == expected


@pytest.mark.parametrize(
    ("rate", "form", "sizes"),
    [(48_000, "f32le", (7_680,)), (44_100, "f32le", (1, 7, 333, 4_001)), (8_000, "s16le", (333,))],
)
async def test_any_rate_and_format_gives_nearly_the_same_words(
    room: Daemon, rate: int, form: str, sizes: tuple[int, ...]
) -> None:
    samples = soxr.resample(READ.pcm.astype(np.float32) / 32_768, SAMPLE_RATE, rate)
    sound = (samples if form == "f32le" else (samples * 32_767).astype("<i2")).tobytes()
    words = " ".join(await said(room, sound, sizes, rate=rate, format=form))
    assert word_error_rate(" ".join(await from_file(room)), words) <= A_FEW_WORDS


async def test_what_is_heard_is_what_was_said(room: Daemon) -> None:
    """Each recording has words of its own, and gets them."""
    heard = {}
    for name in ("goforward", "jfk", "austen_0870"):
        heard[name] = " ".join(await said(room, recording(name).pcm.tobytes()))
        assert word_error_rate(recording(name).text, heard[name]) <= MOST_ERRORS
    for name, text in heard.items():
        assert all(word_error_rate(recording(other).text, text) > 0.5 for other in heard if other != name)


async def test_a_transcribed_file_has_the_same_words(room: Daemon, tmp_path: Path, tiny_en: Path) -> None:
    done = streamd(tmp_path, "transcribe", READ.path, *WHOLE, "--format", "jsonl", model=tiny_en)
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == await from_file(room)
    assert done.stderr == ""


async def test_transcripts_hold_what_readers_were_told(room: Daemon) -> None:
    words = " ".join(await from_file(room)).split()
    for form in ("txt", "srt", "vtt"):
        transcript = room.get(f"/v1/sessions/default/transcript.{form}").text
        assert [word for word in transcript.split() if word in words] == words


async def test_captions_come_while_somebody_speaks(tmp_path: Path, tiny_en: Path) -> None:
    """As streamd is set up by default: at the pace of the speaker, with partials."""
    with Daemon(tmp_path, "--source", READ.path, model=tiny_en) as daemon:
        daemon.start(ready=False)
        async with reading(daemon) as reader:
            await reader.until(lambda: reader.bodies(Ended))
    assert word_error_rate(READ.text, " ".join(reader.texts)) <= MOST_ERRORS
    assert [ended.audio_ms for ended in reader.bodies(Ended)] == [len(READ.pcm) // 16]
    texts = {final.utterance: final.text for final in reader.bodies(Final)}
    partials = [partial for partial in reader.bodies(Partial) if partial.utterance in texts]
    assert any(partial.committed for partial in partials)
    assert all(texts[partial.utterance].startswith(partial.text[: partial.committed]) for partial in partials)
    assert [event.seq for event in reader.told] == sorted({event.seq for event in reader.told})


@pytest.mark.pulse
async def test_what_a_microphone_hears_is_captioned(
    microphone: VirtualMicrophone, tmp_path: Path, tiny_en: Path
) -> None:
    silence = bytes(2 * SAMPLE_RATE)
    with Daemon(tmp_path, "--source", "mic", model=tiny_en, environment=microphone.environment) as daemon:
        daemon.start()
        async with reading(daemon) as reader:
            player = microphone.play(silence + SOUND + silence, SAMPLE_RATE)
            await asyncio.to_thread(player.wait, PATIENCE_S)
            daemon.signal(signal.SIGTERM)
            assert await reader.until_closed() == 1001
        assert daemon.wait() == 0
    assert "microphone" in str(reader.bodies(Status)[0].source)
    assert word_error_rate(READ.text, " ".join(reader.texts)) <= MOST_ERRORS
