"""What was said, as files: TXT, SubRip (SRT), WebVTT and JSON Lines.

Cues keep to what subtitling guides agree on: two lines of 42 columns, 1 to 7 seconds, broken at sentence ends and
pauses before anywhere else. WebVTT: https://www.w3.org/TR/webvtt1/. A full-width character (Unicode Standard
Annex 11) takes two columns, any other one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal
from unicodedata import category, east_asian_width

from streamd.core.events import Event, Final, Revised
from streamd.core.view import Interruption, Item, Utterance
from streamd.core.words import is_attached, is_unspaced

Format = Literal["txt", "srt", "vtt", "jsonl"]
FORMATS: tuple[Format, ...] = ("txt", "srt", "vtt", "jsonl")
LINE_COLUMNS = 42
MIN_CUE_MS = 1_000
MAX_CUE_MS = 7_000
PAUSE_MS = 300  # between two words: a place to break

# What a cue costs. The sum over an utterance is made as small as possible; each rank outweighs those below it.
_BREAK_IN_PHRASE = 10_000
_BREAK_AT_CLAUSE = 100
_SHORT_CUE = 30  # shorter than MIN_CUE_MS
_CUE = 10
_BREAK_AT_PAUSE = 3

_CLOSING = "\"'”’»)\\]」』）"  # noqa: RUF001 - full-width marks are meant
_SENTENCE_END = re.compile(rf"[.!?…。！？।؟۔][{_CLOSING}]*$")  # noqa: RUF001 - as above
_CLAUSE_END = re.compile(rf"[,;:—–、，；：،][{_CLOSING}]*$")  # noqa: RUF001 - as above
_ABBREVIATION = re.compile(r"(?:^|\W)(?:\w|Mrs?|Ms|Dr|St|Prof|vs|e\.g|i\.e)\.$", re.IGNORECASE)
_NEVER_FIRST = frozenset("、。，．！？：；）」』】〉》”’")  # noqa: RUF001 - of a line
_NEVER_LAST = frozenset("（「『【〈《“‘\u200dเแโใไເແໂໃໄ")  # noqa: RUF001 - of a line; U+200D joins emoji, vowels lead
_NO_WIDTH = ("Mn", "Me", "Cf")  # categories of marks above and below other characters


@dataclass(frozen=True, slots=True)
class Cue:
    """A subtitle."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    """What is never broken: a word, or a few characters of a script without spaces."""

    text: str
    space: str  # what stands before it: " " or ""
    start_ms: int
    end_ms: int


def render(items: Iterable[Item], format: Format) -> str:  # noqa: A002 - what the command line and the wire call it
    """`items` of a view as one file; what is not final is left out. Raises ValueError for a format not in FORMATS."""
    return "".join(stream(items, format))


def stream(items: Iterable[Item], format: Format) -> Iterator[str]:  # noqa: A002 - as above
    """The pieces of `render`, one a cue or line, so that a day of speech need not be made at once."""
    if format not in _WRITERS:
        raise ValueError(f"unknown format {format!r}: choose one of {', '.join(FORMATS)}")
    return _WRITERS[format](item for item in items if isinstance(item, Interruption) or item.is_final)


def cues(items: Iterable[Item]) -> Iterator[Cue]:
    """Subtitles in order. None overlaps another: one that would waits for those before it."""
    waiting: Cue | None = None
    for cue in (cue for item in items for cue in _item_cues(item)):
        if waiting:
            waiting = _readable(waiting, cue.start_ms)
            yield waiting
            cue = replace(cue, start_ms=max(cue.start_ms, waiting.end_ms))
        waiting = cue
    if waiting:
        yield _readable(waiting, waiting.start_ms + MAX_CUE_MS)


def _readable(cue: Cue, next_start_ms: int) -> Cue:
    """`cue` with an end that leaves time to read it, as far as the next one allows."""
    end_ms = max(cue.end_ms, min(cue.start_ms + MIN_CUE_MS, next_start_ms), cue.start_ms + 1)
    return replace(cue, end_ms=min(end_ms, cue.start_ms + MAX_CUE_MS))


def _item_cues(item: Item) -> list[Cue]:
    if isinstance(item, Interruption):
        return [Cue(item.start_ms, item.end_ms, (item.text,))]
    tokens = _tokens(item)
    return [_cue(tokens[start:stop]) for start, stop in _cuts(tokens)]


def _cue(tokens: list[_Token]) -> Cue:
    return Cue(tokens[0].start_ms, tokens[-1].end_ms, _lines(tokens))


# From an utterance to tokens


def _tokens(utterance: Utterance) -> list[_Token]:
    """The text in pieces between which a line may be broken, with the times of its words or a share of all the time."""
    tokens: list[_Token] = []
    position = 0  # in the text
    for start, stop, start_ms, end_ms in _spans(utterance):
        for first, last in _breakable(utterance.text[start:stop]):
            space = " " if start + first > position else ""
            position = start + last
            token = _Token(
                utterance.text[start + first : position],
                space,
                start_ms + (end_ms - start_ms) * first // (stop - start),
                start_ms + (end_ms - start_ms) * last // (stop - start),
            )
            if tokens and not space and not _may_break(tokens[-1].text[-1], token.text[0]):
                token = replace(tokens[-1], text=tokens[-1].text + token.text, end_ms=token.end_ms)
                tokens.pop()
            tokens.append(token)
    return tokens


def _spans(utterance: Utterance) -> list[tuple[int, int, int, int]]:
    """(start, stop, start_ms, end_ms) of each word in the text, or of the whole text where the words differ from it."""
    spans, position = [], 0
    for word in utterance.words:
        start = utterance.text.find(word.text, position)
        if start < 0 or utterance.text[position:start].strip():
            break
        position = start + len(word.text)
        spans.append((start, position, word.start_ms, word.end_ms))
    if utterance.text[position:].strip():
        return [(0, len(utterance.text), utterance.start_ms, utterance.end_ms)]
    return [span for span in spans if span[0] < span[1]]


def _breakable(text: str) -> Iterator[tuple[int, int]]:
    """(start, stop) of the words in `text`; of its characters where a word without spaces is longer than a line."""
    for match in re.finditer(r"\S+", text):
        start, stop = match.span()
        if _columns(match.group()) > LINE_COLUMNS:
            for position in range(start + 1, stop):
                if _may_break(text[position - 1], text[position]):
                    yield start, position
                    start = position
        yield start, stop


def _may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters without a space; after JIS X 4051.

    Thai, Lao, Khmer and Myanmar are broken between letters: where their words end only a dictionary knows.
    """
    return (
        (_columns(before) == 2 or _columns(after) == 2 or (is_unspaced(before) and is_unspaced(after)))
        and after not in _NEVER_FIRST
        and before not in _NEVER_LAST
        and not is_attached(after)
    )


