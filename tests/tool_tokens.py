"""Small tokenizers with Gemma's control tokens and its way with bytes and spaces."""

from __future__ import annotations

from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

CONTROL = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>"),
    *('<|"|>', "<|turn>", "<turn|>", "<|audio>", "<audio|>"),
)
WORDS = (
    *(
        "call:",
        "none",
        "set_speed",
        "press_1",
        "press_12",
        "true",
        "false",
        "▁press",
        "speed:",
        "on:",
        "zone",
        "ä",
        "ö",
    ),
    *(":{", "},", "]}", ",", "},{", "100", "12", "0.", ".5"),
)


@cache
def tokenizer(words: tuple[str, ...] = WORDS) -> Tokenizer:
    """Bytes, the characters of ASCII, and every beginning of `words`, merged from the left."""
    vocab = {name: number for number, name in enumerate(CONTROL)}
    merges = []
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    for character in ["▁", "\n", *map(chr, range(33, 127)), *sorted({c for word in words for c in word if c > "~"})]:
        vocab.setdefault(character, len(vocab))
    for word in words:
        for end in range(1, len(word)):
            if word[: end + 1] not in vocab:
                vocab[word[: end + 1]] = len(vocab)
                merges.append((word[:end], word[end]))
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL])
    return made
