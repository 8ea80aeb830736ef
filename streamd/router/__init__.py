"""The engines of one daemon as the one recogniser that a session sees. core/route.py decides which of them hears.

Every engine has its own host and worker. The session keeps an utterance's sound, so an engine that takes over in the
middle hears it from its start, with the words that were shown for good as the beginning that it must keep.
"""

from __future__ import annotations

from streamd.router.engines import BYTES_A_SECOND, Engines, Host, OnChange, Outlook
from streamd.router.route import Route

__all__ = ["BYTES_A_SECOND", "Host", "OnChange", "Outlook", "Route", "Router"]


class Router(Engines):
    """The engines, and a route to them for every session."""

    def session(self, name: str) -> Route:
        """The recogniser of one session."""
        return Route(self, name)
