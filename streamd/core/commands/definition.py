"""What a voice command is: its sentences, parameters, safety, target and tests. A pack is a set of them.

Everything here is data that a safety officer can read. What is missing in a definition is assumed to be the worst:
a command without `safety` is confirmed by read-back, one without `dispatch` goes nowhere but onto the wire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, field_validator, model_validator

from streamd.core.commands.params import check_param

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=64)]
ParamName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
Scalar = bool | int | float | str


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Risk(StrEnum):
    """What a command that was misheard could do, and so what stands between speech and its target."""

    READ = "read"  # changes nothing
    LOW = "low"  # done at once, can be taken back for a moment
    CONFIRM = "confirm"  # asked for first
    TWO_PERSON = "two_person"  # a second person confirms, with another token
    FORBIDDEN = "forbidden"  # understood, so that it can be refused with a reason; never done


class Confirm(StrEnum):
    """How a question is answered."""

    READBACK = "readback"  # yes or no to what is shown
    CODEWORD = "codeword"  # the word that is shown has to be said
    BUTTON = "button"  # by hand, never by voice


class Safety(_Record):
    """Under which conditions a command is done."""

    risk: Risk = Risk.CONFIRM
    confirm: Confirm = Confirm.READBACK  # where the risk asks for it
    confirm_ttl_s: Annotated[float, Field(gt=0, le=300)] = 15  # a question that nobody answered is void after this
    retract_ms: Annotated[int, Field(ge=0, le=10_000)] = 1_500  # risk low: how long "no, wait" holds it back
    cooldown_s: Annotated[float, Field(ge=0)] = 0  # after it was done, before it may be done again
    max_age_ms: Annotated[int, Field(gt=0, le=60_000)] = 5_000  # since the end of speech; older speech does nothing
    roles: tuple[str, ...] = ()  # of those who may give it; empty: everybody who may speak
    interlock: Mapping[str, Scalar | tuple[Scalar, ...]] = {}  # state → value or values it must have; unknown: refused
    idempotent: bool = False  # done twice is the same as once, so that it may be tried again

    @model_validator(mode="after")
    def _two_persons_have_hands(self) -> Self:
        if self.risk is Risk.TWO_PERSON and "confirm" in self.model_fields_set and self.confirm is not Confirm.BUTTON:
            raise ValueError(f"two_person is confirmed by button, not by {self.confirm}: a voice has no token")
        return self


class Verify(_Record):
    """Where the outcome is read back from."""

    url: str | None = None  # http: a GET of this
    topic: str | None = None  # mqtt: the next message there
    tool: str | None = None  # mcp: a tool that only reads
    node: str | None = None  # opcua: another node than the one that is written
    field: str = ""  # dotted path into a JSON answer; empty: the answer itself
    equals: JsonValue  # strings may hold {parameters}; null is what can't be read, and so nothing to wait for

    @field_validator("equals")
    @classmethod
    def _something_to_read(cls, equals: JsonValue) -> JsonValue:
        if equals is None:
            raise ValueError("null is no value that could be read back")
        return equals

    @property
    def places(self) -> frozenset[str]:
        """Which of url, topic, tool and node are given."""
        return frozenset(name for name in ("url", "topic", "tool", "node") if getattr(self, name) is not None)


class _Target(_Record):
    """Strings may hold `{parameter}`; a string that is nothing but one takes its value with its type."""

    reads: ClassVar[tuple[frozenset[str], ...]] = ()  # what of `verify` says where; one of them

    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5
    verify: Verify | None = None

    @model_validator(mode="after")
    def _can_be_read_back(self) -> Self:
        if self.verify is not None and self.verify.places not in self.reads:
            given = ", ".join(sorted(self.verify.places)) or "no place"
            known = " or ".join(", ".join(places) or "no place" for places in self.reads)
            raise ValueError(
                f"verify has {given}; " + (f"here it needs {known}" if known else "nothing is read back here")
            )
        return self


class DispatchPython(_Target):
    """A callable that an installed package offers under the entry point group `streamd.commands`."""

    callable: str  # the entry point's name; its answer is the outcome, so that there is no `verify`


class DispatchHttp(_Target):
    """One request. Without `body` the parameters are sent, as JSON."""

    reads = (frozenset({"url"}),)
    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = "POST"
    headers: Mapping[str, str] = {}
    body: JsonValue = None


class DispatchMqtt(_Target):
    """One message with QoS 1, never retained. Without `payload` the parameters are sent, as JSON."""

    reads = (frozenset({"topic"}),)
    broker: str = "localhost:1883"
    topic: Annotated[str, StringConstraints(pattern=r"^[^+#\x00]+$")]
    payload: JsonValue = None


class DispatchMcp(_Target):
    """A call of an MCP tool. Without `arguments` the parameters are."""

    reads = (frozenset({"tool"}),)
    server: str  # an http(s) address
    tool: str
    arguments: Mapping[str, JsonValue] | None = None


class DispatchOpcua(_Target):
    """A write to one node of an OPC UA server, read back afterwards."""

    reads = (frozenset(), frozenset({"node"}))
    endpoint: Annotated[str, StringConstraints(pattern=r"^opc\.tcp://")]
    node: str  # as in ns=2;s=Press1.Speed
    value: JsonValue
    type: str | None = None  # OPC UA's name of the type; as the node has it where it is left out


class Dispatch(_Record):
    """Where a command goes: exactly one target."""

    python: DispatchPython | None = None
    http: DispatchHttp | None = None
    mqtt: DispatchMqtt | None = None
    mcp: DispatchMcp | None = None
    opcua: DispatchOpcua | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1 or self.target is None:
            kinds = ", ".join(type(self).model_fields)
            raise ValueError(f"a command goes to one target: give one of {kinds} (there is no shell)")
        return self

    @property
    def kind(self) -> str:
        return next(iter(self.model_fields_set))

    @property
    def target(self) -> DispatchPython | DispatchHttp | DispatchMqtt | DispatchMcp | DispatchOpcua | None:
        found: DispatchPython | DispatchHttp | DispatchMqtt | DispatchMcp | DispatchOpcua | None
        found = getattr(self, self.kind)
        return found


class Sentence(_Record):
    """A template, and parameters that it gives without saying them."""

    template: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    params: Mapping[str, Scalar] = {}


def _one_by_one(items: object, key: str) -> object:
    """Texts alone are items that have nothing else."""
    if not isinstance(items, list | tuple):
        return items
    return [{key: item} if isinstance(item, str) else item for item in items]


Sentences = Mapping[Language, tuple[Sentence, ...]]


class Accept(_Record):
    """A text that has to be understood, and as what. Without `params` any will do."""

    text: str
    params: Mapping[str, Scalar] | None = None
    language: Language | None = None


class Tests(_Record):
    """What a pack proves of itself."""

    accept: tuple[Accept, ...] = ()
    reject: tuple[str, ...] = ()  # not as this command, nor as another one

    @field_validator("accept", mode="before")
    @classmethod
    def _texts_alone(cls, tests: object) -> object:
        return _one_by_one(tests, "text")


class Command(_Record):
    """One thing that can be said. `sentences` are templates in hassil's syntax, by language."""

    name: Name
    description: str = ""
    sentences: Sentences
    params: Mapping[ParamName, Mapping[str, JsonValue]] = {}  # JSON Schemas, with `unit` and `optional`
    safety: Safety = Safety()
    prompt: Mapping[Language, str] = {}  # what is asked instead of the sentence; the values are added
    dispatch: Dispatch | None = None
    undo: Dispatch | None = None  # what takes it back
    tests: Tests = Tests()

    @field_validator("sentences", mode="before")
    @classmethod
    def _templates_alone(cls, sentences: object) -> object:
        if not isinstance(sentences, dict):
            return sentences
        return {language: _one_by_one(items, "template") for language, items in sentences.items()}

    @field_validator("sentences")
    @classmethod
    def _something_to_say(cls, sentences: Sentences) -> Sentences:
        if not sentences or not all(sentences.values()):
            raise ValueError("has no sentence: nothing could ever be said to give this command")
        return sentences

    @field_validator("params")
    @classmethod
    def _can_be_enforced(cls, params: Mapping[str, Mapping[str, JsonValue]]) -> Mapping[str, Mapping[str, JsonValue]]:
        for name, schema in params.items():
            check_param(name, schema)
        return params

    @property
    def schema_object(self) -> dict[str, Any]:
        """JSON Schema of all parameters together, as tools declare them."""
        required = [name for name, schema in self.params.items() if not schema.get("optional")]
        properties = {
            name: {key: value for key, value in schema.items() if key != "optional"}
            for name, schema in self.params.items()
        }
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


class Words(_Record):
    """What the templates of one language refer to, as hassil writes it."""

    lists: Mapping[str, Mapping[str, JsonValue]] = {}
    expansion_rules: Mapping[str, str] = {}


class Pack(BaseModel):
    """Commands that are known together, and the words of their languages."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    commands: Mapping[Name, Command]
    words: Mapping[Language, Words] = {}

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for name, command in self.commands.items():
            if name != command.name:
                raise ValueError(f"{name} is called {command.name} in its definition")
        return self

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The languages in which there is something to say."""
        spoken = {language for command in self.commands.values() for language in command.sentences}
        return tuple(sorted(spoken))

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits that change with every change of a definition."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
