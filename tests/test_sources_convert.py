"""PcmConverter: any chunking, 8 to 48 kHz, both formats."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streamd.core.audio import SAMPLE_RATE
from streamd.sources.convert import Format, PcmConverter
from tests.sound_files import similarity, tone

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)
FORMATS: tuple[Format, ...] = ("s16le", "f32le")


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def convert(converter: PcmConverter, chunks: list[bytes]) -> bytes:
    return b"".join([*map(converter.feed, chunks), converter.flush()])


def encoded(sound: np.ndarray[tuple[int], np.dtype[np.int16]], encoding: Format) -> bytes:
    return sound.tobytes() if encoding == "s16le" else (sound / 32_768).astype("<f4").tobytes()


@settings(deadline=None)  # slow machines are no failure
@given(
    rate=st.sampled_from(RATES),
    encoding=st.sampled_from(FORMATS),
    seed=st.integers(0, 1_000),
    length=st.integers(0, 8_000),
    cuts=st.lists(st.integers(0, 40_000), max_size=20),
    odd=st.integers(0, 3),
)
def test_chunking_changes_nothing(
    rate: int, encoding: Format, seed: int, length: int, cuts: list[int], odd: int
) -> None:
    noise = np.random.default_rng(seed).integers(-32_768, 32_767, length).astype(np.int16)
    data = encoded(noise, encoding) + bytes(odd)
    whole, pieces = PcmConverter(rate, encoding), PcmConverter(rate, encoding)
    assert convert(pieces, chunked(data, cuts)) == convert(whole, [data])


@settings(deadline=None)  # slow machines are no failure
@given(data=st.binary(max_size=4_000), cuts=st.lists(st.integers(0, 4_000), max_size=10))
def test_16_khz_s16le_passes_unchanged(data: bytes, cuts: list[int]) -> None:
    assert convert(PcmConverter(SAMPLE_RATE), chunked(data, cuts)) == data[: len(data) // 2 * 2]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("encoding", FORMATS)
def test_sound_is_the_same_at_16_khz(rate: int, encoding: Format) -> None:
    heard = convert(PcmConverter(rate, encoding), [encoded(tone(1.0, rate), encoding)])
    assert abs(len(heard) // 2 - SAMPLE_RATE) <= 1
    assert similarity(heard, tone(1.0, SAMPLE_RATE)) > 0.99
    assert abs(np.frombuffer(heard, "<i2")).max() == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("rate", RATES)
def test_a_flushed_converter_starts_anew(rate: int) -> None:
    data = tone(0.3, rate).tobytes()
    converter = PcmConverter(rate)
    first = convert(converter, [data, b"\1"])
    assert convert(converter, [data]) == first
    assert converter.flush() == b""


def test_what_is_no_number_is_silence_and_what_is_too_loud_is_clipped() -> None:
    sound = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5, -0.5, 1.0, -1.0], "<f4")
    heard = np.frombuffer(convert(PcmConverter(SAMPLE_RATE, "f32le"), [sound.tobytes()]), "<i2")
    assert heard.tolist() == [0, 0, 0, 32_767, -32_768, 16_384, -16_384, 32_767, -32_768]


@settings(deadline=None)  # slow machines are no failure
@given(
    sound=arrays("<f4", st.integers(0, 500), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)),
    rate=st.sampled_from(RATES),
)
def test_no_float_spoils_the_stream(sound: np.ndarray[tuple[int], np.dtype[np.float32]], rate: int) -> None:
    converter = PcmConverter(rate, "f32le")
    convert(converter, [sound.tobytes()])
    quiet = convert(converter, [bytes(4 * rate // 10)])
    assert not np.frombuffer(quiet, "<i2").any()


@pytest.mark.parametrize("rate", [0, -1, 7_999, 48_001, 192_000])
def test_other_rates_are_refused_by_name(rate: int) -> None:
    with pytest.raises(ValueError, match=rf"rate {rate} Hz is not supported: send 8000 to 48000 Hz"):
        PcmConverter(rate)


def test_devices_may_be_faster() -> None:
    heard = convert(PcmConverter(192_000, highest_rate=192_000), [tone(1.0, 192_000).tobytes()])
    assert similarity(heard, tone(1.0, SAMPLE_RATE)) > 0.99


def test_other_formats_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'mp3' is unknown: send s16le or f32le"):
        PcmConverter(SAMPLE_RATE, "mp3")  # type: ignore[arg-type]
