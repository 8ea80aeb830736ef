"""What was understood, who said it, and what stands against it whatever the plant does: risk, role, age, cooldown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamd.core.commands.definition import Command, Confirm, Risk, Scalar
from streamd.core.commands.prompts import ELSE
from streamd.core.commands.reasons import Reason, either
from streamd.core.events import ConfirmBy

ROLES = ("viewer", "speaker", "operator")  # each may also do what the ones before it may


@dataclass(frozen=True, slots=True)
class Person:
    """Who speaks or answers."""

    token: str | None  # fingerprint of the token; None: came without one
    role: str

    @property
    def name(self) -> str:
        return f"{self.role} {self.token}" if self.token else self.role

    def may(self, roles: tuple[str, ...]) -> bool:
        """Whether one of `roles` is theirs, or one below theirs. No roles: everybody may."""
        rank = ROLES.index(self.role) if self.role in ROLES else -1
        return not roles or self.role in roles or any(role in ROLES[: max(0, rank)] for role in roles)


@dataclass(frozen=True, slots=True)
class Request:
    """What was understood."""

    command_id: str
    command: Command
    params: Mapping[str, Scalar]
    utterance: int
    sentence: str  # as it is read back
    said_ms: int  # when its last word was spoken
    speaker: Person
    sure: bool = True  # False: the recogniser is in doubt, so it is read back at the least
    codeword: str = ""  # for a question that is answered by one
    language: str = ELSE  # in which it is asked

    @property
    def asks(self) -> ConfirmBy | None:
        """The question that stands before the command."""
        safety = self.command.safety
        match safety.risk:
            case Risk.TWO_PERSON:
                return "two_person"
            case Risk.CONFIRM:
                return _BY[safety.confirm]
            case _:
                return None if self.sure else "readback"


_BY: Mapping[Confirm, ConfirmBy] = {
    Confirm.READBACK: "readback",
    Confirm.CODEWORD: "codeword",
    Confirm.BUTTON: "button",
}


def refusal(request: Request, now_ms: int) -> str | None:
    """Why it is not even asked about: by its definition, who said it, and when."""
    safety = request.command.safety
    if safety.risk is Risk.FORBIDDEN:
        return Reason("this is never done by voice")
    if not request.speaker.may(safety.roles):
        return Reason("only for {}; it was said by a {}", either(safety.roles), request.speaker.role)
    if now_ms - request.said_ms > safety.max_age_ms:
        age_s = round((now_ms - request.said_ms) / 1000, 1)
        return Reason("it was said {} s ago, which is too long: say it again", age_s)
    return None


def cooling(request: Request, sent: Mapping[str, int], now_ms: int) -> str | None:
    """Why it is too early. `sent`: when which command was sent last."""
    sent_ms = sent.get(request.command.name)
    cooldown_ms = round(request.command.safety.cooldown_s * 1000)
    if sent_ms is None or now_ms - sent_ms >= cooldown_ms:
        return None
    return Reason("it was done a moment ago; again in {} s", round((sent_ms + cooldown_ms - now_ms) / 1000, 1))
