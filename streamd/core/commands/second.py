"""A second, independent reading of a command: what a model that heard the sound itself would call.

It can hold a command back and never brings one about: what the grammar did not understand stays rejected.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamd.core.commands.decide import Decision, Verdict
from streamd.core.commands.definition import Command, Risk
from streamd.core.commands.grammar import Match
from streamd.core.commands.network import Free
from streamd.core.commands.reasons import Reason, listed
from streamd.core.tools.schema import SchemaError, shape
from streamd.core.tools.tool import Tool, ToolCall, ToolDecision


def declared(commands: Iterable[Command]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """Commands as tools; and, for each that can't be one, why."""
    tools, faults = [], []
    for command in commands:
        tool = Tool(command.name, command.description or _sentences(command), _parameters(command))
        try:
            shape(tool)
        except SchemaError as error:
            faults.append(str(error))
        else:
            tools.append(tool)
    return tuple(tools), tuple(faults)


def needs_second(decision: Decision, tools: Iterable[Tool]) -> bool:
    """Whether what was understood is risky, and known to the second reading. What is done at once does not wait."""
    match = decision.match
    if match is None or decision.verdict is Verdict.REJECT:
        return False
    risky = match.command.safety.risk in (Risk.CONFIRM, Risk.TWO_PERSON)
    return risky and any(tool.name == match.command.name for tool in tools)


def seconded(decision: Decision, second: ToolDecision | None) -> Decision:
    """What becomes of a decision that needs a second reading. Where the two differ it is rejected.

    Where there was none (None) it stands: what is risky is asked about in any case.
    """
    assert decision.match is not None, "nothing was understood: nothing to agree with"
    if second is None or _says(second.call, decision.match):
        return decision
    return Decision(Verdict.REJECT, Reason("a second reading heard {}", _told(second.call)), decision.match)


def _says(call: ToolCall | None, match: Match) -> bool:
    """Free text is never heard alike twice; that there is some has to do."""
    if call is None or call.name != match.command.name or call.arguments.keys() != match.params.keys():
        return False
    return all(isinstance(value, Free) or call.arguments[name] == value for name, value in match.params.items())


def _told(call: ToolCall | None) -> str:
    if call is None:
        return Reason("no command")
    values = [Reason("{} {}", name, value) for name, value in call.arguments.items()]
    return Reason("{} ({})", call.name, listed(values)) if values else call.name


def _sentences(command: Command) -> str:
    """What the model is told of a command without a description: how it is said."""
    return "; ".join(sentence.template for sentences in command.sentences.values() for sentence in sentences[:1])


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _parameters(command: Command) -> dict[str, object]:
    """The schema with what the template shows a model: types, and units in descriptions."""
    schema = command.schema_object
    for parameter in schema["properties"].values():
        if "type" not in parameter:
            values = parameter.get("enum") or [parameter.get("const")]
            parameter["type"] = _TYPES.get(type(values[0]), "string")
        if unit := parameter.get("unit"):
            parameter["description"] = f"{parameter.get('description', '')} ({unit})".strip()
    return schema
