"""Sound in messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streamd.core.audio import SAMPLE_RATE
from streamd.sources.socket import SocketSource
from tests.sound_files import similarity, tone


async def messages(data: bytes, length: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), length):
        yield data[start : start + length]


async def heard(source: SocketSource) -> bytes:
    return b"".join([chunk async for chunk in source.chunks() if isinstance(chunk, bytes)])


@pytest.mark.parametrize("length", [1, 7, 1_280, 100_000])
async def test_messages_of_any_length_are_the_same_sound(length: int) -> None:
    sound = (tone(0.2, 48_000) / 32_768).astype("<f4").tobytes()
    source = SocketSource(messages(sound, length), 48_000, "f32le", "socket 127.0.0.1")
    assert (source.name, source.live) == ("socket 127.0.0.1", False)
    result = await heard(source)
    assert len(result) == 2 * SAMPLE_RATE // 5
    assert similarity(result, tone(0.2, SAMPLE_RATE)) > 0.99
    assert result == await heard(SocketSource(messages(sound, 999), 48_000, "f32le", ""))


async def test_16_khz_s16le_passes_unchanged() -> None:
    sound = tone(0.2, SAMPLE_RATE).tobytes()
    assert await heard(SocketSource(messages(sound, 333), SAMPLE_RATE, "s16le", "")) == sound


def test_what_is_not_supported_is_refused_before_any_sound() -> None:
    with pytest.raises(ValueError, match="rate 96000 Hz"):
        SocketSource(messages(b"", 1), 96_000, "s16le", "")
