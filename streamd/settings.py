"""Every setting, with its unit, bounds and default. config.py says where values come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path, user_state_path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from streamd.core.languages import TAGS, primary
from streamd.core.policy import Preset
from streamd.core.vocabulary import vocabulary

Port = Annotated[int, Field(ge=0, le=65_535)]
Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="1 to 64 letters, digits, '.', '_' or '-', the first of them a letter or digit",
    ),
]
LOOPBACK = ("127.0.0.1", "::1", "localhost")
TOKEN_CHARACTERS = 12  # at the least: whoever reaches the port can try as many as they like
OWNED_TOKEN = re.compile(r"([A-Za-z][\w.-]{0,31}):")  # NAME:SECRET says whose it is


def _token(value: str) -> str:
    secret = OWNED_TOKEN.sub("", value, count=1) if OWNED_TOKEN.match(value) else value
    if len(secret) < TOKEN_CHARACTERS:
        raise ValueError(
            f"a token needs at least {TOKEN_CHARACTERS} characters, this one has {len(secret)}: "
            "`openssl rand -hex 16` makes one"
        )
    return value


def _language(value: str) -> str:
    tag = primary(value)
    if tag != "auto" and tag not in TAGS:
        raise ValueError(f"should be auto or one of Whisper's languages: {', '.join(sorted(TAGS))}")
    return tag


def _spoken(value: str) -> str:
    tag = primary(value)
    if tag not in TAGS:
        raise ValueError(f"{value!r} should be one of Whisper's languages: {', '.join(sorted(TAGS))}")
    return tag


Token = Annotated[str, AfterValidator(_token)]
Language = Annotated[str, AfterValidator(_language)]
Terms = Annotated[tuple[str, ...], AfterValidator(vocabulary)]
Spoken = Annotated[str, AfterValidator(_spoken)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Tokens(_Table):
    """Secrets by role. A role may do what the ones before it may: viewer reads, speaker sends sound, operator runs."""

    viewer: tuple[Token, ...] = ()
    speaker: tuple[Token, ...] = ()
    operator: tuple[Token, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.viewer or self.speaker or self.operator)


class Server(_Table):
    """Where readers and remote microphones connect."""

    host: str = "127.0.0.1"
    port: Port = 8765  # 0: any free one, printed at start
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False  # plain http beyond this machine
    origins: tuple[str, ...] = ()  # browser origins allowed beside the server's own
    tokens: Tokens = Tokens()
    max_sessions: Annotated[int, Field(ge=1, le=256)] = 16
    max_readers: Annotated[int, Field(ge=1, le=10_000)] = 200
    lag_limit_s: Annotated[float, Field(gt=0)] = 30.0  # a reader this far behind is closed; it resumes
    drain_s: Annotated[float, Field(ge=0)] = 10.0  # longest wait for the last final after SIGTERM

    @property
    def is_local(self) -> bool:
        return self.host in LOOPBACK

    @property
    def has_tls(self) -> bool:
        return self.tls_cert is not None

    @model_validator(mode="after")
    def _safe_beyond_this_machine(self) -> Server:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both or neither")
        if self.is_local:
            return self
        if not self.tokens:
            raise ValueError(
                f"host {self.host} is reachable from other machines: set server.tokens.viewer, .speaker or .operator, "
                "or bind to 127.0.0.1"
            )
        if not self.has_tls and not self.insecure:
            raise ValueError(
                f"host {self.host} is reachable from other machines: set server.tls_cert and server.tls_key, "
                "or accept plain http with --insecure (server.insecure = true)"
            )
        return self


class Store(_Table):
    """The journal: what was said, kept across restarts."""

    path: Path | None = Field(
        default_factory=lambda: user_state_path("streamd") / "journal.sqlite3"
    )  # "": keep nothing
    retention_days: Annotated[int, Field(ge=0)] = 0  # 0: for ever

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("path") == "":
            return {**values, "path": None}
        return values


class Source(_Table):
    """What `streamd run` listens to."""

    kind: str = "auto"  # auto, mic, none, - (s16le on stdin), or a FILE
    device: str = ""  # part of a microphone's name; empty: the system's default
    rate: Annotated[int, Field(ge=8_000, le=192_000)] = 16_000  # of s16le on stdin
    loop: bool = False  # start a FILE again at its end
    fast: bool = False  # a FILE as quick as the machine can, instead of at its own pace
    no_signal_s: Annotated[float, Field(gt=0)] = 10.0  # this long without a signal is reported to readers


class Whisper(_Table):
    """faster-whisper on CTranslate2."""

    model: str = "tiny.en"  # a name from `streamd models list`, or a folder
    compute_type: str = "int8"
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    threads: Annotated[int, Field(ge=0, le=64)] = 0  # of one worker; 0: chosen from the machine
    beam_size: Annotated[int, Field(ge=1, le=10)] = 5  # of finals …
    partial_beam_size: Annotated[int, Field(ge=1, le=10)] = 3  # … and partials
    batch: Annotated[int, Field(ge=1, le=16)] = 4  # partials of so many sessions are heard together where they queue up


class Gemma(_Table):
    """Gemma 4 E2B or E4B on ONNX Runtime."""

    model: str = "gemma-4-E4B-it-q4"  # a name from `streamd models list`, or a folder
    dtype: Literal["auto", "fp32", "fp16", "int8", "q4", "q4f16"] = "auto"  # where a folder holds several
    provider: Literal["auto", "cpu", "cuda", "tensorrt", "directml", "coreml"] = "auto"
    threads: Annotated[int, Field(ge=0, le=64)] = 0  # of the processor; 0: as many as it has cores
    frames_per_call: Annotated[int, Field(ge=0, le=8)] = 0  # of 40 ms, to encode at a time; 0: measured at load
    piece_s: Annotated[float, Field(ge=2, le=28)] = 8.0  # a long utterance is heard in pieces of at least so much
    carry_over: bool = True  # what was said before is part of the prompt
    tool_margin: float = 0.0  # by which a tool call must be likelier than any other answer, in nats


class Scripted(_Table):
    """Answers from a script instead of a model: tests and demonstrations."""

    script: Path | None = None


class Engines(_Table):
    """Engines and the workers they run in."""

    whisper: Whisper = Whisper()
    gemma: Gemma = Gemma()
    scripted: Scripted = Scripted()
    deadline_s: Annotated[float, Field(gt=0)] = 20.0  # a call that takes longer is killed with its worker
    start_deadline_s: Annotated[float, Field(gt=0)] = 120.0  # loading the model


class Models(_Table):
    """Where weights are kept and whether they may be fetched."""

    directory: Path = Field(default_factory=lambda: user_data_path("streamd") / "models")
    offline: bool = False


class Logging(_Table):
    """The daemon's own log. What people say appears at DEBUG only."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"


