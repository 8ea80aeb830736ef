"""What would become of an utterance, for people who write packs. Nothing is sent anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from streamd.core.commands.decide import ONLY_TEXT, Decision, Verdict, read, unsure
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.lattice import too_large
from streamd.core.commands.network import Value
from streamd.core.languages import primary
from streamd.errors import UsageError


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

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def in_words(self) -> str:
        """A line for people, and below it what else could have been said."""
        params = ", ".join(f"{name}={value}" for name, value in self.params.items())
        what = f"{self.name}({params}): " if self.name else ""
        scores = "".join(f", {name} {score:.3g}" for name, score in self.scores.items())
        line = f"{self.decision:8}{what}{self.reason}{scores}\n        “{self.input}”"
        return f"{line}\n        nearest: “{self.nearest}”" if self.nearest and self.nearest != self.input else line


def one_of(grammar: Grammar, language: str) -> str:
    """The grammar's language that a tag stands for. Raises UsageError."""
    if (found := primary(language)) in grammar.languages:
        return found
    there, them = ", ".join(grammar.languages), "one of them" if len(grammar.languages) > 1 else "that"
    raise UsageError(f"--language {language}: the pack has sentences in {there}: give {them}, or leave it out")


def trial(given: str, decision: Decision, nearest: str | None, scores: Mapping[str, float]) -> Trial:
    """A decision about an input, as it is shown."""
    match = decision.match if decision.verdict is not Verdict.REJECT else None
    name, params = (match.command.name, match.params) if match else (None, {})
    return Trial(given, decision.verdict, name, params, decision.reason, nearest, scores)


def try_text(grammar: Grammar, text: str, language: str | None = None, given: str | None = None) -> Trial:
    """Text, as a recogniser that heard every word rightly would give it. `given`: what it was made of, if not itself.

    A grammar that is too large to be compared with the sound has everything asked about.
    """
    decision = read(grammar, text, language)
    if too_large(grammar):
        decision = unsure(decision, ONLY_TEXT)
    nearest = decision.match.sentence if decision.match else grammar.nearest(text, language)
    return trial(given or text, decision, nearest, {})
