"""Bytes of any chunking become the same frames; losses keep the timeline exact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.audio import FRAME_BYTES, FRAME_SAMPLES, Frame, Framer, Lost, samples_to_ms

chunks = st.lists(st.binary(max_size=4_000), max_size=12)
pieces = st.lists(st.one_of(st.binary(max_size=4_000).filter(lambda b: len(b) % 2 == 0), st.integers(0, 4_000)))


def framed(parts: list[bytes]) -> list[Frame]:
    framer = Framer()
    return [frame for part in parts for frame in framer.feed(part)] + list(framer.flush())


@given(chunks)
def test_chunking_does_not_matter(parts: list[bytes]) -> None:
    assert framed(parts) == framed([b"".join(parts)])


@given(chunks)
def test_no_sample_is_lost_or_moved(parts: list[bytes]) -> None:
    sound = b"".join(parts)
    frames = framed(parts)
    assert b"".join(frame.pcm for frame in frames)[: len(sound)] == sound
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(len(frame.pcm) == FRAME_BYTES for frame in frames)


@given(pieces)
def test_every_sample_keeps_its_time_across_losses(parts: list[bytes | int]) -> None:
    timeline = bytearray()
    framer = Framer()
    frames: list[Frame] = []
    lost: list[Lost] = []
    for part in parts:
        timeline += bytes(2 * part) if isinstance(part, int) else part
        for piece in framer.lose(part, "test") if isinstance(part, int) else framer.feed(part):
            if isinstance(piece, Frame):
                frames.append(piece)
            else:
                lost.append(piece)
    assert framer.position_samples == len(timeline) // 2
    frames += list(framer.flush())
    for frame in frames:
        at = frame.index * FRAME_BYTES
        assert frame.pcm == bytes(timeline[at : at + FRAME_BYTES]).ljust(FRAME_BYTES, b"\0")
    heard = {frame.index for frame in frames}
    missing = {sample for loss in lost for sample in range(loss.start_sample, loss.end_sample)}
    assert all(n // FRAME_SAMPLES in heard or n in missing for n in range(len(timeline) // 2))
    assert sorted(heard) == [frame.index for frame in frames]


def test_a_loss_is_told_with_its_exact_place() -> None:
    framer = Framer()
    list(framer.feed(bytes(1_500)))
    assert list(framer.lose(2_000, "overflow"))[-1] == Lost(750, 2_750, "overflow")


def test_half_a_sample_before_a_loss_is_dropped() -> None:
    framer = Framer()
    list(framer.feed(b"\x01\x02\x03"))
    list(framer.lose(1, "overflow"))
    assert framer.position_samples == 2
    assert next(framer.flush()).pcm[:4] == b"\x01\x02\0\0"


def test_nothing_lost_is_no_loss() -> None:
    assert list(Framer().lose(0, "overflow")) == []


def test_a_frame_knows_its_time() -> None:
    frame = Frame(25, bytes(FRAME_BYTES))
    assert (frame.start_ms, frame.end_ms) == (1_000, 1_040)
    assert samples_to_ms(16_015) == 1_000
