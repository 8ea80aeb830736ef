"""ufal's whisper_online_server.py on a processor; as it stands it asks for CUDA. Arguments: checkout, then its own."""

import functools
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faster_whisper


def on_processor(build: Callable[..., Any]) -> Callable[..., Any]:
    """The same model, wherever its caller wants it."""

    @functools.wraps(build)
    def model(*arguments: Any, **options: Any) -> Any:
        return build(*arguments, **{**options, "device": "cpu", "compute_type": "int8"})

    return model


if __name__ == "__main__":
    checkout = Path(sys.argv.pop(1))
    sys.path.insert(0, str(checkout))
    faster_whisper.WhisperModel = on_processor(faster_whisper.WhisperModel)
    runpy.run_path(str(checkout / "whisper_online_server.py"), run_name="__main__")
