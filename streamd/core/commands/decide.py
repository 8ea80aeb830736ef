"""What is to become of an utterance: accepted, asked about, or rejected, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from streamd.core.commands.definition import Confirm, Risk
from streamd.core.commands.grammar import Match, Rejection
from streamd.core.commands.guards import objection


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


_ASKED = {
    Confirm.READBACK: "it is read back first",
    Confirm.CODEWORD: "it needs a code word",
    Confirm.BUTTON: "it needs a button",
}


def decide(found: Match | Rejection, heard: Iterable[str], language: str, *, sure: bool = True) -> Decision:
    """Judge what a final was understood as. `heard` is its text, or all that it may have been.

    What could not be understood, what is no order and what is forbidden is rejected. What is risky is asked about,
    and so is what was not heard with certainty (`sure`). Partials are no orders: there is nothing here that takes one.
    """
    said = found.literal if isinstance(found, Match) else ""
    objections = (objection(text, language, said) for text in heard)
    if against := next(filter(None, objections), None):
        return Decision(Verdict.REJECT, f"no order, {against}", found if isinstance(found, Match) else None)
    if isinstance(found, Rejection):
        return Decision(Verdict.REJECT, found.reason)
    safety = found.command.safety
    match safety.risk:
        case Risk.FORBIDDEN:
            return Decision(Verdict.REJECT, f"{found.command.name} is never done by voice", found)
        case Risk.TWO_PERSON:
            return Decision(Verdict.CONFIRM, "a second person has to confirm it", found)
        case Risk.CONFIRM:
            return Decision(Verdict.CONFIRM, _ASKED[safety.confirm], found)
    if not sure:
        return Decision(Verdict.CONFIRM, "it was not heard with certainty", found)
    return Decision(Verdict.ACCEPT, "understood", found)
