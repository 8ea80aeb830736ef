"""The language model reads on from any past, and says what the reference says."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.encoder import encoder
from streamd.engines.gemma.folder import load
from streamd.engines.gemma.graphs import Array, Graph, Options
from streamd.engines.gemma.greedy import Written, greedy
from streamd.engines.gemma.hearing import Hearing
from streamd.errors import UnavailableError
from tests.gemma_data import MODEL, Prompt, begun_cases, greedy_cases, manifest, recording

GRAPHS = load(MODEL, Options(threads=1))
DECODER = Decoder(GRAPHS.embed, GRAPHS.decoder, GRAPHS.prefill)
PLAIN = Decoder(GRAPHS.embed, GRAPHS.decoder)  # without the graph for sound alone
IDS = manifest()["facts"]["ids"]
LOGITS = 1e-4  # by which they may differ, of about 4
CASES = greedy_cases()
NEW_TOKENS = max(len(tokens) for _, tokens in CASES)


def sound(seed: int, tokens: int) -> Array:
    return np.random.default_rng(seed).standard_normal((tokens, GRAPHS.width)).astype(np.float32)


def heard(prompt: Prompt, decoder: Decoder = DECODER) -> Cache:
    """The past behind a prompt's sound."""
    _, cache = decoder.read(decoder.empty, [*prompt.before, IDS["begin_audio"]])
    hearing = Hearing(encoder(GRAPHS.encoder), decoder, cache)
    hearing.feed(recording()[prompt.start : prompt.start + prompt.samples])
    hearing.finish(lambda _: None)
    return hearing.cache


def answer(prompt: Prompt, cache: Cache, draft: Sequence[int] = (), begin: Sequence[int] = ()) -> Written:
    lead = [IDS["end_audio"], *prompt.after, *begin]
    return greedy(DECODER, cache, lead, stop=set(IDS["eos"]), limit=NEW_TOKENS, draft=draft)


def drafts(right: list[int], seed: int) -> list[list[int]]:
    """Right and wrong ones, and some that are right at the beginning and at the end."""
    choose = random.Random(seed)
    made = [right, right[:-1], [*right, 600, 601], [700, *right[1:]], []]
    for _ in range(4):
        place = choose.randrange(len(right) + 1)
        made.append([*right[:place], choose.randrange(494, 1010), *right[place + choose.randrange(2) :]])
    return made


def spoken(tokens: Sequence[int]) -> list[int]:
    """What `generate` gave, without the token that ended it."""
    return [token for token in tokens if token not in IDS["eos"]]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_greedy_tokens_are_those_of_generate_with_any_draft(number: int) -> None:
    prompt, tokens = CASES[number]
    cache, right = heard(prompt), spoken(tokens)
    assert list(answer(prompt, cache).tokens) == right
    for draft in drafts(right, number):
        written = answer(prompt, cache, draft)
        assert list(written.tokens) == right
        assert written.ended == (len(tokens) > len(right))


@pytest.mark.parametrize("number", range(len(CASES)))
def test_an_answer_that_was_begun_goes_on_as_generate_does(number: int) -> None:
    """What it is begun with leaves keys and values and no logits: layers that own none are spared."""
    prompt, begin, tokens = begun_cases()[number]
    cache, right = heard(prompt), spoken(tokens)
    for draft in ([], *drafts(right, number)):
        written = answer(prompt, cache, draft, begin)
        assert list(written.tokens) == right
        assert written.ended == (len(tokens) > len(right))


def test_there_are_enough_prompts_and_some_end() -> None:
    assert len(CASES) >= 20
    assert any(tokens[-1] in IDS["eos"] for _, tokens in CASES)


def test_reading_in_parts_is_reading_at_once() -> None:
    tokens = [2, 105, *range(500, 540)]
    whole, _ = DECODER.read(DECODER.empty, tokens, keep=len(tokens))
    for size in (1, 3, 8):
        cache, rows = DECODER.empty, []
        for start in range(0, len(tokens), size):
            part = tokens[start : start + size]
            logits, cache = DECODER.read(cache, part, keep=len(part))
            rows.append(logits)
        np.testing.assert_allclose(np.concatenate(rows), whole, atol=LOGITS)


@pytest.mark.parametrize("decoder", [DECODER, PLAIN], ids=["prefill", "merged"])
def test_sound_in_parts_is_sound_at_once_through_either_graph(decoder: Decoder) -> None:
    soft = sound(1, 40)
    _, before = DECODER.read(DECODER.empty, [2, 105, 500])
    whole, _ = PLAIN.read(PLAIN.hear(before, soft), [501, 502], keep=2)
    for size in (1, 7, 40):
        cache = before
        for start in range(0, len(soft), size):
            cache = decoder.hear(cache, soft[start : start + size])
        logits, _ = decoder.read(cache, [501, 502], keep=2)
        np.testing.assert_allclose(logits, whole, atol=LOGITS)


def test_no_sound_leaves_the_past_as_it_is() -> None:
    assert DECODER.hear(DECODER.empty, sound(0, 0)) is DECODER.empty


def test_going_back_leaves_no_trace() -> None:
    _, cache = DECODER.read(DECODER.empty, list(range(500, 530)))
    kept = [array.copy() for array in cache.arrays]
    expected, _ = DECODER.read(cache, [600, 601])
    _, further = DECODER.read(cache, [700, 701, 702])
    again, _ = DECODER.read(further.crop(cache.length), [600, 601])
    np.testing.assert_array_equal(again, expected)
    for array, before in zip(cache.arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_a_past_has_a_length_and_a_size() -> None:
    _, cache = DECODER.read(DECODER.empty, [500, 501, 502])
    assert (DECODER.empty.length, cache.length, cache.crop(1).length) == (0, 3, 1)
    assert cache.nbytes == 3 * sum(4 * 2 * kv["heads"] * kv["width"] for kv in manifest()["facts"]["kv"])
    assert cache.crop(3) is cache
    with pytest.raises(ValueError, match="a past of 3 positions has no first 4"):
        cache.crop(4)


def test_logits_are_those_of_the_last_tokens() -> None:
    tokens = list(range(500, 510))
    rows, _ = DECODER.read(DECODER.empty, tokens, keep=10)
    last, _ = DECODER.read(DECODER.empty, tokens)
    assert rows.shape == (10, DECODER.vocabulary)
    np.testing.assert_allclose(last[0], rows[-1], atol=LOGITS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_no_answer(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    run = Graph.run

    def broken(self: Graph, feeds: dict[str, Array]) -> dict[str, Array]:
        outputs = run(self, feeds)
        if "logits" in outputs:
            outputs["logits"][..., 7] = value
        return outputs

    monkeypatch.setattr(Graph, "run", broken)
    with pytest.raises(
        UnavailableError, match=r"decoder_model_merged\.onnx gave no numbers .* after 2 positions; take"
    ):
        DECODER.read(DECODER.empty, [500, 501])
