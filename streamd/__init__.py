"""streamd: live captions and voice commands, offline."""

__version__ = "0.1.0"
