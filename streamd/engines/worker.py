"""The process that a model lives in: `python -m streamd.engines.worker FD`.

FD is the worker's end of a socket pair; streamd.engines.pipe says what crosses it. The engine comes from
`streamd.engines.<kind>.build(options)`. `threads` calls are served at a time, or as many batches of them.

The main thread does nothing but wait for the daemon, so that the process ends the moment the daemon does, however it
ended and whatever the model is doing. (Not handled: native code that holds the interpreter's lock for ever.)
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import NoReturn

import numpy as np

from streamd.core.commands.hearing import Comparisons
from streamd.engines.base import CallsTools, ComparesSentences, Engine, EngineSpec, UnknownUtterance
from streamd.engines.pipe import (
    Advance,
    Channel,
    Compare,
    Compared,
    Decide,
    Decided,
    Failed,
    Forget,
    Message,
    PipeError,
    Ready,
    Reply,
    Result,
    Unavailable,
    Unknown,
)
from streamd.errors import ConfigError, StreamdError, UnavailableError

log = logging.getLogger("streamd.worker")


class Worker:
    """Serves one engine over one channel until the other side closes it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._engine: Engine | None = None

    def serve(self) -> None:
        """Returns when the daemon is gone. Calls that are under way then are left running."""
        spec = self._channel.receive()
        if not isinstance(spec, EngineSpec):
            return
        os.nice(spec.niceness)  # the pool's threads inherit it
        pool = ThreadPoolExecutor(spec.calls, thread_name_prefix="engine")
        pool.submit(self._handle, spec)
        while (message := self._channel.receive()) is not None:
            # forget is done here and now: an advance that starts the utterance afresh may follow
            if isinstance(message, Forget):
                self._handle(message)
            else:
                pool.submit(self._handle, message)
        pool.shutdown(wait=False, cancel_futures=True)

    def _handle(self, message: Message) -> None:
        try:
            reply = self._answer(message)
        except Exception as error:  # noqa: BLE001 - belongs to this message only; those of other utterances go on
            reply = _failure(message, error)
        if reply is not None:
            self._send(reply)

    def _answer(self, message: Message) -> Message | None:
        match message:
            case EngineSpec():
                return self._load(message)
            case Advance():
                return _advance(self._loaded(), message)
            case Decide():
                return _decide(self._loaded(), message)
            case Compare():
                return _compare(self._loaded(), message)
            case Forget():
                self._loaded().forget(message.utterance_id)
                return None
        raise TypeError("only requests go to a worker")

    def _load(self, spec: EngineSpec) -> Ready:
        started = time.perf_counter()
        engine = build(spec)
        engine.warm_up()
        _prepare(engine, spec)
        self._engine = engine
        return Ready(engine.name, 1_000 * (time.perf_counter() - started))

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the daemon did not wait for the engine to be ready")
        return self._engine

    def _send(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except OSError:
            log.debug("the daemon is gone; nobody waits for this %s", type(message).__name__)


def build(spec: EngineSpec) -> Engine:
    """The engine of a specification. Raises what its module raises: ImportError, StreamdError, …"""
    module = import_module(f"streamd.engines.{spec.kind}")
    engine: Engine = module.build(spec.options)
    return engine


def _prepare(engine: Engine, spec: EngineSpec) -> None:
    """Get ready for the tools, while nobody waits for a choice. Captions do without them."""
    if not spec.tools or not isinstance(engine, CallsTools):
        return
    try:
        engine.prepare(spec.tools)
    except ConfigError as error:
        log.warning("no tool can be chosen: %s", error)


def _advance(engine: Engine, request: Advance) -> Reply:
    new_pcm = np.frombuffer(request.pcm, dtype="<i2")  # (n,)
    try:
        hypothesis = engine.advance(request.utterance_id, new_pcm, request.last, request.context, first=request.first)
    except UnknownUtterance:
        return Unknown(request.call)
    return Result(request.call, hypothesis)


def _decide(engine: Engine, request: Decide) -> Reply:
    if not isinstance(engine, CallsTools):
        raise UnavailableError(f"engine {engine.name} can't call tools: use Gemma")
    pcm = np.frombuffer(request.pcm, dtype="<i2")  # (n,)
    return Decided(request.call, engine.decide(request.utterance_id, pcm, request.tools, request.context))


def _compare(engine: Engine, request: Compare) -> Reply:
    if not isinstance(engine, ComparesSentences):
        raise UnavailableError(f"engine {engine.name} can't compare sentences: use whisper")
    pcm = np.frombuffer(request.pcm, dtype="<i2")  # (n,)
    spoken = [choices for choices in request.choices if choices.language is None or engine.speaks(choices.language)]
    heard = tuple((choices.language or "", engine.compare(pcm, choices)) for choices in spoken)
    return Compared(request.call, Comparisons(heard))


def _failure(message: Message, error: Exception) -> Message | None:
    """What the daemon is told. It explains a StreamdError to the user; the rest is explained by the traceback here."""
    if isinstance(message, EngineSpec) and isinstance(error, StreamdError):
        return Unavailable(str(error))
    log.error("engine failed in %s", _describe(message), exc_info=error)
    match message:
        case EngineSpec():
            return Unavailable(f"engine {message.kind} can't be loaded: {type(error).__name__}: {error}")
        case Advance() | Decide() | Compare():
            return Failed(message.call, type(error).__name__, str(error))
    return None


def _describe(message: Message) -> str:
    match message:
        case EngineSpec():
            return f"loading {message.kind}"
        case Advance(utterance_id=name, pcm=pcm, first=first, last=last):
            return f"advance of utterance {name} by {len(pcm) // 2} samples (first={first}, last={last})"
        case Decide(utterance_id=name, pcm=pcm, tools=tools):
            return f"the choice among {len(tools)} tools for utterance {name} of {len(pcm) // 2} samples"
        case Compare(pcm=pcm, choices=choices):
            return f"the comparison of {len(pcm) // 2} samples with {len(choices)} grammars"
    return type(message).__name__


def main(fd: int) -> NoReturn:
    """Serve on file descriptor `fd` until its other side closes, then leave at once, native calls or not."""
    # A terminal and systemd signal the whole group: it is the daemon that decides when its worker ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    status = 1
    try:
        Worker(Channel(socket.socket(fileno=fd))).serve()
        status = 0
    except PipeError:
        log.exception("the daemon sent what is no message")
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]))
