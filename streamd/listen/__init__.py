"""The terminal client: captions as the terminal can show them."""

from streamd.listen.address import Address, sessions
from streamd.listen.client import Listener
from streamd.listen.screens import JsonLines, LiveScreen, News, PlainLines, Screen, Transcript, choose

__all__ = [
    "Address",
    "JsonLines",
    "Listener",
    "LiveScreen",
    "News",
    "PlainLines",
    "Screen",
    "Transcript",
    "choose",
    "sessions",
]
