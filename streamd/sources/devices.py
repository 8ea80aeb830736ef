"""Which microphones there are. The only place that knows PortAudio by name; everything here may block."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamd.errors import UnavailableError

NO_PORTAUDIO = "the PortAudio library is missing: sudo apt install libportaudio2"
NO_PERMISSION = 'no permission to use {what}: sudo usermod -aG audio "$USER", then log in again'
NO_PLUGIN = "the sound server is not visible to PortAudio: sudo apt install libasound2-plugins"
NO_DEVICE = "no microphone found: connect one, or name a recording: streamd run --source FILE"

_portaudio = threading.RLock()  # PortAudio is not safe for threads
_ALSA_NUMBER = re.compile(r"\s*\(hw:\d+,\d+\)")


@dataclass(frozen=True, slots=True)
class Device:
    """A microphone. `index` holds until PortAudio is initialised again, name and host API for longer."""

    index: int
    name: str
    host_api: str
    rate: int  # Hz, native
    channels: int
    default: bool

    @property
    def identity(self) -> tuple[str, str]:
        """What stays the same when the device is plugged in again; ALSA may give it another number."""
        return _ALSA_NUMBER.sub("", self.name).casefold(), self.host_api


@contextmanager
def portaudio() -> Iterator[Any]:
    """The sounddevice module, for one thread at a time. Raises UnavailableError if PortAudio is not installed."""
    with _portaudio:
        try:
            import sounddevice  # takes a while, and fails without its library: nobody pays who has no use for it
        except OSError as error:
            raise UnavailableError(NO_PORTAUDIO) from error
        yield sounddevice


def list_devices() -> list[Device]:
    """All that can record. Raises UnavailableError if PortAudio is not installed."""
    with portaudio() as sd:
        apis = [api["name"] for api in sd.query_hostapis()]
        default = sd.default.device[0]
        return [
            Device(
                index=info["index"],
                name=info["name"],
                host_api=apis[info["hostapi"]],
                rate=int(info["default_samplerate"]),
                channels=info["max_input_channels"],
                default=info["index"] == default,
            )
            for info in sd.query_devices()
            if info["max_input_channels"] > 0
        ]


def find_device(wanted: str = "") -> Device:
    """The microphone whose name contains `wanted` (any case), or the system's default one.

    Raises UnavailableError with the way out if there is none, or if it can't be opened.
    """
    device = choose_device(wanted, list_devices())
    with portaudio() as sd, explained(device):
        sd.check_input_settings(device=device.index, channels=1, dtype="int16", samplerate=device.rate)
    return device


def choose_device(wanted: str, devices: Sequence[Device]) -> Device:
    """The rule of `find_device`: an exact name before part of one, the default before others."""
    if not devices:
        raise UnavailableError(_why_none())
    name = wanted.casefold()
    fitting = [device for device in devices if name in f"{device.name}, {device.host_api}".casefold()]
    if not fitting:
        present = ", ".join(device.name for device in devices)
        raise UnavailableError(f"no microphone is called {wanted!r} (source.device); there are: {present}")
    return max(fitting, key=lambda device: (device.name.casefold() == name, device.default))


@contextmanager
def explained(device: Device) -> Iterator[None]:
    """Turns PortAudio's errors into UnavailableError with the way out."""
    import sounddevice

    try:
        yield
    except sounddevice.PortAudioError as error:
        said = " ".join(str(error).split())
        if "ermission denied" in said:
            raise UnavailableError(NO_PERMISSION.format(what=f"the microphone {device.name}")) from error
        raise UnavailableError(
            f"the microphone {device.name} can't be opened ({said}): does another program use it? "
            "`streamd devices` lists all"
        ) from error


def _why_none(
    snd: Path = Path("/dev/snd"),
    readable: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK),
    server: Path | None = None,
) -> str:
    """Why nothing can record, and the way out."""
    for node in sorted(snd.glob("pcm*c")):  # ALSA's name for what captures
        if not readable(node):
            return NO_PERMISSION.format(what=node)
    if server is None:
        server = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "pulse" / "native"
    return NO_PLUGIN if server.exists() else NO_DEVICE
