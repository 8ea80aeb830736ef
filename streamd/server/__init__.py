"""One port for everything: readers, speakers, pages, transcripts, health and metrics."""

from streamd.server.serve import Serving, serve

__all__ = ["Serving", "serve"]
