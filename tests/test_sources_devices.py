"""Which microphone is meant, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamd.errors import UnavailableError
from streamd.sources.devices import Device, _why_none, choose_device, explained, list_devices
from tests.needs import need_library


def device(index: int, name: str, *, host_api: str = "ALSA", default: bool = False) -> Device:
    return Device(index, name, host_api, 48_000, 1, default)


BUILT_IN = device(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)")
USB = device(4, "USB Audio: - (hw:1,0)")
USB_2 = device(5, "USB Audio: - (hw:2,0)", default=True)
DEFAULT = device(9, "default", default=True)


@pytest.mark.parametrize(
    ("wanted", "devices", "chosen"),
    [
        ("", [BUILT_IN, DEFAULT, USB], DEFAULT),  # the system's default
        ("", [BUILT_IN, USB], BUILT_IN),  # there is none: the first
        ("usb", [BUILT_IN, USB, DEFAULT], USB),  # part of the name, any case
        ("usb audio", [BUILT_IN, USB, USB_2], USB_2),  # ambiguous: the default one
        ("usb", [device(1, "USB Headset"), device(2, "USB")], device(2, "USB")),  # exact before partial
        ("core audio", [BUILT_IN, device(3, "Mic", host_api="Core Audio")], device(3, "Mic", host_api="Core Audio")),
    ],
)
def test_the_device_that_is_meant(wanted: str, devices: list[Device], chosen: Device) -> None:
    assert choose_device(wanted, devices) == chosen


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UnavailableError) as caught:
        choose_device("Yeti", [BUILT_IN, USB])
    assert str(caught.value) == (
        "no microphone is called 'Yeti' (source.device); there are: "
        "HDA Intel PCH: ALC257 Analog (hw:0,0), USB Audio: - (hw:1,0)"
    )


def test_a_device_that_was_plugged_in_again_is_the_same() -> None:
    assert USB.identity == USB_2.identity
    assert USB.identity != BUILT_IN.identity
    assert device(0, "Mic").identity != device(0, "Mic", host_api="JACK").identity


def test_no_device_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    monkeypatch.setattr(Path, "glob", lambda _, __: [])
    with pytest.raises(
        UnavailableError, match=r"^no microphone found: connect one, or name a recording: streamd run --source FILE"
    ):
        choose_device("", [])


def test_sound_hardware_that_may_not_be_used(tmp_path: Path) -> None:
    for node in ("pcmC0D0p", "pcmC0D0c", "controlC0"):
        (tmp_path / node).touch()
    message = _why_none(tmp_path, readable=lambda _: False)
    assert message == (f'no permission to use {tmp_path}/pcmC0D0c: sudo usermod -aG audio "$USER", then log in again')
    assert "no microphone found" in _why_none(tmp_path, server=tmp_path / "none")


def test_a_sound_server_that_is_not_visible(tmp_path: Path) -> None:
    (tmp_path / "native").touch()
    assert _why_none(tmp_path, server=tmp_path / "native") == (
        "the sound server is not visible to PortAudio: sudo apt install libasound2-plugins"
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Unanticipated host error: 'Permission denied' [ALSA error -13]", r'default: sudo usermod -aG audio "\$USER"'),
        (
            "Device\nunavailable",
            r"the microphone default can't be opened \(Device unavailable \[.*\]\): does another program",
        ),
    ],
)
def test_what_portaudio_says_is_explained(said: str, told: str) -> None:
    need_library("portaudio")
    import sounddevice

    with pytest.raises(UnavailableError, match=told), explained(DEFAULT):
        raise sounddevice.PortAudioError(said, -9_985)


def run_without(tmp_path: Path, hidden: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python whose loader does not find the library `hidden`."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes.util\n"
        "found = ctypes.util.find_library\n"
        f"ctypes.util.find_library = lambda name: None if name.endswith({hidden!r}) else found(name)\n"
    )
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}",
        "PULSE_SERVER": "unix:/nonexistent",
        "XDG_RUNTIME_DIR": "/nonexistent",
    }
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


LIST = (
    "from streamd.errors import UnavailableError\n"
    "from streamd.sources import list_devices\n"
    "try:\n"
    "    print(len(list_devices()))\n"
    "except UnavailableError as error:\n"
    "    print(error)\n"
)


def test_without_portaudio_the_fix_is_one_line(tmp_path: Path) -> None:
    done = run_without(tmp_path, "portaudio", LIST)
    assert (done.stdout, done.stderr) == (
        "the PortAudio library is missing: sudo apt install libportaudio2\n",
        "",
    )


def test_portaudio_is_loaded_only_when_it_is_used(tmp_path: Path) -> None:
    done = run_without(tmp_path, "portaudio", "import streamd.sources, sys\nprint('sounddevice' in sys.modules)")
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_what_can_record_is_listed() -> None:
    need_library("portaudio")
    for one in list_devices():
        assert one.name
        assert one.host_api
        assert one.rate > 0
        assert one.channels > 0