class VadStage(_Table):
    """Is this frame speech? webrtcvad is the cheap gate, Silero the judge."""

    gate: Annotated[int, Field(ge=0, le=3)] = 1  # webrtcvad's aggressiveness
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5  # Silero probability that starts speech
    release: Annotated[float, Field(gt=0, lt=1)] = 0.35  # and the one below which it may end


class EndpointStage(_Table):
    """Where an utterance starts and ends."""

    preroll_ms: Annotated[int, Field(ge=0, le=2_000)] = 400  # sound kept from before the first speech
    min_speech_ms: Annotated[int, Field(ge=0, le=2_000)] = 80  # shorter bursts are not speech
    hangover_ms: Annotated[int, Field(ge=80, le=5_000)] = 720  # silence that ends an utterance
    wordless_ms: Annotated[int, Field(ge=400, le=60_000)] = 2_000  # sound without a word after which it is over
    soft_max_s: Annotated[float, Field(gt=0)] = 15.0  # from here on ever shorter pauses end it
    max_utterance_s: Annotated[float, Field(gt=1, le=28)] = 25.0  # split at the best pause there is

    @model_validator(mode="after")
    def _soft_before_hard(self) -> EndpointStage:
        if self.soft_max_s > self.max_utterance_s:
            raise ValueError(f"soft_max_s ({self.soft_max_s}) is beyond max_utterance_s ({self.max_utterance_s})")
        return self


