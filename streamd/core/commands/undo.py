"""Taking back what was done: "undo that", said soon afterwards.

It is a command of its own, sent to the first one's `undo` target under the same conditions, and always asked about
first. It takes back the last command that was sent, once, and is not taken back itself.
"""

from __future__ import annotations

from dataclasses import replace

from streamd.core.commands.answers import words
from streamd.core.commands.prompts import undone
from streamd.core.commands.reasons import Reason
from streamd.core.commands.request import Request

WITHIN_MS = 60_000  # after it was sent; later nobody is sure what "that" is
SPOKEN = frozenset(
    (
        *("undo", "undo that", "undo it", "undo this", "undo the last command", "take that back", "take it back"),
        *("rückgängig", "rückgängig machen", "mach das rückgängig", "mach es rückgängig", "nimm das zurück"),
        *("das zurücknehmen", "zurücknehmen", "letzten befehl zurücknehmen"),
        *("and do that", "and do the last command"),  # as "undo that" is often misheard; it is asked about in any case
    )
)


def takes_back(text: str) -> bool:
    """Whether it asks for that and says nothing else."""
    return words(text) in SPOKEN


class Past:
    """What a session has sent last."""

    def __init__(self) -> None:
        self._last: tuple[Request, int] | None = None

    def sent(self, request: Request, now_ms: int) -> None:
        self._last = request, now_ms

    def failed(self, command_id: str) -> None:
        """It was certainly not done."""
        if self._last is not None and self._last[0].command_id == command_id:
            self._last = None

    def undo(self, now_ms: int) -> Request | str:
        """What takes the last command back, or why nothing does. Who said so, when and where is still the former's."""
        if self._last is None or now_ms - self._last[1] > WITHIN_MS:
            return Reason("no command of the last {} s is known that could be taken back", WITHIN_MS // 1000)
        request = self._last[0]
        command = request.command
        if command.undo is None:
            return Reason("the definition of {} has no undo", command.name)
        changes = {"name": f"{command.name}.undo", "dispatch": command.undo, "undo": None, "prompt": {}}
        sentence = undone(request.sentence, request.language)
        return replace(request, command=command.model_copy(update=changes), sentence=sentence, sure=False)
