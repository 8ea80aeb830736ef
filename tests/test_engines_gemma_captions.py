"""A caption is the model's own greedy answer, as long as that says what was shown for good."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from streamd.core.words import join
from streamd.engines.gemma.captions import Caption, Captions, Sound, in_words, kept_tokens, timed
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.encoder import encoder
from streamd.engines.gemma.folder import load
from streamd.engines.gemma.graphs import Graph, Options
from streamd.engines.gemma.hearing import Hearing
from streamd.engines.gemma.prompt import Ask, Prompt
from streamd.engines.gemma.text import Tokens
from tests.gemma_data import MODEL, recording

GRAPHS = load(MODEL, Options(threads=1))
DECODER = Decoder(GRAPHS.embed, GRAPHS.decoder, GRAPHS.prefill)
TOKENS = Tokens(MODEL)
PROMPT = Prompt(TOKENS)
CAPTIONS = Captions(DECODER, TOKENS, PROMPT)
TRANSCRIBE = Ask(language="en")
NOTHING = Caption()


def sound(start: int = 0, samples: int = 32_000, ask: Ask = TRANSCRIBE) -> Sound:
    _, before = DECODER.read(DECODER.empty, PROMPT.before(ask))
    hearing = Hearing(encoder(GRAPHS.encoder), DECODER, before)
    hearing.feed(recording()[start : start + samples])
    hearing.finish(lambda _: None)
    return Sound(hearing.cache, hearing.loudness)


SPEECH = sound()
FREE = CAPTIONS.write(SPEECH, TRANSCRIBE, NOTHING, "")


def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many tokens each pass of the language model reads, and of how many it gives logits, from now on."""
    read: list[tuple[int, int]] = []
    run = Graph.run

    def counting(self: Graph, feeds: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]) -> object:
        if self.role == "decoder_model_merged":
            read.append((feeds["inputs_embeds"].shape[1], int(feeds["num_logits_to_keep"])))
        return run(self, feeds)

    monkeypatch.setattr(Graph, "run", counting)
    return read


def test_words_with_times_and_confidence() -> None:
    assert len(FREE.words) >= 2
    assert not FREE.is_forced
    assert all(0 < word.confidence <= 1 for word in FREE.words)
    assert all(word.text.strip() for word in FREE.words)
    assert all(earlier.end_s == later.start_s for earlier, later in pairwise(FREE.words))
    assert FREE.words[0].start_s == 0
    assert FREE.words[-1].end_s == pytest.approx(SPEECH.seconds)


def test_nothing_steers_what_is_shown() -> None:
    texts = [CAPTIONS.write(sound(start), TRANSCRIBE, NOTHING, "") for start in range(0, 120_000, 30_000)]
    for caption in texts:
        shown = join(caption.words)
        assert TOKENS.harmless(shown) == shown
        assert "\n" not in shown
        assert "\N{REPLACEMENT CHARACTER}" not in shown
        assert not re.search(r"<unused|[<|]\w+[|>]", shown)


@pytest.mark.parametrize("spelled", ["<unused7>", "<|turn>", "a<turn|>b"])
def test_what_looks_like_a_control_token_is_not_shown_however_it_is_spelled(spelled: str) -> None:
    """Readers' programs, and prompts that it may come into, need not wonder."""
    tokens = [TOKENS.encode(char)[-1] for char in f" so {spelled} it is".replace(" ", "▁")]
    assert TOKENS.decode(tokens) == f" so {spelled} it is"
    words, stops = CAPTIONS._words(tokens, [0.0] * len(tokens))
    shown = join(words)
    assert shown in ("so it is", "so ab it is")
    assert (len(words), stops[-1]) == (len(stops), len(tokens))


def test_the_earlier_caption_is_checked_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    read = passes(monkeypatch)
    again = CAPTIONS.write(SPEECH, TRANSCRIBE, FREE, "")
    assert again.words == pytest.approx(FREE.words) or join(again.words) == join(FREE.words)
    assert again.tokens == FREE.tokens
    assert read == [(len(PROMPT.behind) + len(FREE.tokens), len(FREE.tokens) + 1)]


def test_what_was_shown_for_good_is_no_burden_while_the_model_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    committed = FREE.words[0].text.strip()
    read = passes(monkeypatch)
    caption = CAPTIONS.write(SPEECH, TRANSCRIBE, FREE, committed)
    assert not caption.is_forced
    assert len(read) == 1


@pytest.mark.parametrize(("committed", "kept"), [(0, 0), (1, 0), (2, 1), (5, 4), (9, 8)])
def test_committed_words_are_read_and_not_asked_about_again(
    monkeypatch: pytest.MonkeyPatch, committed: int, kept: int
) -> None:
    """All but the last of them: what follows that may still be punctuation. The rest is what it would be without."""
    speech = sound(16_000, 64_000)
    before = CAPTIONS.write(speech, TRANSCRIBE, NOTHING, "")
    text = join(before.words[:committed])
    tokens = before.stops[kept - 1] if kept else 0
    assert kept_tokens(before, text) == tokens
    read = passes(monkeypatch)
    again = CAPTIONS.write(speech, TRANSCRIBE, before, text)
    assert read == [(len(PROMPT.behind) + len(before.tokens), len(before.tokens) - tokens + 1)]
    assert (again.tokens, again.stops, join(again.words)) == (before.tokens, before.stops, join(before.words))
    assert again.chances == pytest.approx(before.chances, abs=1e-4)
    assert not again.is_forced


