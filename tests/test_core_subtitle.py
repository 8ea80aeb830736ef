"""Transcripts: nothing that was said is lost, and cues can be read."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.events import Body, Change, Final, Gap, Partial, Revised, Word
from streamd.core.log import Log
from streamd.core.subtitle import FORMATS, LINE_COLUMNS, MAX_CUE_MS, MIN_CUE_MS, Cue, Format, cues, render, stream
from streamd.core.view import Item, fold


def items(*bodies: Body) -> list[Item]:
    log = Log("room", "a", next_seq=1_000)
    for body in bodies:
        log.append(body, 0)
    return fold(log.since(0)).items


def said(
    text: str, *, start_ms: int = 0, word_ms: int = 300, pauses: dict[str, int] | None = None, utterance: int = 1
) -> Final:
    """A final whose words follow each other, `pauses` ms after the words named there."""
    words, now = [], start_ms
    for word in text.split():
        words.append(Word(text=word, start_ms=now, end_ms=now + word_ms, confidence=1))
        now += word_ms + (pauses or {}).get(word, 0)
    return Final(utterance=utterance, start_ms=start_ms, end_ms=now, text=text, words=tuple(words), engine="scripted")


def unspoken(text: str, *, start_ms: int = 0, end_ms: int = 4_000) -> Final:
    """A final without times of words."""
    return Final(utterance=1, start_ms=start_ms, end_ms=end_ms, text=text, engine="scripted")


def lines(*bodies: Body) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues(items(*bodies))]


# Rules, by example


def test_a_short_utterance_is_one_cue_on_one_line() -> None:
    assert list(cues(items(said("It is a truth.", word_ms=400)))) == [Cue(0, 1_600, ("It is a truth.",))]


def test_two_lines_are_broken_at_a_clause_and_about_equal() -> None:
    text = "It is a truth universally acknowledged, that a single man in possession"
    assert lines(said(text)) == [("It is a truth universally acknowledged,", "that a single man in possession")]


def test_a_line_may_be_full_to_the_last_column() -> None:
    first, second = "a" * 20 + " " + "b" * 21, "c" * 42
    assert lines(said(f"{first} {second}")) == [(first, second)]


def test_a_line_is_not_fuller_than_full() -> None:
    line = "a" * 21 + " " + "b" * 21
    assert all(len(row) <= LINE_COLUMNS for cue in lines(said(f"{line} {line}")) for row in cue)


def test_cues_end_where_sentences_do() -> None:
    text = (
        "However little known the feelings or views of such a man may be. "
        "This truth is so well fixed in the minds of the families. It is property."
    )
    assert [" ".join(cue) for cue in lines(said(text, word_ms=200))] == [
        "However little known the feelings or views of such a man may be.",
        "This truth is so well fixed in the minds of the families. It is property.",
    ]


def test_cues_end_at_pauses_rather_than_in_a_phrase() -> None:
    text = "and so my fellow Americans ask not what your country can do for you ask what you can do for your country"
    assert [" ".join(cue) for cue in lines(said(text, word_ms=200, pauses={"Americans": 500, "you": 400}))] == [
        "and so my fellow Americans ask not what your country can do for you",
        "ask what you can do for your country",
    ]


@pytest.mark.parametrize("title", ["Mr.", "Mrs.", "Dr.", "St.", "J.", "e.g."])
def test_an_abbreviation_ends_no_sentence(title: str) -> None:
    text = f"My dear friend, said his lady to him one day, have you heard that {title} Bennet has let it at last?"
    assert not any(cue[-1].endswith(title) for cue in lines(said(text, word_ms=200)))


def test_a_cue_is_no_longer_than_it_may_be() -> None:
    slow = list(cues(items(said("one two three four five six seven eight", word_ms=2_000))))
    assert len(slow) == 3
    assert all(cue.end_ms - cue.start_ms <= MAX_CUE_MS for cue in slow)


def test_a_word_that_lasts_too_long_is_cut_in_time() -> None:
    assert list(cues(items(said("Ommm", word_ms=20_000)))) == [Cue(0, MAX_CUE_MS, ("Ommm",))]


def test_a_short_cue_stays_long_enough_to_read() -> None:
    assert list(cues(items(said("Yes.", word_ms=200)))) == [Cue(0, MIN_CUE_MS, ("Yes.",))]


def test_a_short_cue_gives_way_to_the_next_one() -> None:
    both = items(said("Yes.", word_ms=200), said("No.", start_ms=600, utterance=2))
    assert [(cue.start_ms, cue.end_ms) for cue in cues(both)] == [(0, 600), (600, 1_600)]


def test_an_interruption_waits_for_the_words_around_it() -> None:
    both = items(said("one two three", word_ms=1_000), Gap(start_ms=1_000, end_ms=2_000, reason="overflow"))
    assert list(cues(both)) == [
        Cue(0, 3_000, ("one two three",)),
        Cue(3_000, 4_000, ("[captions interrupted 1 s]",)),
    ]


def test_chinese_is_broken_between_characters() -> None:
    text = "我有一个梦想，" * 12  # noqa: RUF001 - the full-width comma
    result = lines(unspoken(text, end_ms=20_000))
    assert "".join(line for cue in result for line in cue) == text
    assert all(len(line) <= LINE_COLUMNS // 2 for cue in result for line in cue)
    assert all(cue[-1].endswith("，") for cue in result)  # noqa: RUF001 - the full-width comma


def test_no_japanese_line_starts_with_a_mark_that_closes() -> None:
    text = "「吾輩は猫である」。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 4
    result = [line for cue in lines(unspoken(text, end_ms=30_000)) for line in cue]
    assert "".join(result) == text
    assert not any(line[0] in "。」、" or line[-1] == "「" for line in result)


def test_words_without_spaces_between_them_stay_so() -> None:
    pieces = ("吾輩は", "猫", "である", "。")
    words = tuple(
        Word(text=text, start_ms=i * 500, end_ms=i * 500 + 500, confidence=1) for i, text in enumerate(pieces)
    )
    final = Final(utterance=1, start_ms=0, end_ms=2_000, text="".join(pieces), words=words, engine="scripted")
    assert lines(final) == [("吾輩は猫である。",)]


def test_apostrophes_and_emoji_are_not_torn() -> None:
    text = "don't " * 30 + "👩🏽\u200d🦰" * 30
    words = tuple(
        Word(text=piece, start_ms=0, end_ms=9_000, confidence=1) for _ in range(30) for piece in ("don", "'t")
    )
    final = Final(utterance=1, start_ms=0, end_ms=9_000, text=text, words=words, engine="scripted")
    for cue in lines(final, unspoken("a").model_copy(update={"utterance": 2})):
        assert not any(line.startswith(("'t", "\u200d", "🏽", "🦰")) for line in cue)


# Formats


BODIES = (
    said("Fish & <chips>"),
    Gap(start_ms=3_600_000, end_ms=3_604_000, reason="overflow"),
    Partial(utterance=2_000, rev=1, start_ms=0, end_ms=1, text="not yet", committed=0),
)


def test_txt() -> None:
    assert render(items(*BODIES), "txt") == "Fish & <chips>\n[captions interrupted 4 s]\n"


def test_srt() -> None:
    assert render(items(*BODIES), "srt") == (
        "1\n00:00:00,000 --> 00:00:01,000\nFish & <chips>\n\n"
        "2\n01:00:00,000 --> 01:00:04,000\n[captions interrupted 4 s]\n\n"
    )


def test_vtt_escapes_what_it_must() -> None:
    assert render(items(*BODIES), "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nFish &amp; &lt;chips&gt;\n\n"
        "01:00:00.000 --> 01:00:04.000\n[captions interrupted 4 s]\n\n"
    )


def test_jsonl_is_what_went_over_the_wire() -> None:
    shown = items(*BODIES)
    assert render(shown, "jsonl").splitlines() == [item.event.json for item in shown[:2]]
    first = json.loads(render(shown, "jsonl").splitlines()[0])
    assert (first["type"], first["seq"], first["text"]) == ("final", 1_000, "Fish & <chips>")


@pytest.mark.parametrize("format", FORMATS)
def test_transcripts_hold_what_the_second_reading_made_of_it(format: Format) -> None:  # noqa: A002 - as the parameter
    revised = Revised(
        utterance=1,
        start_ms=0,
        end_ms=600,
        text="Ask Lasecki.",
        changes=(Change(start=4, stop=12, text="Lasecki."),),
        words=said("Ask Lasecki.").words,
        language="en",
        engine="second",
    )
    text = render(items(said("Ask Lasagne."), revised), format)
    assert "Ask Lasecki." in text
    assert "Lasagne" not in text
    if format == "jsonl":
        line = json.loads(text)
        assert (line["type"], line["engine"], line["language"]) == ("final", "second", "en")


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_said(format: str) -> None:  # noqa: A002 - as the parameter
    assert render([], format) == ("WEBVTT\n\n" if format == "vtt" else "")  # type: ignore[arg-type]  # one of FORMATS


def test_an_unknown_format_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="'docx': choose one of txt, srt, vtt, jsonl"):
        stream([], "docx")  # type: ignore[arg-type]  # that is the point


# Rules, for anything that may be said

WORD = st.text(st.sampled_from("abcdefgh.,?!'é字幕、。「」नमस्ते🎉"), min_size=1, max_size=60)
SPEECH = st.lists(st.tuples(WORD, st.integers(0, 3_000), st.integers(0, 1_500)), max_size=40)  # text, length, pause


@st.composite
def finals(draw: st.DrawFn) -> list[Body]:
    """Utterances and gaps one after the other; some have no times of words, some words of another text."""
    bodies: list[Body] = []
    now = 0
    for number, speech in enumerate(draw(st.lists(SPEECH, max_size=4))):
        words, start_ms, text = [], now, ""
        for word, length_ms, pause_ms in speech:
            words.append(Word(text=word, start_ms=now, end_ms=now + length_ms, confidence=1))
            now += length_ms + pause_ms
            text += draw(st.sampled_from(("", " ", "  "))) + word
        kept = draw(st.sampled_from((words, [], words[1:])))
        bodies.append(
            Final(utterance=number, start_ms=start_ms, end_ms=now, text=text, words=tuple(kept), engine="scripted")
        )
        if draw(st.booleans()):
            bodies.append(Gap(start_ms=now // 2, end_ms=now + 4_000, reason="overflow"))
    return bodies


@settings(deadline=None)  # slow machines are no failure
@given(finals())
def test_everything_said_appears_once_and_in_order(bodies: list[Body]) -> None:
    shown = items(*bodies)
    said_words = "".join("".join(item.text.split()) for item in shown)
    assert "".join("".join(line.split()) for cue in cues(shown) for line in cue.lines) == said_words
    assert "".join(render(shown, "txt").split()) == said_words


@settings(deadline=None)
@given(finals())
def test_spaces_are_kept_within_a_line(bodies: list[Body]) -> None:
    for item in items(*bodies):
        text = " ".join(item.text.split())
        assert all(line in text for cue in cues([item]) for line in cue.lines)


@settings(deadline=None)
@given(finals())
def test_cues_follow_each_other(bodies: list[Body]) -> None:
    shown = list(cues(items(*bodies)))
    assert all(0 < cue.end_ms - cue.start_ms <= MAX_CUE_MS for cue in shown)
    assert all(first.end_ms <= second.start_ms for first, second in pairwise(shown))


@settings(deadline=None)
@given(finals())
def test_lines_fit_unless_a_word_does_not(bodies: list[Body]) -> None:
    for cue in cues(items(*bodies)):
        assert len(cue.lines) <= 2
        assert all(len(line) <= LINE_COLUMNS or " " not in line for line in cue.lines)
