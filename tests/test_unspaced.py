"""Scripts without spaces, in every rule that knows words: what holds for English holds for them."""

from __future__ import annotations

from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.events import Final, Partial, Word
from streamd.core.log import Log
from streamd.core.revise import patched, revise
from streamd.core.stabilise import Stabiliser
from streamd.core.subtitle import LINE_COLUMNS, cues, render
from streamd.core.view import Utterance, fold
from streamd.core.words import HypothesisWord, bare, is_attached, is_punctuation, is_unspaced, join, spelled
from streamd.engines.whisper.evidence import believable
from streamd.engines.whisper.text import Tokens

TEXTS = {
    "ja": "今日は、とても良い天気です。ちょっとコーヒーを飲みましょう。",
    "zh": "你好，世界。今天天气很好，我们去公园吧！",  # noqa: RUF001 - full-width marks are meant
    "th": "สวัสดีครับ วันนี้อากาศดีมาก เราไปเดินเล่นกันเถอะ",
    "th without spaces": "วันนี้อากาศดีมากเราไปเดินเล่นกันเถอะแล้วค่อยกลับบ้านตอนเย็น",
    "mixed": "東京タワーは333メートル、Wi-Fiは無料です。",
}
CHARACTERS = "今日は良い天気です、。你好世界สวัดีครั3a"


def words_of(text: str) -> list[HypothesisWord]:
    """One word for each character, with what can't stand alone behind it; a quarter of a second each."""
    parts: list[str] = []
    for char in text:
        if parts and (is_attached(char) or is_punctuation(char) or parts[-1].isspace()):
            parts[-1] += char
        else:
            parts.append(char)
    return [HypothesisWord(part, n / 4, n / 4 + 0.25, 0.9) for n, part in enumerate(parts)]


texts = st.text(CHARACTERS, min_size=1, max_size=12)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_words_make_up_the_text(text: str, base: Path) -> None:
    tokens = Tokens(base / "tokenizer.json")
    spans = tokens.words(tokens.encode(text))
    assert "".join(span.text for span in spans).strip() == text
    assert len(spans) > len(text) / 5
    for span in spans:
        assert bare(span.text), "punctuation alone is no word"
        assert not is_attached(span.text.strip()[0]), "a sign has lost its letter"
        assert not span.text.endswith(" ")


@pytest.mark.parametrize(
    ("chars", "unspaced", "attached"),
    [("今はアก你", True, False), ("ーゃッ々", True, True), ("ัี่ะำๆ", True, True), ("aß3क한", False, False)],
)
def test_characters_are_told_apart(chars: str, unspaced: bool, attached: bool) -> None:
    assert [is_attached(char) for char in chars] == [attached] * len(chars)
    assert [is_unspaced(char) or char in "々" for char in chars] == [unspaced] * len(chars)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_guess_is_spelled_as_it_was_committed(text: str) -> None:
    words = words_of(text)
    for count in range(len(words) + 1):
        committed = join(words[:count])
        again = spelled(words, committed)
        assert again is not None
        assert join(again) == text


@given(texts, st.integers(0, 12))
def test_whatever_was_committed_begins_what_is_spelled(text: str, count: int) -> None:
    words = words_of(text)
    committed = join(words[:count])
    again = spelled(words, committed)
    assert again is not None
    assert join(again).startswith(committed)


@settings(deadline=None)  # slow machines are no failure
@given(st.lists(texts, min_size=1, max_size=6), st.data())
def test_committed_text_never_changes(guesses: list[str], data: st.DataObject) -> None:
    """Guesses that grow, and that contradict each other."""
    stabiliser, shown, covered_s = Stabiliser(), "", 0.0
    for guess in guesses:
        covered_s += data.draw(st.sampled_from((0.24, 1.0, 3.0)))
        caption = stabiliser.update(words_of(guess), covered_s)
        assert caption.text[: caption.committed].startswith(shown)
        shown = caption.text[: caption.committed]
    assert stabiliser.finish(words_of(guesses[-1])).text.startswith(shown)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_guesses_that_agree_are_committed_by_the_character(text: str) -> None:
    stabiliser, words = Stabiliser(), words_of(text)
    for count in range(1, len(words) + 1):
        caption = stabiliser.update(words[:count], words[count - 1].end_s)
    assert len(text) // 3 < caption.committed <= len(text)
    assert stabiliser.finish(words).text == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_speech_at_an_ordinary_pace_is_believed(text: str) -> None:
    """Seven characters a second, and a syllable that comes twice is no repetition."""
    words = [HypothesisWord(word.text, n / 7, (n + 1) / 7, 0.6) for n, word in enumerate(words_of(text * 2))]
    assert believable(words, words[-1].end_s, 0.1, "") == tuple(words)


@given(texts, texts)
def test_a_second_reading_leads_to_its_text(shown: str, read: str) -> None:
    revision = revise(words_of(shown), words_of(read))
    assert patched(join(words_of(shown)), revision.changes) == revision.text
    assert bare(revision.text) == bare(read)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_view_shows_both_halves(text: str) -> None:
    log = Log("room", "a")
    log.append(Partial(utterance=1, rev=1, start_ms=0, end_ms=9, text=text, committed=5), 0)
    (item,) = fold(log.since(0)).items
    assert isinstance(item, Utterance)
    assert (item.stable, item.tentative) == (text[:5], text[5:])


def final(text: str) -> Final:
    timed = [
        Word(text=word.text.strip(), start_ms=n * 200, end_ms=(n + 1) * 200, confidence=0.9)
        for n, word in enumerate(words_of(text))
    ]
    return Final(utterance=1, start_ms=0, end_ms=len(timed) * 200, text=text, words=tuple(timed), engine="scripted")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_subtitles_hold_it_all_in_lines_that_can_be_read(text: str) -> None:
    log = Log("room", "a")
    log.append(final(text * 4), 0)
    items = fold(log.since(0)).items
    lines = [line for cue in cues(items) for line in cue.lines]
    assert "".join("".join(lines).split()) == "".join((text * 4).split())
    assert all(sum(category(char) != "Mn" for char in line) <= LINE_COLUMNS for line in lines)
    assert not any(is_attached(line[0]) for line in lines), "a line begins with a sign that has lost its letter"
    assert render(items, "txt").strip() == text * 4
