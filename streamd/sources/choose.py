"""From settings to a source."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from streamd.errors import UnavailableError
from streamd.resources import resource
from streamd.settings import Source as SourceSettings
from streamd.sources.base import Source
from streamd.sources.decode import check_media
from streamd.sources.devices import find_device
from streamd.sources.media import MediaFile
from streamd.sources.microphone import Microphone
from streamd.sources.stdin import StdinSource

_log = logging.getLogger(__name__)


def open_source(settings: SourceSettings, *, fast: bool = False) -> Source | None:
    """The source that `settings.kind` names; None for `none`. Looks at devices and files, so it may block.

    `auto` without a microphone is the demonstration in a loop; its name tells readers why. `fast` is for files.
    Raises UnavailableError, with the way out, for a source that isn't there.
    """
    match settings.kind:
        case "none":
            return None
        case "mic":
            return Microphone(find_device(settings.device))
        case "auto":
            return _microphone_or_demo(settings.device)
        case "-":
            return _stdin(settings.rate)
        case file:
            path = Path(file).expanduser()
            check_media(path)
            return MediaFile(path, fast, settings.loop)


def _microphone_or_demo(device: str) -> Source:
    try:
        return Microphone(find_device(device))
    except UnavailableError as error:
        _log.warning("%s; a recorded demonstration is captioned instead", error)
        demo = resource("demo/demo.flac")
        check_media(demo)
        return MediaFile(demo, loop=True, name=f"demo recording ({error})")


def _stdin(rate: int) -> Source:
    if sys.stdin is None or sys.stdin.isatty():
        what = "closed" if sys.stdin is None else "a terminal"
        raise UnavailableError(
            f"standard input is {what}: pipe mono s16le at {rate} Hz into it, "
            f"for example: ffmpeg -i talk.mp4 -ac 1 -ar {rate} -f s16le - | streamd run --source -"
        )
    return StdinSource(rate)
