"""An engine that answers from a script: for tests, demonstrations and `streamd check`. It hears lengths, not words.

Options, and the keys of a script (TOML, or JSON by its suffix; a JSON list is a list of utterances):

    script = "demo.toml"     # option only: the file that holds the other keys; relative to the working directory
    memory = "memory.json"   # what a replaced worker has to know of its predecessor; relative to the script
    name = "scripted"        # what the engine calls itself
    [[utterances]]           # given out in the order in which utterances begin, over and over
    text = "the light is on" # one word every word_s; an utterance that ends earlier has its words closer together
    word_s = 0.4
    id = "default/7"         # only for the utterance of this name, which gets no other
    language = "en"          # that is heard; the context may know better
    call = { name = "light", arguments = { on = true } }  # what it asks for, once there is such a tool
    [[utterances]]
    words = [{ text = " on", start_s = 0.2, end_s = 0.5, confidence = 0.8, at_first = " off", until_s = 1.0 }]
    [[faults]]
    call = 3                 # at the worker's third call; 0: while it loads
    utterance = "default/7"  # or at the first call for this utterance
    kind = "exit"            # the process ends; also: hang, raise, slow (by `ms`), wait (until the server at the
                             # Unix socket `path` hangs up)

A word is shown once its end was heard; with `at_first` it is another word before `until_s` seconds were heard. The
last call shows what has begun. Without utterances the engine counts: one word for every 0.4 s of sound. With `memory`,
a fault happens once instead of once a worker, and an utterance keeps its entry when its worker is replaced.
"""

from __future__ import annotations

import json
import os
import re
import reprlib
import socket
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamd.core.audio import SAMPLE_RATE, Pcm
from streamd.core.languages import Evidence, likeliest, weigh
from streamd.core.tools.tool import Tool, ToolCall, ToolDecision
from streamd.core.tools.valid import CallError, check
from streamd.engines.base import Context, Hypothesis, HypothesisWord, UnknownUtterance
from streamd.errors import ConfigError

NAME = "scripted"
WORD_S = 0.4
TINY_S = 1e-6  # less than a sample: 3 × 0.4 is a little more than 1.2
REMEMBERED = 1_000  # utterances
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Word(_Table):
    """A word of a script. Seconds from the utterance's start."""

    text: str
    start_s: Seconds
    end_s: Seconds
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.9
    at_first: str | None = None
    until_s: Seconds = 0.0

    @model_validator(mode="after")
    def _forwards(self) -> Word:
        if self.start_s > self.end_s:
            raise ValueError(f"{self.text!r} starts at {self.start_s} s, after its end at {self.end_s} s")
        return self

    def seen(self, heard_s: float) -> HypothesisWord:
        """This word once `heard_s` seconds were heard."""
        early = self.at_first is not None and heard_s < self.until_s
        return HypothesisWord(
            self.at_first if early and self.at_first else self.text,
            min(self.start_s, heard_s),
            min(self.end_s, heard_s),
            self.confidence,
        )


class Call(_Table):
    """A tool call of a script."""

    name: str
    arguments: dict[str, Any] = {}
    margin: float = 5.0


