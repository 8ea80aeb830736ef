"""streamd: live captions, offline."""

__version__ = "0.1.0"
