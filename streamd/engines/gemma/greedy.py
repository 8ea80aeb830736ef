"""The greedy continuation, with a guess of it verified in one pass instead of word by word."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from streamd.engines.gemma.decoder import Cache, Decoder, Logits

REDRAFT_TOKENS = 8
"""So many tokens of a draft are tried again behind the place where it was wrong: more would cost too much if wrong."""

NEAR_TOKENS = 4  # what was left out of a draft is not longer: further on it is another place with the same token


@dataclass(frozen=True, slots=True)
class Written:
    """A greedy continuation."""

    tokens: tuple[int, ...]  # without the one that ended it
    chances: tuple[float, ...]  # of each of these: its natural log-probability
    cache: Cache  # of the past, of what was read before the tokens, and of all of them but perhaps the last
    ended: bool  # by a stop token; otherwise it was cut off


def greedy(
    decoder: Decoder,
    cache: Cache,
    lead: Sequence[int],
    *,
    stop: Collection[int],
    limit: int,
    draft: Sequence[int] = (),
    enough: Callable[[Sequence[int]], bool] = lambda _: False,
) -> Written:
    """What the model says after `cache` and `lead` (at least one token): at each place its likeliest token.

    An answer that is begun for it is the end of `lead`, and costs only what leaves keys and values. `draft` is a guess
    of what comes then. It is read along with `lead` and changes nothing but the number of passes (speculative decoding:
    Leviathan et al. 2023, arXiv:2211.17192, where the earlier caption takes the place of a draft model). At most
    `limit` ≥ 1 tokens are written, and no more once `enough` is true of all that are.
    """
    pending = list(draft[: limit - 1])
    logits, grown = decoder.read(cache, [*lead, *pending], keep=len(pending) + 1)
    base = cache.length + len(lead)
    tokens: list[int] = []
    chances: list[float] = []

    def written(ended: bool) -> Written:
        past = grown.crop(min(grown.length, base + len(tokens)))
        return Written(tuple(tokens), tuple(chances), past, ended)

    while True:
        right = 0
        for row in logits:
            best = int(row.argmax())
            if best in stop:
                return written(ended=True)
            tokens.append(best)
            chances.append(log_probability(row, best))
            if len(tokens) == limit or enough(tokens):
                return written(ended=False)
            if right == len(pending) or pending[right] != best:
                break
            right += 1
        past = grown.crop(base + len(tokens) - 1)
        pending = _remainder(pending[right:], tokens[-1])[: limit - len(tokens) - 1]
        logits, grown = decoder.read(past, [tokens[-1], *pending], keep=len(pending) + 1)


def log_probability(row: Logits, token: int) -> float:
    """Natural logarithm of a token's probability, from logits (vocabulary,)."""
    top = float(row.max())
    return float(row[token]) - top - float(np.log(np.exp(row - top).sum()))


def _remainder(draft: Sequence[int], written: int) -> list[int]:
    """What a draft may still be right about after its first token turned out to be `written` instead."""
    near = draft[:NEAR_TOKENS]
    place = near.index(written) if written in near else 0  # it had something more; or this stands in its place
    return list(draft[place + 1 : place + 1 + REDRAFT_TOKENS])
