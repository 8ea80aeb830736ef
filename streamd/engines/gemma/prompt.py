"""What Gemma 4 E2B and E4B are asked, in the words of their model card, with the sound behind the text.

    <bos><|turn>user
    INSTRUCTION<|audio> soft tokens … <audio|><turn|>
    <|turn>model
    CAPTION<turn|>

All that stands before the sound is the same for every utterance of a session, but for what was said before it. Only
what stands behind it, six tokens and the caption, has to be read anew when more sound has come in. (E2B and E4B want
nothing after `model`; the larger models' template opens a thought there.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamd.engines.base import Task
from streamd.engines.gemma.languages import NAMES
from streamd.engines.gemma.text import Tokens

_TRANSCRIBE = (
    "Transcribe the following speech segment in {spoken} into {written} text.\n\n"
    "Follow these specific instructions for formatting the answer:\n"
    "* Only output the transcription, with no newlines.\n"
    "* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, "
    "and write 3 instead of three."
)
_TRANSLATE = (
    "Transcribe the following speech segment in {spoken}, then translate it into {target}.\n"
    "When formatting the answer, first output the transcription in {spoken}, then one newline, then output the string "
    "'{target}: ', then the translation in {target}."
)
_VOCABULARY = "\n* These names and terms may occur: {terms}."
_PREVIOUS = "\n* This was said just before: {text}"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of an utterance."""

    task: Task = "transcribe"
    language: str | None = None  # that is spoken, as a tag; None: any
    target: str = "en"  # of a translation

    @property
    def instruction(self) -> str:
        spoken = NAMES.get(self.language or "", "its original language")
        if self.task == "translate":
            return _TRANSLATE.format(spoken=spoken, target=self.target_name)
        written = NAMES.get(self.language or "", "its original language")
        return _TRANSCRIBE.format(spoken=spoken, written=written)

    @property
    def target_name(self) -> str:
        return NAMES[self.target]


class Prompt:
    """The tokens around the sound."""

    def __init__(self, tokens: Tokens) -> None:
        marks = tokens.marks
        self._tokens = tokens
        self._begin = [marks.bos, marks.turn]
        line, model = tokens.encode("\n"), tokens.encode("model\n")
        self.behind = [marks.end_of_audio, marks.end_of_turn, *line, marks.turn, *model]

    def before(self, ask: Ask, vocabulary: Sequence[str] = (), previous: str = "") -> list[int]:
        """Tokens up to the sound. Names and what was said are the user's: nothing in them steers the model."""
        text = f"user\n{ask.instruction}"
        if vocabulary:
            text += _VOCABULARY.format(terms=", ".join(self._tokens.harmless(term) for term in vocabulary))
        if previous:
            text += _PREVIOUS.format(text=" ".join(self._tokens.harmless(previous).split()))
        return [*self._begin, *self._tokens.encode(text), self._tokens.marks.audio]