def _columns(text: str) -> int:
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if east_asian_width(character) in "WF":
        return 2
    return 0 if category(character) in _NO_WIDTH else 1


# From tokens to cues


def _cuts(tokens: list[_Token]) -> list[tuple[int, int]]:
    """(start, stop) of the cues that cost least in all, by dynamic programming over their last one."""
    widths = [len(token.space) + _columns(token.text) for token in tokens]
    line_stops = [_line_stop(tokens, widths, start) for start in range(len(tokens))] + [len(tokens)]
    best: list[tuple[float, int]] = [(0, 0)]  # for each stop: the cost up to there, and where the last cue starts
    for stop in range(1, len(tokens) + 1):
        options = []
        for start in range(stop - 1, -1, -1):
            too_long = tokens[stop - 1].end_ms - tokens[start].start_ms > MAX_CUE_MS
            if start < stop - 1 and (too_long or line_stops[line_stops[start]] < stop):
                break
            fill = sum(widths[start:stop]) / (2 * LINE_COLUMNS)
            options.append((best[start][0] + _cost(tokens, start, stop) + fill * fill, start))
        best.append(min(options))
    return _walk_back([start for _, start in best])


def _walk_back(starts: list[int]) -> list[tuple[int, int]]:
    cuts = []
    stop = len(starts) - 1
    while stop:
        cuts.append((starts[stop], stop))
        stop = starts[stop]
    return cuts[::-1]


