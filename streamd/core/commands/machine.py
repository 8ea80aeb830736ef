"""A command's way from speech to its target, or the reason why nothing happens. One desk a session; no I/O, no clock.

Every event that the desk returns is to be appended to the log in this order. What it takes:

1. What was understood is checked first: forbidden, role, age, cooldown, interlock. One fault, and it is rejected.
2. The risk says what is asked: read and low nothing, confirm what the definition says, two_person two tokens. What
   was not heard with certainty is read back at the least. No step leads around the question.
3. A command of low risk is held for a moment and can be taken back. As long as somebody speaks, it stays held.
4. An answer counts once the question has been shown: its event was delivered. A spoken one has to begin after that.
   A spoken yes answers a read-back, a spoken code word a code word, and neither of them a button or two persons.
5. A denial counts always, from everybody who may answer, by voice or by hand, until the command is sent.
6. Parameters are those of the first event. Each question takes one answer and is void when its time is up.
7. One command at a time: a newer one voids a former one that has not been sent.
8. Cooldown and interlock hold again at the moment of sending. In shadow mode all of this happens but the sending.
   If writing that down took too long, or an interlock opened meanwhile, it has failed and is not sent.
9. A command is sent once. Where nobody knows what came of it, people are asked, and it is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Literal

from streamd.core.commands.definition import Risk
from streamd.core.commands.prompts import ELSE, read_back, values, was_done
from streamd.core.commands.reasons import Reason, in_language
from streamd.core.commands.request import Person, Request, cooling, refusal
from streamd.core.events import Command as Told
from streamd.core.events import CommandState, ConfirmBy

Step = Literal["ask", "second", "clear", "confirm", "deny", "expire", "reject", "send", "doubt", "succeed", "fail"]

TRANSITIONS: Mapping[CommandState, Mapping[Step, CommandState]] = {
    "proposed": {
        "ask": "awaiting_confirmation",
        "clear": "confirmed",  # nothing to ask
        "deny": "denied",
        "expire": "expired",
        "reject": "rejected",
    },
    "awaiting_confirmation": {
        "second": "awaiting_confirmation",  # one of two persons has confirmed
        "confirm": "confirmed",
        "deny": "denied",
        "expire": "expired",
    },
    "confirmed": {"send": "dispatched", "deny": "denied", "expire": "expired", "reject": "rejected"},
    "dispatched": {"doubt": "dispatched", "succeed": "succeeded", "fail": "failed"},
    "denied": {},
    "expired": {},
    "rejected": {},
    "succeeded": {},
    "failed": {},
}

HOLD_MS = 5_000  # longest wait for somebody who goes on speaking after a command of low risk
RELEASE_MS = 5_000  # longest time between the confirmation and the sending
UNDER_WAY = 16  # commands that were sent and have no outcome yet


_LATE: Mapping[CommandState, Reason] = {
    "proposed": Reason("speech went on: say it again"),
    "awaiting_confirmation": Reason("nobody confirmed it in time"),
    "confirmed": Reason("it could not be sent in time"),
}


class NoAnswer(Exception):  # noqa: N818 - an answer rather than an error
    """The answer does not count. The message says why."""


@dataclass(slots=True)
class _Open:
    """A command that has not come to its end."""

    told: Told  # the newest
    request: Request | None  # None: it was sent before a restart
    due_ms: int | None = None  # it expires, or is cleared if it is only held
    shown: bool = False
    hears_from: int = 0  # utterances from this number on began after the question was shown
    confirmed_by: set[str] = field(default_factory=set)
    released_ms: int = 0


class Desk:
    """The commands of one session. `sent` says when which command was sent last; desks may share it.

    Times are milliseconds of one clock that never goes back.
    """

    def __init__(self, sent: MutableMapping[str, int], *, shadow: bool = False, language: str = ELSE) -> None:
        self._sent = sent
        self._language = language  # of questions about what was sent before a restart
        self._shadow = shadow
        self._open: dict[str, _Open] = {}

    # what is open

    @property
    def next_due_ms(self) -> int | None:
        """When `tick` has something to do."""
        return min((entry.due_ms for entry in self._open.values() if entry.due_ms is not None), default=None)

    @property
    def unsent(self) -> Told | None:
        """The one command that can still be denied."""
        return next((entry.told for entry in self._open.values() if entry.told.state != "dispatched"), None)

    def is_shown(self, command_id: str) -> bool:
        return command_id in self._open and self._open[command_id].shown

    def is_under_way(self, command_id: str) -> bool:
        """It was sent, and what came of it may still be told."""
        entry = self._open.get(command_id)
        return entry is not None and entry.told.state == "dispatched" and entry.told.prompt is None

    def request(self, command_id: str) -> Request | None:
        """What a command that is open was understood as."""
        return self._open[command_id].request if command_id in self._open else None

    # from speech to a question

    def propose(self, request: Request, now_ms: int, blocked: str | None = None) -> list[Told]:
        """A command was given. `blocked`: which interlock is open."""
        told = Told(
            command_id=request.command_id,
            state="proposed",
            name=request.command.name,
            params=dict(request.params),
            utterance=request.utterance,
            shadow=self._shadow,
        )
        if reason := self._refused(request, now_ms) or blocked:
            reason = in_language(reason, request.language)
            return [told.model_copy(update={"state": TRANSITIONS["proposed"]["reject"], "reason": reason})]
        events = self.void(Reason("another command was given"))
        entry = self._open[request.command_id] = _Open(told, request)
        asks, safety = request.asks, request.command.safety
        if asks is not None:
            events.append(told)
            return [*events, self._ask(entry, request, asks, now_ms)]
        if safety.risk is Risk.LOW and safety.retract_ms:
            entry.due_ms = now_ms + safety.retract_ms
            entry.told = told.model_copy(update={"expires_ms": entry.due_ms})
            return [*events, entry.told]
        return [*events, told, self._clear(entry, now_ms)]

    def _refused(self, request: Request, now_ms: int) -> str | None:
        reason = refusal(request, now_ms)
        if reason is None and len(self._open) >= UNDER_WAY:
            reason = Reason("too many commands are under way: settle those that ask for it")
        return reason or cooling(request, self._sent, now_ms)

    def _ask(self, entry: _Open, request: Request, asks: ConfirmBy, now_ms: int) -> Told:
        entry.due_ms = now_ms + round(request.command.safety.confirm_ttl_s * 1000)
        return self._step(
            entry,
            "ask",
            prompt=read_back(request.command, request.params, request.sentence, request.language),
            confirm=asks,
            codeword=request.codeword if asks == "codeword" else None,
            expires_ms=entry.due_ms,
        )

    def _clear(self, entry: _Open, now_ms: int, step: Step = "clear", by: str | None = None) -> Told:
        entry.due_ms = now_ms + RELEASE_MS
        return self._step(entry, step, by=by)

    # answers

    def shown(self, told: Told, next_utterance: int) -> None:
        """A question has been delivered; an utterance that begins now has at least this number.

        It may be a former one, for somebody who reads from the beginning: only the one that is open counts.
        """
        entry = self._open.get(told.command_id)
        if entry is None or entry.shown or told.prompt is None:
            return
        if (told.state, told.prompt) == (entry.told.state, entry.told.prompt):
            entry.shown, entry.hears_from = True, next_utterance

    def answer(self, command_id: str, yes: bool, by: Person, now_ms: int, word: str | None = None) -> list[Told]:
        """Somebody answers by hand; `word`: the code word. Raises NoAnswer where that does not count."""
        events = self.tick(now_ms, speaking=True)
        entry = self._open.get(command_id)
        try:
            if entry is None:
                raise NoAnswer("there is no such question any more")
            if entry.told.state == "dispatched":
                return [*events, self._witness(entry, yes, by)]
            return [*events, self._confirm(entry, by, now_ms, word) if yes else self._end(entry, "deny", by=by.name)]
        except NoAnswer as refused:
            if events:  # it has run out of time just now: that has to be told all the same
                return events
            raise refused from None

    def hear(self, yes: bool, utterance: int, by: Person, now_ms: int, word: str | None = None) -> list[Told]:
        """Somebody says yes, no or a word that may be the code word. It answers what is open, if it may."""
        events = self.tick(now_ms, speaking=True)
        entry = next((entry for entry in self._open.values() if entry.told.state != "dispatched"), None)
        if entry is None:
            return events
        if not yes and word is None:
            return [*events, self._end(entry, "deny", by=by.name)]
        fits = entry.told.confirm == ("readback" if word is None else "codeword")
        if not (fits and entry.shown and utterance >= entry.hears_from):
            return events
        try:
            return [*events, self._confirm(entry, by, now_ms, word)]
        except NoAnswer:
            return events

    def _confirm(self, entry: _Open, by: Person, now_ms: int, word: str | None) -> Told:
        told = entry.told
        request = entry.request
        if told.state != "awaiting_confirmation" or request is None:
            raise NoAnswer("nothing was asked")
        if not by.may(request.command.safety.roles):
            raise NoAnswer(f"only for {' or '.join(request.command.safety.roles)}")
        if not entry.shown:
            raise NoAnswer("the question has not been shown yet")
        if told.confirm == "codeword" and (word or "").casefold() != (told.codeword or "").casefold():
            raise NoAnswer("the code word is another one")
        if told.confirm == "two_person" and not self._is_second(entry, request.speaker, by):
            return self._step(
                entry, "second", by=by.name, reason=Reason("one of two has confirmed; now another person")
            )
        return self._clear(entry, now_ms, "confirm", by.name)

    def _is_second(self, entry: _Open, speaker: Person, by: Person) -> bool:
        """Two tokens, of which the speaker's may be one."""
        if by.token is None:
            raise NoAnswer("two persons confirm this, each with a token of their own")
        if by.token in entry.confirmed_by:
            raise NoAnswer("you have confirmed it already; now another person")
        entry.confirmed_by |= {token for token in (by.token, speaker.token) if token}
        return len(entry.confirmed_by) > 1

    def _witness(self, entry: _Open, yes: bool, by: Person) -> Told:
        if entry.told.prompt is None:
            raise NoAnswer("it has been sent already")
        if not entry.shown:
            raise NoAnswer("the question has not been shown yet")
        reason = Reason("somebody saw that it was done") if yes else Reason("somebody saw that it was not done")
        return self._end(entry, "succeed" if yes else "fail", by=by.name, reason=reason)

    # time

    def tick(self, now_ms: int, *, speaking: bool) -> list[Told]:
        """What time has done. `speaking`: somebody is, or said something that has not been read yet."""
        return [
            event
            for entry in list(self._open.values())
            if entry.due_ms is not None and now_ms >= entry.due_ms
            for event in self._lapse(entry, entry.due_ms, now_ms, speaking)
        ]

    def _lapse(self, entry: _Open, due_ms: int, now_ms: int, speaking: bool) -> list[Told]:
        if entry.told.state == "proposed" and now_ms < due_ms + HOLD_MS:
            return [] if speaking else [self._clear(entry, now_ms)]
        return [self._end(entry, "expire", reason=_LATE[entry.told.state])]

    def void(self, reason: str) -> list[Told]:
        """Everything that has not been sent is off."""
        unsent = [entry for entry in self._open.values() if entry.told.state != "dispatched"]
        return [self._end(entry, "expire", reason=reason) for entry in unsent]

    # to the target and back

    def release(self, command_id: str, now_ms: int, blocked: str | None = None) -> list[Told]:
        """A confirmed command is sent now: `dispatched`, or why not. Once that event is journalled, send it."""
        events = self.tick(now_ms, speaking=True)
        entry = self._open.get(command_id)
        if entry is None or entry.told.state != "confirmed":
            return events
        assert entry.request is not None
        if reason := blocked or cooling(entry.request, self._sent, now_ms):
            return [*events, self._end(entry, "reject", reason=reason)]
        self._sent[entry.request.command.name] = now_ms
        if self._shadow:
            return [*events, self._end(entry, "reject", reason=Reason("shadow mode: it would have been sent now"))]
        entry.due_ms, entry.released_ms = None, now_ms
        return [*events, self._step(entry, "send")]

    def withhold(self, command_id: str, now_ms: int, blocked: str | None = None) -> list[Told]:
        """Its `dispatched` is journalled: nothing if it is to be sent now, or else why it is not."""
        entry = self._open[command_id]
        late = now_ms - entry.released_ms >= RELEASE_MS
        reason = Reason("it could not be written down in time: say it again") if late else blocked
        return [self._end(entry, "fail", reason=reason)] if reason else []

    def outcome(self, command_id: str, done: bool | None, reason: str | None = None) -> list[Told]:
        """What came of a command that was sent. None: nobody knows, so people are asked, and it is not sent again."""
        entry = self._open.get(command_id)
        if entry is None or entry.told.state != "dispatched":
            return []
        if done is None:
            return [self._doubt(entry, reason)]
        return [self._end(entry, "succeed" if done else "fail", reason=reason)]

    def _doubt(self, entry: _Open, reason: str | None) -> Told:
        entry.shown = False
        request = entry.request
        what = values(request.command if request else entry.told.name, entry.told.params)
        prompt = was_done(what, request.language if request else self._language)
        return self._step(entry, "doubt", reason=reason, prompt=prompt, confirm="outcome")

    def resume(self, history: Iterable[Told]) -> list[Told]:
        """After a restart: what was not sent is off, what was sent and has no outcome is asked about."""
        newest = {told.command_id: told for told in history}
        for told in newest.values():
            if TRANSITIONS[told.state]:
                self._open[told.command_id] = _Open(told, None)
        events = self.void(Reason("the daemon was restarted: say it again"))
        for entry in self._open.values():
            events.append(self._doubt(entry, Reason("the daemon was restarted while it was under way")))
        return events

    # steps

    def _step(self, entry: _Open, step: Step, **changes: object) -> Told:
        """The next event of a command. What a former state asked or explained is gone with it."""
        state = TRANSITIONS[entry.told.state][step]
        fresh = dict.fromkeys(("reason", "by", "prompt", "confirm", "codeword", "expires_ms"))
        if step == "second":
            fresh = {}
        if isinstance(reason := changes.get("reason"), str):
            changes["reason"] = in_language(reason, entry.request.language if entry.request else self._language)
        entry.told = entry.told.model_copy(update=fresh | {"state": state} | changes)
        return entry.told

    def _end(self, entry: _Open, step: Step, **changes: object) -> Told:
        del self._open[entry.told.command_id]
        return self._step(entry, step, **changes)
