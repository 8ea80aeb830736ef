"""Programs and libraries that a test runs for real: skip where they are missing, fail where all must be there.

STREAMD_REQUIRE_ALL=1 (set by .ci/run) turns every such skip into a failure, so that nothing is left out in silence.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
from typing import NoReturn

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def need(*names: str) -> str:
    """Path of the first of these programs that is installed: `need("node")`, `need(*CHROMIUM)`."""
    for name in names:
        if path := shutil.which(name):
            return path
    return missing(f"the program {' or '.join(names)} is not installed")


def need_library(name: str) -> str:
    """File name of a shared library that the system's loader finds: `need_library("portaudio")`."""
    found = ctypes.util.find_library(name)
    return found or missing(f"the library lib{name} is not installed")


def missing(reason: str) -> NoReturn:
    """Skip the running test with `reason`, or fail it where all parts must be there."""
    if os.environ.get("STREAMD_REQUIRE_ALL") == "1":
        pytest.fail(f"{reason}, and STREAMD_REQUIRE_ALL=1 says it must be")
    pytest.skip(reason)