def _line_stop(tokens: list[_Token], widths: list[int], start: int) -> int:
    """How far a line goes that starts with token `start`; a longer token has it for itself."""
    stop, total = start + 1, widths[start] - len(tokens[start].space)
    while stop < len(widths) and total + widths[stop] <= LINE_COLUMNS:
        total += widths[stop]
        stop += 1
    return stop


def _cost(tokens: list[_Token], start: int, stop: int) -> int:
    if stop == len(tokens):
        return _CUE
    short = tokens[stop].start_ms - tokens[start].start_ms < MIN_CUE_MS
    return _CUE + _SHORT_CUE * short + _break_cost(tokens[stop - 1], tokens[stop])


def _break_cost(before: _Token, after: _Token) -> int:
    if _ends_sentence(before.text, after.text):
        return 0
    if after.start_ms - before.end_ms >= PAUSE_MS:
        return _BREAK_AT_PAUSE
    is_phrase = after.space and is_unspaced(before.text[-1]) and is_unspaced(after.text[0])  # as in Thai
    return _BREAK_AT_CLAUSE if is_phrase or _CLAUSE_END.search(before.text) else _BREAK_IN_PHRASE


def _ends_sentence(text: str, following: str) -> bool:
    return bool(_SENTENCE_END.search(text)) and not _ABBREVIATION.search(text) and not following[0].islower()


def _lines(tokens: list[_Token]) -> tuple[str, ...]:
    """One line, or two of about the same length that are broken where a clause ends if possible."""
    whole = _text(tokens)
    pairs = [(_text(tokens[:cut]), _text(tokens[cut:])) for cut in range(1, len(tokens))]
    if _columns(whole) <= LINE_COLUMNS or not pairs:
        return (whole,)
    return min(pairs, key=_raggedness)


def _raggedness(pair: tuple[str, str]) -> tuple[bool, int]:
    first, second = map(_columns, pair)
    clause = _CLAUSE_END.search(pair[0]) or _SENTENCE_END.search(pair[0])
    return max(first, second) > LINE_COLUMNS, abs(first - second) + (0 if clause else LINE_COLUMNS // 2)


def _text(tokens: list[_Token]) -> str:
    return "".join(token.space + token.text for token in tokens).lstrip()


# From cues to files


def _txt(items: Iterable[Item]) -> Iterator[str]:
    return (" ".join(item.text.split()) + "\n" for item in items)


def _srt(items: Iterable[Item]) -> Iterator[str]:
    for number, cue in enumerate(cues(items), 1):
        times = f"{_clock(cue.start_ms)} --> {_clock(cue.end_ms)}".replace(".", ",")
        yield "\n".join((str(number), times, *cue.lines, "", ""))


def _vtt(items: Iterable[Item]) -> Iterator[str]:
    yield "WEBVTT\n\n"
    for cue in cues(items):
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"{_clock(cue.start_ms)} --> {_clock(cue.end_ms)}\n{text}\n\n"


def _jsonl(items: Iterable[Item]) -> Iterator[str]:
    return (_settled(item.event).json + "\n" for item in items)


def _settled(event: Event) -> Event:
    """A second reading as the final that it makes."""
    if not isinstance(event.body, Revised):
        return event
    body = Final(**event.body.model_dump(exclude={"type", "changes"}))
    return Event.seal(body, seq=event.seq, session=event.session, at_ms=event.at_ms)


def _clock(ms: int) -> str:
    """HH:MM:SS.mmm; after 99 hours with more digits."""
    seconds, ms = divmod(ms, 1_000)
    return f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


_WRITERS: dict[str, Callable[[Iterable[Item]], Iterator[str]]] = {
    "txt": _txt,
    "srt": _srt,
    "vtt": _vtt,
    "jsonl": _jsonl,
}
