"""What the audit is told beside the events: how long was listened, and how a command came about."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from streamd import account as module
from streamd.account import Account, Heard, origin, written
from streamd.core.commands.decide import Decision, Verdict
from streamd.core.commands.grammar import Grammar, Match
from streamd.core.commands.request import Person
from streamd.core.events import Final, Word
from streamd.engines.base import Context
from streamd.orders import Understood
from streamd.transcriber import Reading
from tests.packs import press_line
from tests.parts import until

GUARD_S = 20.0
WORDS = (
    Word(text="light", start_ms=0, end_ms=200, confidence=0.9),
    Word(text="on", start_ms=200, end_ms=500, confidence=0.4),
)


class Auditor:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []

    async def __call__(self, note: str) -> None:
        self.notes.append(json.loads(note))


def final(*words: Word) -> Final:
    return Final(utterance=7, text="light on", start_ms=0, end_ms=500, words=words, language="en", engine="whisper")


async def test_what_was_listened_to_is_told_once() -> None:
    auditor = Auditor()
    account = Account(auditor, "v1", shadow=True)
    account.listened(40)
    account.listened(80)
    await account.settle()
    await account.settle()
    assert auditor.notes == [{"heard_ms": 120, "grammar": "v1", "shadow": True}]


async def test_it_is_told_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCOUNT_S", 0)
    auditor = Auditor()
    account = Account(auditor, "v1", shadow=False)
    task = asyncio.create_task(account.run())
    async with asyncio.timeout(GUARD_S):
        for number in (1, 2):
            account.listened(40)
            await until(lambda number=number: len(auditor.notes) == number)  # type: ignore[misc]
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [note["heard_ms"] for note in auditor.notes] == [40, 40]


async def test_nobody_need_want_it() -> None:
    account = Account(None, "v1", shadow=False)
    account.listened(40)
    await account.settle()


def test_the_sound_is_known_by_its_hash() -> None:
    heard = Heard(Reading(final(), (), b"\x01\x02", Context()), Person("a1", "operator"), 1_234)
    assert heard.evidence == {
        "sound_sha256": "a12871fee210fb8619291eaea194581cbd2531e4b23759d225f6806923f63222",
        "speaker": "operator a1",
        "said_ms": 1_234,
    }


def test_a_command_s_origin_has_what_was_heard_and_how_surely() -> None:
    match = Grammar(press_line()).match("light on", "en")
    assert isinstance(match, Match)
    decision = Decision(Verdict.CONFIRM, "in doubt", match)
    understood = Understood(decision, ("light on", "light off"), scores={"certainty": 0.5})
    assert origin(final(*WORDS), understood, "v1") == {
        "heard": "light on",
        "hypotheses": ["light on", "light off"],
        "language": "en",
        "engine": "whisper",
        "confidence": 0.4,
        "scores": {"certainty": 0.5},
        "verdict": "confirm",
        "sure": True,
        "understood": "light on",
        "nearest": None,
        "grammar": "v1",
    }


def test_what_is_no_command_has_an_origin_too() -> None:
    understood = Understood(Decision(Verdict.REJECT, "no command"), ("light on",), "light off")
    facts = origin(final(), understood, "v1")
    assert (facts["understood"], facts["confidence"], facts["nearest"]) == (None, None, "light off")


def test_notes_are_read_by_people() -> None:
    assert written({"heard": "öffne"}) == '{"heard": "öffne"}'
    with pytest.raises(TypeError):
        written({"answer": b"\x00"})