class RecogniseStage(_Table):
    """Which engine hears an utterance, and how often its partials are renewed."""

    engine: Literal["auto", "whisper", "gemma", "scripted"] = "auto"
    language: Language = "auto"  # one of core/languages.py, or auto …
    languages: tuple[Spoken, ...] = ()  # … and then one of these; empty: any of them
    task: Literal["transcribe", "translate"] = "transcribe"  # translate: into …
    target_language: Spoken = "en"  # … this one; Whisper knows no other
    partial_ms: Annotated[int, Field(ge=40, le=5_000)] = 160  # new sound between two partials, on average
    partials: bool = True
    preset: Preset = "balanced"  # how sure a word must be before it is shown: see core/stabilise.py
    vocabulary: Terms = ()  # names and jargon to expect

    @model_validator(mode="after")
    def _target_of_a_translation(self) -> RecogniseStage:
        if self.task != "translate" and self.target_language != "en":
            raise ValueError(
                f'target_language ({self.target_language}) is that of a translation: set task = "translate" too, '
                "or set language if it is the one that is spoken"
            )
        return self


class RouteStage(_Table):
    """Where there are two engines: when the one for short utterances (Gemma) hears, and when the other (Whisper)."""

    speech_s: Annotated[float, Field(gt=0, le=28)] = 28.0  # speech without a pause, from which on Whisper hears it
    session_s: Annotated[float, Field(ge=0)] = 1_800.0  # talk in a session, from which on Whisper hears all of it …
    break_s: Annotated[float, Field(ge=0)] = 300.0  # … until nobody has spoken for so long
    slow: Annotated[float, Field(gt=0)] = 0.9  # seconds of work for a second of sound that are too many
    quick: Annotated[float, Field(gt=0)] = 0.6  # and those that are few enough to come back
    settle_s: Annotated[float, Field(ge=0)] = 30.0  # without a fault before an engine comes back, and between changes
    rest_s: Annotated[float, Field(ge=0)] = 120.0  # after which an engine that was too slow is tried again

    @model_validator(mode="after")
    def _quick_is_quicker(self) -> RouteStage:
        if self.quick > self.slow:
            raise ValueError(f"quick ({self.quick}) is slower than slow ({self.slow})")
        return self


class ReviseStage(_Table):
    """The second pass: a larger model reads finished utterances again, and corrects words of their finals."""

    model: str = ""  # a name from `streamd models list`, or a folder; empty: no second pass
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    beam_size: Annotated[int, Field(ge=1, le=10)] = 5
    deadline_s: Annotated[float, Field(gt=0)] = 60.0  # a reading that takes longer is given up


class CommandsStage(_Table):
    """Spoken commands: whole sentences in, calls out, and what is risky only after somebody has confirmed it."""

    pack: str = ""  # a file, a folder, or the name of a pack; empty: no commands
    by: Literal["auto", "sound", "text"] = "auto"  # sound: sentences are compared with it; auto: where Whisper hears
    shadow: bool = False  # all of it but the sending
    role: Literal["viewer", "speaker", "operator"] = "speaker"  # of who speaks into this machine's own microphone
    second_reading: bool = True  # where Gemma hears, it must agree before anything risky is done
    state_max_age_s: Annotated[float, Field(gt=0, le=3_600)] = 10.0  # a state that was told longer ago is unknown


class Pipeline(_Table):
    """What happens to the sound: pipelines/NAME.toml."""

    vad: VadStage = VadStage()
    endpoint: EndpointStage = EndpointStage()
    recognise: RecogniseStage = RecogniseStage()
    route: RouteStage = RouteStage()
    revise: ReviseStage = ReviseStage()
    commands: CommandsStage = CommandsStage()


class Settings(_Table):
    """All of it, as the daemon runs with it."""

    session: Name = "default"  # the session that `streamd run` feeds
    pipeline_name: Name = "captions"
    server: Server = Server()
    store: Store = Field(default_factory=Store)
    source: Source = Source()
    engines: Engines = Engines()
    models: Models = Field(default_factory=Models)
    logging: Logging = Logging()
    pipeline: Pipeline = Pipeline()

    @property
    def weights(self) -> str:
        """The model without which nothing is heard: a name, or a folder."""
        engines = self.engines
        return engines.gemma.model if self.pipeline.recognise.engine == "gemma" else engines.whisper.model
