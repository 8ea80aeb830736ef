"""What a second reading changes of a final: single words, so that nothing else on the screen moves.

Words are compared without case and punctuation, so that what only differs in these stays as it was shown. Where words
are added or left out, those beside them come from the second reading, too: a sentence may begin or end elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from streamd.core.events import Change
from streamd.core.words import HypothesisWord, bare, join


@dataclass(frozen=True, slots=True)
class Revision:
    """A text after its second reading."""

    words: tuple[HypothesisWord, ...]
    changes: tuple[Change, ...]  # in order, none touches another

    @property
    def text(self) -> str:
        return join(self.words)


def revise(shown: Sequence[HypothesisWord], read: Sequence[HypothesisWord]) -> Revision:
    """`shown` with the words of `read` that say something else. Without changes the words are those shown."""
    words: list[HypothesisWord] = []
    changes: list[Change] = []
    text = fresh = ""  # so far
    for old, new in _runs(shown, read):
        before, after = _following(text, old), _following(fresh, new)
        if before != after:
            changes.append(Change(start=len(text), stop=len(text) + len(before), text=after))
        words += new
        text, fresh = text + before, fresh + after
    return Revision(tuple(words), tuple(_merged(changes)))


def patched(text: str, changes: Sequence[Change]) -> str:
    """`text` after `changes`, which are in order and don't overlap."""
    for change in reversed(changes):
        text = text[: change.start] + change.text + text[change.stop :]
    return text


_Run = tuple[Sequence[HypothesisWord], Sequence[HypothesisWord]]


def _runs(shown: Sequence[HypothesisWord], read: Sequence[HypothesisWord]) -> Iterator[_Run]:
    """Words as shown, and what stands in their place; in order, all of them."""
    said, heard = ([bare(word.text) for word in words] for words in (shown, read))
    steps = SequenceMatcher(None, said, heard, autojunk=False).get_opcodes()
    resized = [stop - start != last - first for _, start, stop, first, last in steps]
    for number, (kind, start, stop, first, last) in enumerate(steps):
        if kind != "equal":
            same = "".join(said[start:stop]) == "".join(heard[first:last])
            yield shown[start:stop], shown[start:stop] if same else read[first:last]
            continue
        for place in range(stop - start):
            beside = (place == 0 and any(resized[:number][-1:])) or (
                place == stop - start - 1 and any(resized[number + 1 :][:1])
            )
            word = shown[start + place]
            yield [word], [read[first + place] if beside else word]


def _following(text: str, words: Sequence[HypothesisWord]) -> str:
    """What the words add to `text`."""
    added = "".join(word.text for word in words)
    return added if text else added.lstrip()


def _merged(changes: Sequence[Change]) -> Iterator[Change]:
    """Changes that touch each other as one."""
    waiting: Change | None = None
    for change in changes:
        if waiting and waiting.stop == change.start:
            change = Change(start=waiting.start, stop=change.stop, text=waiting.text + change.text)
        elif waiting:
            yield waiting
        waiting = change
    if waiting:
        yield waiting
