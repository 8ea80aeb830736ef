"""`streamd check`: would captions work here? Each part is tried for real; each finding says the way out."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Literal

import av
from pydantic import BaseModel

from streamd import daemon, models
from streamd.config import Loaded, flat, shown
from streamd.core.audio import FRAME_BYTES, Frame
from streamd.core.events import Event, Final
from streamd.core.words import bare
from streamd.engines.gemma import providers
from streamd.engines.gemma.folder import choose, losses
from streamd.engines.gemma.graphs import Options as GraphOptions
from streamd.engines.gemma.text import Tokens
from streamd.errors import ConfigError, StreamdError, UnavailableError
from streamd.listen import Address, sessions
from streamd.orders import orders
from streamd.resources import resource
from streamd.router import Outlook
from streamd.settings import Server, Settings, Source, Store
from streamd.sources.decode import check_media
from streamd.sources.devices import find_device
from streamd.specs import hearing, is_gemma_wanted
from streamd.store import Journal
from streamd.vad import VoiceActivity

FEW_WORDS = 0.7  # of the test sentence: fewer recognised words than this are a fault, not a matter of taste
SLOW = 0.7  # seconds of work for a second of sound: beyond this there is no room for partials

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    state: State
    detail: str
    more: tuple[str, ...] = ()  # lines below
    exit_code: int = 0  # of a failure


def examine(load: Callable[[], Loaded], *, everything: bool = False) -> Iterator[Finding]:
    """One finding after the other, as they are made. Without a valid configuration there is only one."""
    try:
        loaded = load()
    except StreamdError as error:
        yield _failure("configuration", error)
        return
    yield configuration(loaded, everything=everything)
    settings = loaded.settings
    yield _tried("source", lambda: source(settings.source))
    yield _tried("speech detection", lambda: speech_detection(settings))
    weights = _tried("model", lambda: model(settings))
    yield weights
    if settings.pipeline.recognise.engine in ("auto", "gemma"):
        yield _tried("gemma", lambda: gemma(settings))
    if weights.state == "fail":
        yield Finding("test sentence", "warn", "not tried: first the model has to be set right")
    else:
        yield _tried("test sentence", lambda: sentence(settings))
    if settings.pipeline.commands.pack:
        yield _tried("commands", lambda: commands(settings))
    yield _tried("journal", lambda: journal(settings.store))
    yield _tried("port", lambda: port(settings.server))
    yield _tried("access", lambda: access(settings.server))


def _tried(name: str, part: Callable[[], Finding]) -> Finding:
    try:
        return part()
    except StreamdError as error:
        return _failure(name, error)


def verdict(findings: list[Finding]) -> int:
    """The exit code: 0 if captions work, 78 if the configuration is at fault, 69 if a part is missing."""
    return max((finding.exit_code for finding in findings), default=0)


def _failure(check: str, error: StreamdError) -> Finding:
    return Finding(check, "fail", str(error), exit_code=error.exit_code)


def configuration(loaded: Loaded, *, everything: bool) -> Finding:
    """Which files were read, and the settings that are not as shipped."""
    values = flat(loaded.settings) if everything else loaded.changed()
    lines = tuple(f"{key} = {shown(key, value)}  ({loaded.origins[key]})" for key, value in values.items())
    return Finding("configuration", "ok", ", ".join(map(str, loaded.files)), lines)


def source(wanted: Source) -> Finding:
    """The microphone or file that `run` would listen to. `auto` can do without: it plays the demonstration."""
    if wanted.kind in ("none", "-"):
        return Finding("source", "ok", "nothing" if wanted.kind == "none" else "raw sound on stdin")
    if wanted.kind not in ("auto", "mic"):
        check_media(Path(wanted.kind))
        return Finding("source", "ok", wanted.kind)
    try:
        device = find_device(wanted.device)
    except UnavailableError as error:
        if wanted.kind == "auto" and not wanted.device:
            return Finding("source", "warn", f"{error}; until then `streamd run` captions a demonstration")
        raise
    return Finding("source", "ok", f"{device.name}, {device.host_api}, {device.rate} Hz")


def speech_detection(settings: Settings) -> Finding:
    """webrtcvad and Silero load, and hear silence as what it is."""
    probability = VoiceActivity(settings.pipeline.vad.gate).probability(Frame(0, bytes(FRAME_BYTES)))
    if probability > settings.pipeline.vad.release:
        raise UnavailableError(f"speech detection takes silence for speech ({probability:.2f}): install streamd anew")
    return Finding("speech detection", "ok", "webrtcvad and Silero")


def model(settings: Settings) -> Finding:
    """The weights of all engines that would hear are here, whole and unchanged."""
    names = hearing(settings).models
    if not names:
        return Finding("model", "ok", "scripted needs none")
    found = [_weights(name, settings) for name in names]
    missing = [file for _, missing in found for file in missing]
    more = (f"captions can do without what is missing: {', '.join(missing)}",) if missing else ()
    return Finding("model", "warn" if missing else "ok", "; ".join(told for told, _ in found), more)


def _weights(name: str, settings: Settings) -> tuple[str, list[str]]:
    """What there is, and files that are not here any more. Raises UnavailableError for damage, however small."""
    folder = models.locate(name, settings.models)  # whatever is needed is here
    files = models.verify(name, settings.models)
    if damaged := [file.file for file in files if file.state == "differs"]:
        raise UnavailableError(
            f"{folder}: not what was fetched or exported: {', '.join(damaged)}; {models.way_out(name, settings.models)}"
        )
    missing = [file.file for file in files if file.state == "missing"]
    compared = sum(file.state == "ok" for file in files)
    return f"{_at(name, folder)}, {compared} of {len(files)} files compared with their digests", missing


def _at(name: str, folder: Path) -> str:
    return name if Path(name) == folder else f"{name} in {folder}"


def gemma(settings: Settings) -> Finding:
    """What Gemma would be computed on, and whether it is here. Captions can do without it where Whisper may hear."""
    wanted, may_do_without = settings.engines.gemma, settings.pipeline.recognise.engine == "auto"
    try:
        runtime = providers.installed()
        names = providers.providers(wanted.provider)
    except UnavailableError as error:
        if may_do_without:
            return Finding("gemma", "warn", f"{error}; until then Whisper hears everything")
        raise
    try:
        folder = models.locate(wanted.model, settings.models)
        Tokens(folder)  # the graphs are loaded for the test sentence only: they are large
        _, files = choose(folder, GraphOptions(names, dtype=wanted.dtype))
    except UnavailableError as error:
        if not may_do_without:
            raise
        state: State = "warn" if is_gemma_wanted(settings) else "ok"
        return Finding("gemma", state, f"not used, Whisper hears everything: {error}", (runtime,))
    lost = losses(files)
    told = f"{_at(wanted.model, folder)}, on {names[0].removesuffix('ExecutionProvider')}"
    return Finding("gemma", "warn" if lost else "ok", told, (runtime, *lost))


def commands(settings: Settings) -> Finding:
    """The pack can be read, and what its targets need is there. Nothing is sent."""
    shared = orders(settings)
    assert shared is not None
    stage = settings.pipeline.commands
    return Finding("commands", "ok", f"{stage.pack}, version {shared.grammar}" + (", in shadow mode" * stage.shadow))


class _Demo(BaseModel):
    """demo/demo.json: what is said in demo/demo.flac."""

    text: str


def sentence(settings: Settings) -> Finding:
    """The demonstration through the whole pipe, with the real engine: how many words are right, and how fast."""
    if settings.pipeline.recognise.engine == "scripted":
        return Finding("test sentence", "ok", "not tried: this engine answers from its script")
    demo = _Demo.model_validate_json(resource("demo/demo.json").read_bytes())
    finals, took_s, outlook = _recognise(settings, resource("demo/demo.flac"))
    heard = " ".join(final.text for final in finals)
    right, words = _matching(demo.text, heard)
    pace = took_s / _duration_s(resource("demo/demo.flac"))
    engines = ", ".join(sorted({final.engine for final in finals})) or "nobody"
    told = f"{right} of {words} words right by {engines}, {pace:.2f} s of work for a second of sound"
    more = (heard, f"live: {outlook.told} ({os.cpu_count()} cores)")
    if right < FEW_WORDS * words:
        told = f"{told}: are the weights damaged, or not for English?"
        return Finding("test sentence", "fail", told, more, UnavailableError.exit_code)
    if pace > SLOW:
        return Finding("test sentence", "warn", f"{told}: too slow for live captions; take a smaller model", more)
    return Finding("test sentence", "warn" if outlook.is_fallback else "ok", told, more)


def _recognise(settings: Settings, path: Path) -> tuple[list[Final], float, Outlook]:
    """What was heard, in how many seconds once the model was loaded, and who hears. Raises what transcribing raises."""
    outcomes: list[list[Event] | StreamdError] = []
    times: list[float] = []

    def done(_: Path, outcome: list[Event] | StreamdError) -> None:
        outcomes.append(outcome)
        times.append(time.perf_counter())

    outlook = daemon.transcribe(settings, [path, path], lambda _path, _heard_ms: None, done)
    first = outcomes[0]
    if isinstance(first, StreamdError):
        raise first
    return [event.body for event in first if isinstance(event.body, Final)], times[1] - times[0], outlook


def _duration_s(path: Path) -> float:
    with av.open(path) as container:
        return float((container.duration or 0) / av.time_base)


def _matching(said: str, heard: str) -> tuple[int, int]:
    """How many words of what was said were heard, in order, and how many there are."""
    reference, hypothesis = ([bare(word) for word in text.split()] for text in (said, heard))
    blocks = SequenceMatcher(None, reference, hypothesis, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks), len(reference)


def journal(store: Store) -> Finding:
    """The journal can be read and written, and how much is in it."""
    if store.path is None:
        return Finding("journal", "warn", "nothing is kept: store.path is empty")
    if not store.path.exists():
        folder = next(parent for parent in store.path.parents if parent.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UnavailableError(f"{store.path} can't be made: {folder} is not writable (store.path)")
        return Finding("journal", "ok", f"{store.path}, none yet")
    reader = Journal.read(store.path)
    try:
        known = reader.sessions()
    finally:
        reader.close()
    if not os.access(store.path, os.W_OK):
        raise UnavailableError(f"{store.path} is not writable (store.path)")
    return Finding("journal", "ok", f"{store.path}, {sum(it.finals for it in known)} finals of {len(known)} sessions")


def port(server: Server) -> Finding:
    """The port is free, or the daemon that runs already has it."""
    place = f"{server.host}:{server.port}"
    try:
        family, *_, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family):
            return Finding("port", "ok", f"{place} is free")
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _is_streamd(server):
            return Finding("port", "warn", f"{place} is in use by a running streamd; for another one take --port 0")
        raise UnavailableError(f"{place} can't be used: {error.strerror} (server.host, server.port)") from error


def _is_streamd(server: Server) -> bool:
    host = "127.0.0.1" if server.host in ("0.0.0.0", "") else server.host  # noqa: S104 - compared, not bound
    place = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
    token = next((token for tokens in server.tokens.model_dump().values() for token in tokens), None)
    try:
        sessions(Address(secure=server.has_tls, place=place, token=token))
    except (OSError, ValueError):
        return False
    return True


def access(server: Server) -> Finding:
    """Who may connect, and whether the certificate can be used."""
    if server.tls_cert is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"{server.tls_cert}, {server.tls_key}: {reason} (server.tls_cert, server.tls_key)"
            ) from error
    if server.is_local:
        return Finding("access", "ok", "this machine only")
    roles = ", ".join(role for role, tokens in server.tokens.model_dump().items() if tokens)
    if not server.has_tls:
        return Finding("access", "warn", f"tokens for {roles}, but plain http: who shares the network can read along")
    return Finding("access", "ok", f"TLS and tokens for {roles}")
