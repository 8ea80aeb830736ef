"""A draft saves passes and changes nothing else, whatever it says."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.engines.gemma.decoder import Cache, Decoder, Logits
from streamd.engines.gemma.greedy import Written, greedy, log_probability

VOCABULARY = 6
STOP = 0
LEAD = [1, 2]
PAST = Cache(1, (np.array([[[[3]]]]),))  # (1, 1, positions, 1): its keys are the tokens themselves
TOKENS = st.lists(st.integers(0, VOCABULARY - 1), max_size=12)


class Parrot:
    """A language model whose next token is a fixed function of all tokens before it."""

    def __init__(self, seed: int, vocabulary: int = VOCABULARY) -> None:
        self._seed, self._vocabulary = seed, vocabulary
        self.passes = 0

    def read(self, cache: Cache, tokens: Sequence[int], keep: int = 1) -> tuple[Logits, Cache]:
        self.passes += 1
        past = [*map(int, cache.arrays[0][0, 0, :, 0]), *tokens]
        rows = [self._next(past[:end]) for end in range(len(past) - keep + 1, len(past) + 1)]
        return np.stack(rows), Cache(len(past), (np.array(past).reshape(1, 1, -1, 1),))

    def _next(self, past: list[int]) -> Logits:
        chance = random.Random(f"{self._seed} {past}")
        return np.array([chance.uniform(-1, 1) for _ in range(self._vocabulary)], np.float32)


def write(model: Parrot, draft: Sequence[int] = (), limit: int = 10) -> Written:
    return greedy(cast(Decoder, model), PAST, LEAD, stop={STOP}, limit=limit, draft=draft)


def known(written: Written) -> list[int]:
    return [int(token) for token in written.cache.arrays[0][0, 0, :, 0]]


@given(st.integers(0, 200), TOKENS, st.integers(1, 10))
def test_any_draft_gives_what_none_gives(seed: int, draft: list[int], limit: int) -> None:
    model = Parrot(seed)
    plain, drafted = write(Parrot(seed), limit=limit), write(model, draft, limit=limit)
    assert (drafted.tokens, drafted.ended) == (plain.tokens, plain.ended)
    assert drafted.chances == pytest.approx(plain.chances)
    assert model.passes <= len(plain.tokens) + plain.ended


@given(st.integers(0, 200), TOKENS)
def test_the_past_that_is_returned_is_that_of_the_tokens(seed: int, draft: list[int]) -> None:
    written = write(Parrot(seed), draft)
    said = [3, *LEAD, *written.tokens]
    assert known(written) in (said, said[:-1])


@given(st.integers(0, 200))
def test_the_earlier_answer_as_a_draft_takes_one_pass(seed: int) -> None:
    model = Parrot(seed)
    plain = write(Parrot(seed))
    write(model, plain.tokens)
    assert model.passes == 1


def test_a_draft_is_taken_up_again_behind_a_wrong_word() -> None:
    seed = next(seed for seed in range(100) if len(set(write(Parrot(seed, 60)).tokens)) == 10)
    right = list(write(Parrot(seed, 60)).tokens[:7])
    for draft in ([*right[:3], 59, *right[4:]], [*right[:3], 59, 58, *right[3:]]):
        model = Parrot(seed, 60)
        assert list(write(model, draft).tokens[:7]) == right
        assert model.passes == 2 + 3 - 1  # what the draft does not hold is written token by token


def test_enough_is_enough_with_a_draft_or_without() -> None:
    seed = next(seed for seed in range(100) if len(write(Parrot(seed)).tokens) == 10)
    right = write(Parrot(seed)).tokens
    for draft in ((), right):
        model = cast(Decoder, Parrot(seed))
        written = greedy(
            model, PAST, LEAD, stop={STOP}, limit=10, draft=draft, enough=lambda tokens: sum(tokens) >= sum(right[:4])
        )
        assert sum(written.tokens) >= sum(right[:4])
        assert sum(written.tokens[:-1]) < sum(right[:4])


def test_log_probabilities_are_those_of_softmax() -> None:
    row = np.array([1.0, 2.0, 1_000.0, 3.0], np.float32)
    assert log_probability(row, 2) == pytest.approx(0.0)
    row = np.log(np.array([0.1, 0.2, 0.7], np.float32)) + 5
    assert math.exp(log_probability(row, 1)) == pytest.approx(0.2)
