"""What would become of an utterance, for people who write packs. Nothing is sent anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from streamd.core.commands.answers import REFUSALS, affirms, refuses, spoken_codeword, words
from streamd.core.commands.decide import ONLY_TEXT, Decision, Verdict, read, unsure
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.lattice import too_large
from streamd.core.commands.network import Value
from streamd.core.commands.reasons import either
from streamd.core.commands.undo import WITHIN_MS, takes_back
from streamd.core.commands.unknown import unknown
from streamd.core.languages import primary
from streamd.errors import UsageError

Answer = Literal["undo", "no", "yes", "codeword"]
_ANSWERS: Mapping[Answer, str] = {
    "undo": "calls off what has not been sent yet",
    "no": "calls off what is asked about or held back",
    "yes": "confirms what is read back",
    "codeword": "confirms what asks for this code word",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One input and its decision. `name` and `params` are what would be done, or asked about."""

    input: str
    decision: Verdict
    name: str | None
    params: Mapping[str, Value]
    reason: str
    nearest: str | None
    scores: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] = ()  # of the scores, those that kept it from being done or asked about
    heard: str | None = None  # what a recording was heard as, without the pack
    answer: Answer | None = None  # what it is where a command waits for one

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def in_words(self) -> str:
        """A line for people, and below it what stands behind it."""
        params = ", ".join(f"{name}={value}" for name, value in self.params.items())
        what = f"{self.name}({params}): " if self.name else ""
        lines = [f"{self.decision:8}{what}{self.reason}", f"“{self.input}”", *self._behind()]
        return "\n        ".join(lines)

    def _behind(self) -> Iterator[str]:
        if self.answer:
            yield f"as an answer: {_ANSWERS[self.answer]}"
        if self.heard is not None:
            yield f"heard: “{self.heard}”"
        if self.nearest and self.nearest != self.input:
            yield f"nearest: “{self.nearest}”"
        if self.scores:
            yield ", ".join(f"{name} {score:.3g}" for name, score in self.scores.items())
        if self.limits:
            yield f"kept back by: {', '.join(self.limits)}"


def one_of(grammar: Grammar, language: str) -> str:
    """The grammar's language that a tag stands for. Raises UsageError."""
    if (found := primary(language)) in grammar.languages:
        return found
    there, them = ", ".join(grammar.languages), "one of them" if len(grammar.languages) > 1 else "that"
    raise UsageError(f"--language {language}: the pack has sentences in {there}: give {them}, or leave it out")


def trial(grammar: Grammar, text: str, decision: Decision, nearest: str | None, language: str | None = None) -> Trial:
    """What the daemon would do with a text that was judged, also as an answer or as a word that takes back."""
    if takes_back(text):
        return Trial(text, *_undone(grammar), nearest=None, answer="undo")
    if decision.verdict is Verdict.REJECT:
        nothing = decision.match is None and not decision.no_order
        value = unknown(grammar, text, language) if nothing else None
        reason = f"{decision.reason}: {value}" if value else decision.reason
        answer = _answer(text)
        alone = answer in ("yes", "codeword") or words(text) in REFUSALS
        return Trial(text, decision.verdict, None, {}, reason, None if alone else nearest, answer=answer)
    assert decision.match is not None, "nothing was understood: there is nothing to do or ask about"
    match = decision.match
    return Trial(text, decision.verdict, match.command.name, match.params, decision.reason, nearest)


def _undone(grammar: Grammar) -> tuple[Verdict, None, Mapping[str, Value], str]:
    if undoable := [name for name, command in grammar.pack.commands.items() if command.undo]:
        reason = f"takes back what was sent last, if that was {either(undoable)} and in the last {WITHIN_MS // 1000} s"
        return Verdict.CONFIRM, None, {}, reason
    return Verdict.REJECT, None, {}, "no command of the pack has an undo: nothing that was sent is taken back"


def _answer(text: str) -> Answer | None:
    if refuses(text):
        return "no"
    if affirms(text):
        return "yes"
    return "codeword" if spoken_codeword(text) else None


def try_text(grammar: Grammar, text: str, language: str | None = None) -> Trial:
    """Text, as a recogniser that heard every word rightly would give it.

    A grammar that is too large to be compared with the sound has everything asked about.
    """
    decision = read(grammar, text, language)
    if too_large(grammar):
        decision = unsure(decision, ONLY_TEXT)
    nearest = decision.match.sentence if decision.match else grammar.nearest(text, language)
    return trial(grammar, text, decision, nearest, language)