def test_no_tokens_are_kept_of_words_that_nobody_guessed() -> None:
    assert kept_tokens(FREE, "Something else altogether") == 0
    assert kept_tokens(NOTHING, join(FREE.words)) == 0


def test_more_may_be_committed_than_was_said_in_a_part_of_the_sound() -> None:
    ahead = CAPTIONS.write_ahead(SPEECH, TRANSCRIBE, NOTHING, f"{join(FREE.words)} and later")
    assert ahead is not None
    assert join(ahead.words) == join(FREE.words)
    assert CAPTIONS.write_ahead(SPEECH, TRANSCRIBE, NOTHING, "Something else altogether") is None


@pytest.mark.parametrize("frames", [0, 25])
def test_the_model_is_not_asked_about_what_can_not_be_heard(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    read = passes(monkeypatch)
    silence = Sound(SPEECH.cache, np.full(frames, -6.9, np.float32))
    caption = CAPTIONS.write(silence, TRANSCRIBE, FREE, "So it is.")
    assert (join(caption.words), caption.tokens) == ("So it is.", FREE.tokens)
    assert CAPTIONS.write_ahead(silence, TRANSCRIBE, NOTHING, "So it is.") == NOTHING
    assert read == []


@pytest.mark.parametrize("committed", ["Go forward", "Transcribe the", "Grüß Gott, Žižek.", "你好", "…", "<turn|> now"])
def test_the_model_is_made_to_go_on_from_what_was_shown_for_good(committed: str) -> None:
    caption = CAPTIONS.write(SPEECH, TRANSCRIBE, FREE, committed)
    assert caption.is_forced
    assert join(caption.words).startswith(committed)
    later = CAPTIONS.write(SPEECH, TRANSCRIBE, caption, committed)
    assert join(later.words) == join(caption.words)
    assert later.is_forced


def test_from_then_on_its_own_way_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    forced = CAPTIONS.write(SPEECH, TRANSCRIBE, FREE, "Go forward")
    read = passes(monkeypatch)
    CAPTIONS.write(SPEECH, TRANSCRIBE, forced, "Go forward")
    assert len(read) == 1


def test_a_loop_is_cut_and_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ends the caption, too: the model is not asked to go on."""
    unit = TOKENS.encode(" go on")
    answer = [*TOKENS.encode(" well"), *unit * 5]

    def parrot(_: Decoder, cache: Cache, tokens: list[int], keep: int = 1) -> tuple[object, Cache]:
        rows = np.zeros((keep, TOKENS.size), np.float32)
        for row in range(keep):
            said = cache.length + len(tokens) - keep + row + 1 - SPEECH.cache.length - len(PROMPT.behind)
            rows[row, answer[said]] = 9.0
        return rows, Cache(cache.length + len(tokens), cache.arrays)

    monkeypatch.setattr(Decoder, "read", parrot)
    monkeypatch.setattr(Cache, "crop", lambda cache, length: Cache(length, cache.arrays))
    caption = CAPTIONS.write(SPEECH, TRANSCRIBE, NOTHING, "")
    assert join(caption.words) == "well go on"
    assert len(caption.tokens) == len(answer) - 2 * len(unit)


# Translation ----------------------------------------------------------------------------------------------------------


TRANSLATE = Ask("translate", "en", "de")
TRANSLATED = sound(ask=TRANSLATE)


def test_of_a_transcript_and_its_translation_the_translation_is_shown() -> None:
    caption = CAPTIONS.write(TRANSLATED, TRANSLATE, NOTHING, "")
    assert TOKENS.decode(caption.transcript).endswith("\nGerman:")
    shown = join(caption.words)
    assert shown.split()[0] in TOKENS.decode(caption.tokens)
    assert "German:" not in shown


def test_a_translation_goes_on_from_what_was_shown_for_good() -> None:
    caption = CAPTIONS.write(TRANSLATED, TRANSLATE, NOTHING, "Na gut,")
    assert join(caption.words).startswith("Na gut,")
    later = CAPTIONS.write(TRANSLATED, TRANSLATE, caption, "Na gut,")
    assert join(later.words) == join(caption.words)


# Words without a model ------------------------------------------------------------------------------------------------


def test_words_of_a_text_without_sound_have_no_time() -> None:
    nothing = Sound(DECODER.empty, np.zeros(0, np.float32))
    assert [(word.text, word.end_s) for word in timed(in_words("so it is"), nothing)] == [
        (" so", 0.0),
        (" it", 0.0),
        (" is", 0.0),
    ]