class Entry(_Table):
    """What one utterance says: words with times, or a text to be spread over it."""

    words: tuple[Word, ...] | None = None
    text: str | None = None
    word_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = WORD_S
    id: str | None = None
    language: str | None = None
    call: Call | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: object) -> object:
        if isinstance(value, str):
            return {"text": value}
        return {"words": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _in_order(self) -> Entry:
        if (self.text is None) == (self.words is None):
            raise ValueError("an utterance has either a text or words")
        for earlier, later in pairwise(self.words or ()):
            if earlier.end_s > later.start_s:
                raise ValueError(f"{later.text!r} starts before {earlier.text!r} ends")
        return self

    def shown(self, heard_s: float, last: bool) -> list[HypothesisWord]:
        """What is known after `heard_s` seconds. No sound, no words."""
        if heard_s <= 0:
            return []
        words = self._spread(heard_s if last else None) if self.words is None else self.words
        return [
            word.seen(heard_s) for word in words if word.end_s <= heard_s + TINY_S or (last and word.start_s < heard_s)
        ]

    def _spread(self, whole_s: float | None) -> tuple[Word, ...]:
        tokens = _tokens(self.text or "")
        pace_s = self.word_s if whole_s is None else min(self.word_s, whole_s / max(1, len(tokens)))
        return tuple(
            Word(text=token, start_s=number * pace_s, end_s=(number + 1) * pace_s)
            for number, token in enumerate(tokens)
        )


class Fault(_Table):
    """Something that goes wrong, once, at the worker's n-th call or the first for an utterance."""

    call: Annotated[int, Field(ge=0)] | None = None
    utterance: str | None = None
    kind: Literal["exit", "hang", "raise", "slow", "wait"]
    ms: Annotated[float, Field(ge=0)] = 0.0
    path: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Fault:
        if (self.call is None) == (self.utterance is None):
            raise ValueError("a fault belongs either to a call or to an utterance")
        if (self.kind == "wait") != (self.path is not None):
            raise ValueError("path belongs to kind wait, and is needed there")
        return self

    def happen(self) -> None:
        match self.kind:
            case "exit":
                os._exit(70)
            case "hang":
                threading.Event().wait()
            case "slow":
                time.sleep(self.ms / 1000)
            case "wait":
                with socket.socket(socket.AF_UNIX) as server:
                    server.connect(str(self.path))
                    server.recv(1)
            case "raise":
                raise RuntimeError("the script says that this call fails")


class Script(_Table):
    """All of a script."""

    utterances: tuple[Entry, ...] = ()
    faults: tuple[Fault, ...] = ()
    memory: Path | None = None
    name: Annotated[str, Field(min_length=1)] = NAME


class Memory:
    """Which entry an utterance was given and which faults have happened; on disk, if there is a file for it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        known = json.loads(path.read_text()) if path and path.exists() else {}
        self._entries: dict[str, int] = known.get("entries", {})  # utterance → how many came before it
        self._faults: list[int] = known.get("faults", [])

    def place(self, utterance_id: str) -> int:
        """How many utterances began before this one. Of the oldest ones that is forgotten."""
        if utterance_id not in self._entries:
            self._entries[utterance_id] = 1 + max(self._entries.values(), default=-1)
            if len(self._entries) > REMEMBERED:
                del self._entries[next(iter(self._entries))]
            self._save()
        return self._entries[utterance_id]

    def is_new(self, fault: int) -> bool:
        """Whether this fault has not happened yet. From now on it has."""
        if fault in self._faults:
            return False
        self._faults.append(fault)
        self._save()
        return True

    def _save(self) -> None:
        """Whole or not at all: the process may end at any time."""
        if self._path is None:
            return
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(json.dumps({"entries": self._entries, "faults": self._faults}))
        fresh.replace(self._path)


class ScriptedEngine:
    """Implements streamd.engines.base.Engine. Calls may come from any thread."""

    def __init__(self, script: Script, memory: Memory) -> None:
        self.name = script.name
        self._by_id = {entry.id: entry for entry in script.utterances if entry.id is not None}
        self._in_turn = [entry for entry in script.utterances if entry.id is None]
        self._counts = not script.utterances
        self._faults = script.faults
        self._memory = memory
        self._calls = 0
        self._heard: dict[str, int] = {}  # open utterance → samples
        self._lock = threading.Lock()

    def advance(self, utterance_id: str, new_pcm: Pcm, last: bool, context: Context, *, first: bool) -> Hypothesis:
        """See Engine.advance."""
        self._count_call(utterance_id)
        started = time.perf_counter()
        with self._lock:
            heard_s = self._hear(utterance_id, len(new_pcm), last, first) / SAMPLE_RATE
            entry = self._entry(utterance_id, heard_s)
        thorough = last or context.thorough
        words = _after(context.committed, entry.shown(heard_s, thorough), heard_s)
        took_ms = 1_000 * (time.perf_counter() - started)
        heard = Evidence({entry.language: 1.0} if entry.language and not context.language else {}, heard_s)
        language = context.language or (likeliest(weigh(context.languages, heard)) if heard.probabilities else None)
        return Hypothesis(tuple(words), self.name, language, heard_s, {"decoder": took_ms}, heard, thorough=thorough)

    def prepare(self, tools: Sequence[Tool]) -> None:
        """See CallsTools.prepare. No choice costs anything here."""

    def decide(
        self,
        utterance_id: str,
        pcm: Pcm,
        tools: Sequence[Tool],
        context: Context,  # noqa: ARG002 - the protocol's
    ) -> ToolDecision:
        """See CallsTools.decide. A call that is against the tools' schemas is none."""
        self._count_call(utterance_id)
        with self._lock:
            said = self._entry(utterance_id, len(pcm) / SAMPLE_RATE).call
        if said is None:
            return ToolDecision(None, margin=-5.0)
        call = ToolCall(said.name, said.arguments)
        try:
            check(call, tools)
        except CallError as error:
            return ToolDecision(None, said.margin, problem=str(error))
        return ToolDecision(call, said.margin)

    def forget(self, utterance_id: str) -> None:
        """See Engine.forget."""
        with self._lock:
            self._heard.pop(utterance_id, None)

    def warm_up(self) -> None:
        """See Engine.warm_up. Nothing is slow at first here, but it is where faults of loading happen."""
        self._break(0, None)

    def _count_call(self, utterance_id: str) -> None:
        with self._lock:
            self._calls += 1
            call = self._calls
        self._break(call, utterance_id)

    def _hear(self, utterance_id: str, samples: int, last: bool, first: bool) -> int:
        if first:
            self._heard[utterance_id] = 0
        elif utterance_id not in self._heard:
            raise UnknownUtterance(utterance_id)
        self._heard[utterance_id] += samples
        return self._heard.pop(utterance_id) if last else self._heard[utterance_id]

    def _entry(self, utterance_id: str, heard_s: float) -> Entry:
        if self._counts:
            return Entry(text="".join(" " + _number(n + 1) for n in range(int(heard_s / WORD_S + TINY_S))))
        if utterance_id in self._by_id or not self._in_turn:
            return self._by_id.get(utterance_id, Entry(words=()))
        return self._in_turn[self._memory.place(utterance_id) % len(self._in_turn)]

    def _break(self, call: int, utterance_id: str | None) -> None:
        with self._lock:
            due = [
                fault
                for number, fault in enumerate(self._faults)
                if (fault.call == call or (fault.utterance and fault.utterance == utterance_id))
                and self._memory.is_new(number)
            ]
        for fault in due:
            fault.happen()


def build(options: Mapping[str, object]) -> ScriptedEngine:
    """The engine for `options`, see above. Raises ConfigError that names the file and the entry."""
    values, origin, folder = dict(options), "engine scripted", Path()
    if (path := values.pop("script", None)) is not None:
        origin, folder = str(path), Path(str(path)).parent
        values = {**_read(Path(str(path))), **values}
    try:
        script = Script.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from error
    return ScriptedEngine(script, Memory(folder / script.memory if script.memory else None))


def _read(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
        values: object = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        reason = f"{path}: the script can't be read ({error.strerror}): correct engines.scripted.script"
        raise ConfigError(reason) from error
    except ValueError as error:  # not UTF-8, not JSON, not TOML
        raise ConfigError(f"{path}: not a script: {error}") from error
    if isinstance(values, list):
        return {"utterances": values}
    if isinstance(values, dict):
        return values
    raise ConfigError(f"{path}: a script is a table or a list of utterances, not {values!r}")


def _explain(error: ValidationError) -> str:
    """The first mistake, entries counted from 1."""
    mistake = error.errors()[0]
    place = " ".join(str(part + 1) if isinstance(part, int) else part for part in mistake["loc"])
    return f"{place}: {mistake['msg']}, found {reprlib.repr(mistake['input'])}"


def _tokens(text: str) -> list[str]:
    """Words with the white space before them."""
    return re.findall(r"\s*\S+", text)


def _number(value: int) -> str:
    """Digit by digit, as one reads out a telephone number: 12 is one-two."""
    return "-".join(DIGITS[int(digit)] for digit in str(value))


def _after(committed: str, words: list[HypothesisWord], heard_s: float) -> list[HypothesisWord]:
    """`words`, with the first ones replaced so that the text begins with what was shown for good."""
    if "".join(word.text for word in words).strip().startswith(committed.strip()):
        return words
    end = HypothesisWord("", heard_s, heard_s, 1.0)
    kept = _tokens(committed.rstrip())
    places = words[: len(kept)] + [end] * (len(kept) - len(words))
    return [replace(place, text=token) for token, place in zip(kept, places, strict=True)] + words[len(kept) :]
