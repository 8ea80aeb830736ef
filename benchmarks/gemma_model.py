"""A Gemma 4 as large as E4B with random weights: `python -m benchmarks.gemma_model FOLDER [--dtype q4] [GRAPH…]`.

Needs the extra `export`. Weights come out of one pool of noise, are quantised as real ones are, and go to the disk one
at a time. What the model says is noise; what it costs is what E4B costs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from streamd.engines.gemma.export import DTYPES, architecture, graph, graphs

LAYERS, OWNERS = 42, 24
POOL = 2**24  # numbers
CLIP = 8.0


def e4b(layers: int = LAYERS, owners: int = OWNERS) -> architecture.Architecture:
    """google/gemma-4-E4B-it's config.json, as far as graphs depend on it; its language model may be cut short."""
    kinds: tuple[architecture.LayerType, ...] = ("sliding_attention",) * 5 + ("full_attention",)
    layer_types = kinds * (layers // len(kinds))
    return architecture.Architecture(
        architecture.Audio(
            hidden=1024,
            layers=12,
            heads=8,
            channels=(128, 32),
            kernel=5,
            context=12,
            residual_weight=0.5,
            logit_cap=50.0,
            masked_logit=-1e9,
            clip=1e10,
            epsilon=1e-6,
            output=1536,
        ),
        architecture.Text(
            hidden=2560,
            feed_forward=10240,
            vocabulary=262144,
            vocabulary_per_layer=262144,
            per_layer=256,
            heads=8,
            layer_types=layer_types,
            kv_heads=(2,) * layers,
            heads_width=tuple(512 if kind == "full_attention" else 256 for kind in layer_types),
            owners=owners,
            double_wide=False,
            window=512,
            rotary={
                "sliding_attention": architecture.Rotary(10_000.0, 1.0),
                "full_attention": architecture.Rotary(1_000_000.0, 0.25),
            },
            epsilon=1e-6,
            softcap=30.0,
        ),
        architecture.Ids(
            pad=0,
            bos=2,
            eos=(1, 106, 50),
            audio=258881,
            begin_audio=256000,
            end_audio=258883,
            image=258880,
            video=258884,
        ),
    )


class Noise:
    """Weights of any shape: matrices as large as keeps what they multiply about as large as it was, norms of 1."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._pool = np.random.default_rng(0).standard_normal(POOL, np.float32)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        shape = self._shapes[name]
        if len(shape) == 1:
            return np.ones(stop - start, np.float32)
        width = int(np.prod(shape[1:]))
        places = (np.arange(start * width, stop * width) + crc32(name.encode())) % POOL
        part: NDArray[np.float32] = (self._pool[places] * np.float32(width**-0.5)).reshape(stop - start, *shape[1:])
        return part

    def scalar(self, name: str) -> float:
        return CLIP if name.endswith("max") else -CLIP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("graphs", nargs="*", help="default: all")
    parser.add_argument("--layers", type=int, default=LAYERS, help="of the language model, in sixes (%(default)s)")
    parser.add_argument("--owners", type=int, default=OWNERS, help="of these with keys and values (%(default)s)")
    parser.add_argument("--dtype", choices=list(DTYPES), default="q4")
    arguments = parser.parse_args()
    dtype, shapes = DTYPES[arguments.dtype], dict[str, tuple[int, ...]]()
    source = Noise(shapes)
    folder = arguments.folder / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    for each in graphs.graphs(
        e4b(arguments.layers, arguments.owners), source, torch.float16 if dtype.half else torch.float32
    ):
        if arguments.graphs and each.name not in arguments.graphs:
            continue
        began = time.perf_counter()
        for name, parameter in each.module.named_parameters():
            shapes[graph.checkpoint_name(each, name)] = tuple(parameter.shape)
        written = graph.write(each, source, dtype, folder)
        size = sum(file.stat().st_size for file in written.files)
        print(
            f"{each.name}: {written.parameters:,} weights, {size:,} bytes, {time.perf_counter() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
