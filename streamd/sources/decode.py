"""Audio and video files → 16 kHz mono s16le, with PyAV (FFmpeg). Blocks; lives in a thread."""

from __future__ import annotations

import logging
import stat
from collections.abc import Generator, Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from streamd.core.audio import FRAME_BYTES, SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.sources.base import Missing

if TYPE_CHECKING:  # FFmpeg takes 20 MB: only who opens a file pays
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.container import InputContainer

MICROSECOND_S = 1e-6  # FFmpeg's AV_TIME_BASE, in which containers tell their times
HOLE_S = 0.1  # frames whose timestamps leave more than this between them leave a hole
LONGEST_HOLE_S = 600.0  # beyond this the timestamps are wrong
SHORT_S, SHORT_PART = 1.0, 0.02  # shorter than announced by more than both: the file was cut off

_log = logging.getLogger(__name__)

Piece = bytes | Missing


def check_media(path: Path) -> None:
    """Raises UnavailableError, with the way out, if `path` has no sound that can be decoded."""
    _open(path).close()


def decode(path: Path) -> Generator[Piece, None, str | None]:
    """The first audio track in pieces of 40 ms, on the file's own timeline; the last piece may be shorter.

    Where the track has nothing (it starts later than the video) there is silence; where it is damaged, Missing.
    A file that breaks off ends there, with a warning; how far it went is returned. Raises UnavailableError.
    """
    with _open(path) as container:
        track = _Track(container, path)
        yield from _cut(track.pieces())
        return track.broken_off


def _cut(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Re-blocks sound to 40 ms."""
    carry = bytearray()
    for piece in pieces:
        if isinstance(piece, Missing):
            if carry:
                yield bytes(carry)
                carry.clear()
            yield piece
            continue
        carry += piece
        whole = len(carry) // FRAME_BYTES * FRAME_BYTES
        for start in range(0, whole, FRAME_BYTES):
            yield bytes(carry[start : start + FRAME_BYTES])
        del carry[:whole]
    if carry:
        yield bytes(carry)


class _Track:
    """One pass through the first audio track of a container."""

    def __init__(self, container: InputContainer, path: Path) -> None:
        self._container = container
        self._path = path
        self._resampler: AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None
        self._start_s = (container.start_time or 0) * MICROSECOND_S
        self._end_s = self._start_s  # of what was decoded, on the container's clock
        self._damaged = 0  # packets
        self._hurt = False  # the last packet was damaged
        self.broken_off: str | None = None  # how much of it there is, once that is known to be too little

    def pieces(self) -> Iterator[Piece]:
        heard = False
        for frame in self._frames():
            heard = True
            yield from self._hole(frame)
            yield from self._resampled(frame)
        yield from self._rest()
        if not heard:
            raise UnavailableError(f"{self._path}: nothing in it can be decoded; is the file whole? Try another copy")
        self._warn()

    def _frames(self) -> Iterator[AudioFrame]:
        """What can be decoded. Damaged packets are counted."""
        from av.error import FFmpegError

        try:
            for packet in self._container.demux(self._container.streams.audio[0]):
                try:
                    yield from packet.decode()
                except FFmpegError:
                    self._damaged += 1
                    self._hurt = True
        except FFmpegError as error:
            self._damaged += 1
            _log.debug("%s: %s", self._path, error)

    def _hole(self, frame: AudioFrame) -> Iterator[Piece]:
        """What the timestamps say is missing before `frame`."""
        if frame.time is None:
            return
        hole_s = frame.time - self._end_s
        self._end_s = frame.time + frame.samples / frame.sample_rate
        hurt, self._hurt = self._hurt, False
        if not HOLE_S < hole_s < LONGEST_HOLE_S:
            return
        yield from self._rest()
        samples = round(hole_s * SAMPLE_RATE)
        if hurt:
            yield Missing(samples, "damaged")
        else:
            yield from repeat(bytes(2 * SAMPLE_RATE), samples // SAMPLE_RATE)
            yield bytes(2 * (samples % SAMPLE_RATE))

    def _resampled(self, frame: AudioFrame) -> Iterator[bytes]:
        from av.audio.resampler import AudioResampler

        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or shape != self._shape:  # broadcasts change it on the way
            yield from self._rest()
            self._resampler, self._shape = AudioResampler("s16", "mono", SAMPLE_RATE), shape
        frame.pts = None
        for out in self._resampler.resample(frame):
            yield out.to_ndarray().tobytes()

    def _rest(self) -> Iterator[bytes]:
        """What the resampler held back."""
        if self._resampler is not None:
            for out in self._resampler.resample(None):
                yield out.to_ndarray().tobytes()
            self._resampler = None

    def _warn(self) -> None:
        heard_s, announced_s = self._end_s - self._start_s, _announced_s(self._container, self._path)
        short_s = announced_s - heard_s
        if short_s > max(SHORT_S, SHORT_PART * announced_s):
            self.broken_off = f"breaks off after {heard_s:.1f} s of {announced_s:.1f} s"
            _log.warning("%s %s: what is there was used; for the rest, copy it again", self._path, self.broken_off)
        elif self._damaged:
            _log.warning("%s: %d damaged packets were left out", self._path, self._damaged)


def _announced_s(container: InputContainer, path: Path) -> float:
    """How long the audio track should be. FFmpeg corrects a WAV's header by the file's length in silence."""
    stream = container.streams.audio[0]
    if stream.duration is not None and stream.time_base is not None:
        announced_s = float(stream.duration * stream.time_base)
    else:
        announced_s = (container.duration or 0) * MICROSECOND_S
    if container.format.name == "wav":
        with path.open("rb") as file:
            claimed = int.from_bytes(file.read(8)[4:], "little") + 8
        length = path.stat().st_size
        if length < claimed < 0xFFFF_FFFF:
            announced_s *= claimed / length
    return announced_s


def _open(path: Path) -> InputContainer:
    import av
    from av.error import FFmpegError

    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnavailableError(f"{path} is a directory: name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise UnavailableError(f"{path} is not a file: pipe sound of that kind into `streamd run --source -`")
        if status.st_size == 0:
            raise UnavailableError(f"{path} is empty (0 bytes): was it copied completely?")
        container = av.open(f"file:{path}", metadata_errors="replace")
    except FileNotFoundError as error:
        raise UnavailableError(f"{path} does not exist: check the name") from error
    except PermissionError as error:
        raise UnavailableError(f"{path} may not be read by this user: chmod a+r, or another user") from error
    except (FFmpegError, OSError) as error:
        raise UnavailableError(
            f"{path} is neither audio nor video that FFmpeg can read ({error.strerror}): "
            "is it whole? Else convert it to WAV, FLAC, MP3, OGG or MP4"
        ) from error
    if not container.streams.audio:
        container.close()
        raise UnavailableError(f"{path} has no sound: there is no audio track in it")
    return container
