"""What a changed pack would make of what was heard: the audit's utterances once more, and what would differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streamd.core.commands.decide import Verdict, decide
from streamd.core.commands.grammar import Grammar, Match, Rejection
from streamd.core.commands.lattice import too_large
from streamd.errors import ConfigError

Meaning = tuple[str, str | None, Mapping[str, Any]]
"""Verdict, command, parameters."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """An utterance of the audit: what became of it, and what would become of it."""

    heard: str
    before: Meaning
    after: Meaning
    reason: str

    @property
    def differs(self) -> bool:
        return self.before != self.after

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def in_words(self) -> str:
        return f"“{self.heard}”\n    was       {_shown(self.before)}\n    would be  {_shown(self.after)}  {self.reason}"


def _shown(meaning: Meaning) -> str:
    verdict, name, params = meaning
    return f"{verdict} {name}({', '.join(f'{key}={value}' for key, value in params.items())})" if name else verdict


def replay(grammar: Grammar, rows: Iterable[str], origin: str) -> Iterator[Replayed]:
    """Every utterance, once, in rows of `streamd commands audit`. Raises ConfigError for a line that is none of its."""
    seen: set[object] = set()
    for number, row in enumerate(rows, start=1):
        try:
            entry = json.loads(row)
            record, note = entry["record"], entry["note"]
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{origin}:{number}: no row of `streamd commands audit`") from error
        key = entry.get("session"), record.get("command_id", number)
        if "verdict" in note and record.get("type") == "command" and key not in seen:
            seen.add(key)
            yield _again(grammar, record, note)


def _again(grammar: Grammar, record: Mapping[str, Any], note: Mapping[str, Any]) -> Replayed:
    language = note["language"] if note.get("language") in grammar.languages else None
    found: Match | Rejection = grammar.match(note["heard"], language)
    if isinstance(found, Rejection) and note.get("understood"):  # the sound bore out another sentence than the text
        found = grammar.match(note["understood"], language)
    spoken = found.language if isinstance(found, Match) else language or grammar.languages[0]
    # Of what was compared with the sound, only what was made of it is left.
    sure = note.get("sure", True) and not (note.get("scores") and too_large(grammar))
    decision = decide(found, note["hypotheses"], spoken, sure=sure)
    match = decision.match
    after = _meaning(decision.verdict, match.command.name if match else None, match.params if match else {})
    return Replayed(note["heard"], _meaning(note["verdict"], record["name"], record["params"]), after, decision.reason)


def _meaning(verdict: str, name: str | None, params: Mapping[str, Any]) -> Meaning:
    """What is rejected has neither."""
    return (verdict, None, {}) if verdict == Verdict.REJECT else (str(verdict), name, dict(params))
