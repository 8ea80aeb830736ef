"""What every test gets: a watch on the event loop, real weights, real speech."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

DATA = Path(__file__).parent / "data"
collect_ignore = [] if find_spec("torch") else ["export"]  # these are for `make test-export`


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A blocking call on the event loop fails the test that made it."""
    with blockbuster_ctx("streamd") as watch:
        for function in watch.functions.values():  # coverage takes a lock of its own when it meets a new file
            function.can_block_in("coverage/collector.py", "lock_data")
        yield watch


@pytest.fixture(scope="session")
def tiny_en() -> Path:
    """Folder of faster-whisper tiny.en."""
    return _weights("tiny.en")


@pytest.fixture(scope="session")
def base() -> Path:
    """Folder of faster-whisper base, multilingual."""
    return _weights("base")


def _weights(name: str) -> Path:
    from streamd.models import locate

    root = os.environ.get("STREAMD_TEST_MODELS")
    return Path(root) / name if root else locate(name)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What a test that starts a command has set up for logging does not outlast it: its stderr is closed by then."""
    root = logging.getLogger()
    before = set(root.handlers)
    yield
    for handler in set(root.handlers) - before:
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
