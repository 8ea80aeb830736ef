"""A Gemma 4 checkpoint of a few hundred thousand random weights, with everything that the real ones have.

Needs the extra `export`. Weights are as large as trained ones are (initial ones are so small that errors drown), clip
bounds are finite and bite, the last layers share keys and values, both kinds of attention occur. The tokenizer is a
small one of Gemma's kind; the ids of its special tokens are the real ones as far as they fit, config.json has the rest.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import Gemma4AudioFeatureExtractor, Gemma4Config, Gemma4ForConditionalGeneration

VOCABULARY = 1024
WINDOW = 16  # positions of sliding attention: utterances are longer
# fmt: off
SPECIAL = {
    0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>",
    46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>", 49: "<tool_call|>",
    50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>",
    100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>",
    1016: "<|audio>", 1017: "<|audio|>", 1018: "<audio|>", 1019: "<|image|>", 1020: "<|video|>",
    1021: "<|image>", 1022: "<image|>",
}
# fmt: on
NEWLINE, FIRST_BYTE, FIRST_PIECE = 107, 238, 494
TEXT = """
Transcribe the following speech segment in English into English text. Follow these specific instructions for formatting
the answer: Only output the transcription, with no newlines. When transcribing numbers, write the digits, i.e. write 1.7
and not one point seven, and write 3 instead of three. then translate it into German French Spanish Italian output the
string user model system thought declaration call response description parameters properties required type STRING
OBJECT BOOLEAN INTEGER NUMBER ARRAY enum true false null name value light lights kitchen living room turn on off set
temperature degrees brightness percent colour red green blue play pause next volume up down door lock open close
the of and to in is that it was for on are with as his they at be this from have or by one had not but what all were
when we there can an your which their said if do will each about how up out them then she many some so these would
""".strip()


def make(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint of `seed` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model(seed).save_pretrained(folder)
    generation = {"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": [1, 106, 50], "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1))
    extractor = Gemma4AudioFeatureExtractor()
    extractor.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def model(seed: int) -> Gemma4ForConditionalGeneration:
    torch.manual_seed(seed)
    made = Gemma4ForConditionalGeneration(_config()).eval()
    random = torch.Generator().manual_seed(seed + 1)
    for name, weight in made.named_parameters():
        noise = torch.randn(weight.shape, generator=random)
        if weight.ndim > 1:
            weight.copy_(noise * math.prod(weight.shape[1:]) ** -0.5)
        else:
            weight.copy_(1 + 0.1 * noise if "norm" in name else 0.1 * noise)
    for name, bound in made.named_buffers():
        width = 2.5 + torch.rand((), generator=random)
        if name.endswith(("input_min", "output_min")):
            bound.fill_(-width)
        elif name.endswith(("input_max", "output_max")):
            bound.fill_(width)
        elif name.endswith("layer_scalar"):
            bound.fill_(0.85 + 0.1 * width / 3.5)
    made.tie_weights()
    return made


def _config() -> Gemma4Config:
    pattern = ["sliding_attention", "sliding_attention", "full_attention"]
    ids = {name: number for number, name in SPECIAL.items()}
    config = Gemma4Config(
        text_config={
            "vocab_size": VOCABULARY,
            "vocab_size_per_layer_input": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 6,
            "num_kv_shared_layers": 2,
            "layer_types": [*pattern, "sliding_attention", *pattern[1:]],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "global_head_dim": 32,
            "sliding_window": WINDOW,
            "hidden_size_per_layer_input": 16,
            "final_logit_softcapping": 30.0,
            "max_position_embeddings": 4096,
        },
        # the first channel count must be the number of mel bands: the reference sizes its projection by it
        audio_config={
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "subsampling_conv_channels": [128, 8],
            "output_proj_dims": 48,
        },
        vision_config=None,
        boa_token_id=ids["<|audio>"],
        audio_token_id=ids["<|audio|>"],
        eoa_token_index=ids["<audio|>"],
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        boi_token_id=ids["<|image>"],
        eoi_token_id=ids["<image|>"],
    )
    config._attn_implementation = "eager"  # the audio tower has no other
    return config


def tokenizer() -> Tokenizer:
    """Byte-pair pieces with ▁ for spaces and bytes for what no piece spells, as Gemma's."""
    vocabulary = {name: number for number, name in SPECIAL.items()} | {"\n": NEWLINE}
    vocabulary |= {f"<0x{byte:02X}>": FIRST_BYTE + byte for byte in range(256)}
    pieces, merges = _pieces(min(SPECIAL.keys() - set(range(FIRST_PIECE))) - FIRST_PIECE)
    vocabulary |= {piece: FIRST_PIECE + index for index, piece in enumerate(pieces)}
    taken = set(vocabulary.values())
    vocabulary |= {f"<unused{number}>": number for number in range(VOCABULARY) if number not in taken}
    made = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 2)])
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL.values()])
    return made


def _pieces(count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Printable ASCII, and what byte-pair encoding makes of `TEXT`."""
    learner = Tokenizer(BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    letters = [chr(code) for code in range(33, 127)] + ["▁"]
    trainer = trainers.BpeTrainer(vocab_size=count, initial_alphabet=letters, show_progress=False)
    learner.train_from_iterator(TEXT.splitlines(), trainer)
    learned = json.loads(learner.to_str())["model"]
    return list(learned["vocab"]), [(left, right) for left, right in learned["merges"]]
