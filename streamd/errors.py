"""Errors that end a command, and the exit codes of sysexits.h that they end it with.

Each message names the origin, the value and the way out.
"""

from __future__ import annotations


class StreamdError(Exception):
    """A condition that is explained to the user in one line instead of a traceback."""

    exit_code = 70  # EX_SOFTWARE


class UsageError(StreamdError):
    """The command line is off."""

    exit_code = 2


class ConfigError(StreamdError):
    """A setting is unknown, of the wrong type, or contradicts another."""

    exit_code = 78  # EX_CONFIG


class UnavailableError(StreamdError):
    """A needed part is not there: a model, a device, a port, a readable file."""

    exit_code = 69  # EX_UNAVAILABLE
