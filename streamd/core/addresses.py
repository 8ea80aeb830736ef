"""What an address of the server asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streamd.core.vocabulary import vocabulary


class BadRequest(Exception):  # noqa: N818 - HTTP's word
    """The address asks for something that makes no sense. The message says what would."""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    token: Annotated[str | None, Field(repr=False)] = None


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("must be 1 to 64 letters, digits, dots, hyphens or underscores, a letter or digit first")
    return value


def _flag(value: str | bool) -> bool:
    if value not in _FLAGS:
        raise ValueError("must be 0 or 1")
    return _FLAGS[value]


_FLAGS: dict[str | bool, bool] = {"0": False, "1": True, False: False, True: True}
_R = TypeVar("_R", bound=_Request)
Name = Annotated[str, AfterValidator(_name)]
Flag = Annotated[bool, BeforeValidator(_flag)]


class EventsRequest(_Request):
    """Read a session: ws …/v1/sessions/NAME/events."""

    session: Name
    after: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    epoch: str | None = None
    commands: Flag = True  # whoever reads sees what commands ask: 0 where they are not shown


class AudioRequest(_Request):
    """Speak into a session: ws …/v1/sessions/NAME/audio."""

    session: Name
    rate: Annotated[int, Field(ge=8_000, le=48_000)] = 16_000  # Hz
    format: Literal["s16le", "f32le"] = "s16le"
    events: Flag = True  # this socket gets the session's events too
    takeover: Flag = False  # replace the session's present source


class VocabularyRequest(_Request):
    """Names and jargon of a session: GET or PUT …/v1/sessions/NAME/vocabulary."""

    session: Name
    terms: Annotated[tuple[str, ...], AfterValidator(vocabulary)] | None = None  # None: the address names none


class CommandRequest(_Request):
    """Answer a question: POST …/v1/sessions/NAME/commands/ID/confirm or …/deny."""

    session: Name
    command_id: Name
    answer: Literal["confirm", "deny"]
    word: Annotated[str | None, Field(max_length=40)] = None  # the code word


class StatesRequest(_Request):
    """What is known of the plant, for interlocks: GET or PUT …/v1/states."""

    values: tuple[tuple[str, str], ...] = ()


class TranscriptRequest(_Request):
    """What was said, as a file: GET …/v1/sessions/NAME/transcript.FORMAT."""

    session: Name
    format: Literal["txt", "srt", "vtt", "jsonl"]


class PageRequest(_Request):
    """Any other address. Its query belongs to the page."""

    path: str


Request = (
    EventsRequest | AudioRequest | VocabularyRequest | CommandRequest | StatesRequest | TranscriptRequest | PageRequest
)


def parse_request(path: str, query: Sequence[tuple[str, str]]) -> Request:
    """What an address asks for; path and query are decoded already. Raises BadRequest with a plain reason."""
    match path.split("/"):
        case ["", "v1", "sessions", name, "events"]:
            return _validate(EventsRequest, query, session=name)
        case ["", "v1", "sessions", name, "audio"]:
            return _validate(AudioRequest, query, session=name)
        case ["", "v1", "sessions", name, "vocabulary"]:
            return _vocabulary(name, query)
        case ["", "v1", "sessions", name, "commands", command_id, answer]:
            return _validate(CommandRequest, query, session=name, command_id=command_id, answer=answer)
        case ["", "v1", "states"]:
            return StatesRequest(
                values=tuple(item for item in query if item[0] != "token"), token=dict(query).get("token")
            )
        case ["", "v1", "sessions", name, file] if file.startswith("transcript."):
            return _validate(TranscriptRequest, query, session=name, format=file.removeprefix("transcript."))
        case _:
            return PageRequest(path=path, token=dict(query).get("token"))


def _vocabulary(name: str, query: Sequence[tuple[str, str]]) -> VocabularyRequest:
    """Terms are each a parameter of its own; a single empty one stands for no terms at all."""
    terms = tuple(value for key, value in query if key == "term")
    others = [(key, value) for key, value in query if key != "term"]
    given = () if terms == ("",) else terms or None
    return _validate(VocabularyRequest, others, more=("term",), session=name, terms=given)


def _validate(
    kind: type[_R], query: Sequence[tuple[str, str]], *, more: Sequence[str] = (), **given: str | tuple[str, ...] | None
) -> _R:
    """The request that path and query describe. `more`: parameters that are not in `query` any more."""
    parameters = dict(query)
    known = sorted({*(kind.model_fields.keys() - given.keys()), *more})
    keys = [key for key, _ in query]
    for key in keys:
        if key not in known:
            raise BadRequest(f"unknown parameter {key[:40]!r}; there are: {', '.join(known)}")
        if keys.count(key) > 1:
            raise BadRequest(f"parameter {key!r} is given more than once")
    try:
        return kind.model_validate({**parameters, **given})
    except ValidationError as error:
        raise BadRequest(_plain(error, {**parameters, **given})) from error


def _plain(error: ValidationError, values: Mapping[str, str | tuple[str, ...] | None]) -> str:
    """The first thing that is wrong, with its key and its value."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    problem = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    value = values[key]
    return f"{key}={value[:80]!r}: {problem}" if isinstance(value, str) else f"{key}: {problem}"
