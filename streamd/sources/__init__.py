"""Where sound comes from: microphone, file, standard input, socket. Each is an iterator of 16 kHz sound and losses."""

from streamd.sources.base import Chunk, Missing, Notice, Source
from streamd.sources.choose import open_source
from streamd.sources.convert import Format, PcmConverter
from streamd.sources.devices import Device, find_device, list_devices
from streamd.sources.media import MediaFile
from streamd.sources.microphone import Microphone
from streamd.sources.socket import SocketSource
from streamd.sources.stdin import StdinSource

__all__ = [
    "Chunk",
    "Device",
    "Format",
    "MediaFile",
    "Microphone",
    "Missing",
    "Notice",
    "PcmConverter",
    "SocketSource",
    "Source",
    "StdinSource",
    "find_device",
    "list_devices",
    "open_source",
]
