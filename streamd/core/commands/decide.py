"""What is to become of an utterance: accepted, asked about, or rejected, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from streamd.core.commands.definition import Confirm, Risk
from streamd.core.commands.grammar import Grammar, Match, Rejection
from streamd.core.commands.guards import objection
from streamd.core.commands.reasons import Reason


class Verdict(StrEnum):
    ACCEPT = "accept"
    CONFIRM = "confirm"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Decision:
    """`match` is what was understood, also where it is rejected; None where nothing was."""

    verdict: Verdict
    reason: str
    match: Match | None = None
    sure: bool = True  # False: what was heard is in doubt
    no_order: bool = False  # negated, reported, retracted, …


ONLY_TEXT = Reason("it was only read as text")

_ASKED = {
    Confirm.READBACK: Reason("it is read back first"),
    Confirm.CODEWORD: Reason("it needs a code word"),
    Confirm.BUTTON: Reason("it needs a button"),
}


def decide(found: Match | Rejection, heard: Iterable[str], language: str, *, sure: bool = True) -> Decision:
    """Judge what a final was understood as. `heard` is its text, or all that it may have been.

    What could not be understood, what is no order and what is forbidden is rejected. What is risky is asked about,
    and so is what was not heard with certainty (`sure`). Partials are no orders: there is nothing here that takes one.
    """
    said = found.literal if isinstance(found, Match) else ""
    objections = (objection(text, language, said) for text in heard)
    if against := next(filter(None, objections), None):
        match = found if isinstance(found, Match) else None
        return Decision(Verdict.REJECT, Reason("no order, {}", against.reason), match, no_order=True)
    if isinstance(found, Rejection):
        return Decision(Verdict.REJECT, found.reason)
    decision = _by_risk(found)
    return decision if sure else unsure(decision, Reason("it was not heard with certainty"))


def _by_risk(match: Match) -> Decision:
    safety = match.command.safety
    match safety.risk:
        case Risk.FORBIDDEN:
            return Decision(Verdict.REJECT, Reason("{} is never done by voice", match.command.name), match)
        case Risk.TWO_PERSON:
            return Decision(Verdict.CONFIRM, Reason("a second person has to confirm it"), match)
        case Risk.CONFIRM:
            return Decision(Verdict.CONFIRM, _ASKED[safety.confirm], match)
        case _:
            return Decision(Verdict.ACCEPT, Reason("understood"), match)


def unsure(decision: Decision, reason: str) -> Decision:
    """The same, but nothing is done before somebody has confirmed it."""
    if decision.verdict is not Verdict.ACCEPT:
        return replace(decision, sure=False)
    return replace(decision, verdict=Verdict.CONFIRM, reason=reason, sure=False)


def read(grammar: Grammar, text: str, language: str | None = None) -> Decision:
    """Judge a text, as if every word had been heard rightly. Without `language` all of the grammar's are tried."""
    found = grammar.match(text, language)
    if isinstance(found, Match):
        return decide(found, [text], found.language)
    decisions = [decide(found, [text], spoken) for spoken in ([language] if language else grammar.languages)]
    objected = [decision for decision in decisions if decision.no_order]
    return (objected or decisions)[0]
