"""Tools are chosen by what was heard: the tiny model is random, so only the path to its answer can be checked."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from streamd.bridge import EngineFailed, EngineHost
from streamd.core.audio import Pcm
from streamd.core.tools.tool import Tool
from streamd.engines.base import CallsTools, Context, EngineSpec
from streamd.engines.gemma import build
from streamd.engines.gemma.calls import Guide
from streamd.engines.gemma.choice import INSTRUCTION, SETS, UTTERANCES, Choice
from streamd.engines.gemma.decoder import Decoder
from streamd.engines.gemma.encoder import encoder
from streamd.engines.gemma.engine import GemmaEngine
from streamd.engines.gemma.folder import load
from streamd.engines.gemma.graphs import Options
from streamd.engines.gemma.hearing import Hearing
from streamd.engines.gemma.prompt import Prompt
from streamd.engines.gemma.text import Tokens
from streamd.errors import ConfigError, UnavailableError
from tests.gemma_data import MODEL, recording

GRAPHS = load(MODEL, Options(threads=1))
DECODER = Decoder(GRAPHS.embed, GRAPHS.decoder, GRAPHS.prefill)
TOKENS = Tokens(MODEL)
PROMPT = Prompt(TOKENS)
SOUND = recording()[8_000:40_000]  # (n,), two seconds
ANY = -math.inf
TOOLS = [
    Tool(
        "set_speed",
        "Set the speed of a press, in rpm.",
        {
            "type": "object",
            "properties": {
                "press": {"type": "string", "enum": ["press_1", "press_2"]},
                "speed": {"type": "integer", "minimum": 5, "maximum": 120, "multipleOf": 5},
                "doses": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "maxItems": 2},
            },
            "required": ["press", "speed"],
        },
    ),
    Tool("stop", "Stop everything."),
]
OPTIONS: dict[str, object] = {"model_path": str(MODEL), "threads": 1, "frames_per_call": 1}


@pytest.fixture
def choice() -> Choice:
    return Choice(MODEL / "tokenizer.json", encoder(GRAPHS.encoder), DECODER, TOKENS, PROMPT)


def heard(pcm: Pcm, at_a_time: int) -> Hearing:
    """As it is for a caption, behind another prompt."""
    hearing = Hearing(encoder(GRAPHS.encoder), DECODER, DECODER.read(DECODER.empty, [2, 105])[1])
    for start in range(0, len(pcm), at_a_time):
        hearing.feed(pcm[start : start + at_a_time])
        hearing.catch_up(1, lambda _: None)
    hearing.finish(lambda _: None)
    return hearing


def test_the_prompt_declares_the_tools_before_the_sound(choice: Choice) -> None:
    quote = '<|"|>'
    assert TOKENS.decode(choice.before(TOOLS[1:])) == (
        f"<bos><|turn>system\n{INSTRUCTION}<|tool>declaration:stop{{description:{quote}Stop everything.{quote},"
        f"parameters:{{type:{quote}OBJECT{quote}}}}}<tool|><turn|>\n<|turn>user\n<|audio>"
    )
    assert choice.before(TOOLS)[-1] == TOKENS.marks.audio


@pytest.mark.parametrize("samples", [32_000, 31_999, 31_361, 640, 161])
def test_the_margin_is_that_of_one_pass_over_everything(choice: Choice, samples: int) -> None:
    """Cached prompt, soft tokens of the caption, sound through the graph without a head: nothing of it shows."""
    pcm = SOUND[:samples]
    hearing = heard(pcm, 2_560)
    choice.remember("u", hearing)
    decision = choice.decide("u", pcm, TOOLS)

    plain = Decoder(GRAPHS.embed, GRAPHS.decoder)
    _, past = plain.read(plain.empty, choice.before(TOOLS))
    (logits,), _ = plain.read(plain.hear(past, hearing.soft), PROMPT.behind)
    exact = logits.astype(np.float64)
    chances = np.exp(exact - exact.max()) / np.exp(exact - exact.max()).sum()
    call = TOKENS.id("<|tool_call>")
    assert decision.margin == pytest.approx(math.log(chances[call] / (1 - chances[call])), abs=1e-3)
    assert (decision.call, decision.problem, decision.steps) == (None, None, 1)


@pytest.mark.parametrize("at_a_time", [640, 1_000, 7_777])
def test_a_call_keeps_to_its_schema_and_is_the_same_from_memory_and_from_sound(choice: Choice, at_a_time: int) -> None:
    decisions = []
    for second in range(4):
        pcm = recording()[second * 20_000 :][:24_000]
        choice.remember("u", heard(pcm, at_a_time))
        remembered = choice.decide("u", pcm, TOOLS, least_margin=ANY)
        afresh = choice.decide("other", pcm, TOOLS, least_margin=ANY)
        assert remembered.call is not None
        assert remembered.call == afresh.call
        assert remembered.margin == pytest.approx(afresh.margin, abs=1e-3)
        schema = next(tool.parameters for tool in TOOLS if tool.name == remembered.call.name)
        Draft202012Validator(schema).validate(remembered.call.arguments)
        decisions.append(remembered)
    assert len({decision.margin for decision in decisions}) == 4  # the sound matters
    assert all(decision.steps < decision.tokens for decision in decisions)
    assert decisions[0].timings_ms.keys() == {"prompt", "prefill", "decoder", "mask"}


def test_what_is_remembered_is_of_the_same_sound(choice: Choice) -> None:
    choice.remember("u", heard(SOUND[:16_000], 640))
    assert choice.decide("u", SOUND, TOOLS).margin == choice.decide("other", SOUND, TOOLS).margin


def test_as_much_is_remembered_as_there_is_room_for(choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    hearing = heard(SOUND, 640)
    for number in range(UTTERANCES + 1):
        choice.remember(f"u{number}", hearing)
    encoded: list[int] = []
    monkeypatch.setattr("streamd.engines.gemma.hearing.Hearing.feed", lambda _, pcm: encoded.append(len(pcm)))
    for number in range(UTTERANCES + 1):
        choice.decide(f"u{number}", SOUND, TOOLS)
    assert encoded == [len(SOUND)]


def test_the_prompt_of_a_set_of_tools_is_read_once(choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    reads = Decoder.read

    def counted(self: Decoder, cache: object, tokens: list[int], keep: int = 1) -> object:
        read.append(len(tokens))
        return reads(self, cache, tokens, keep)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "read", counted)
    sets = [TOOLS, TOOLS[:1], TOOLS[1:]]
    assert len(sets) > SETS
    for tools, times in ((sets[0], 1), (sets[0], 0), (sets[1], 1), (sets[0], 0), (sets[2], 1), (sets[0], 1)):
        read.clear()
        choice.decide("u", SOUND, tools)
        assert read == times * [len(choice.before(tools))] + [len(PROMPT.behind)]


def test_an_engine_that_is_prepared_makes_nothing_for_its_first_choice(
    engine: GemmaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def guide(file: Path) -> Guide:
        made.append(file)
        return Guide(file)

    monkeypatch.setattr("streamd.engines.gemma.choice.Guide", guide)
    engine.prepare(TOOLS)
    monkeypatch.setattr(Choice, "before", lambda *_: pytest.fail("the tools are read again"))
    engine.decide("u", SOUND, TOOLS, Context())
    assert made == [MODEL / "tokenizer.json"]


@pytest.mark.parametrize("samples", [0, 1, 160, 16_000])
def test_nothing_is_asked_about_silence(samples: int) -> None:
    engine = build({**OPTIONS, "tool_margin": ANY})
    silence = np.zeros(samples, np.int16)
    engine.advance("u", silence, True, Context(), first=True)
    for name in ("u", "other"):
        decision = engine.decide(name, silence, TOOLS, Context())
        assert (decision.call, decision.margin, decision.steps) == (None, -math.inf, 0)


def test_bad_input(engine: GemmaEngine) -> None:
    assert isinstance(engine, CallsTools)
    with pytest.raises(UnavailableError, match=r"31\.0 s without a pause are more than Gemma hears"):
        engine.decide("u", np.zeros(31 * 16_000, np.int16), TOOLS, Context())
    bad = Tool("go", "", {"type": "object", "properties": {"x": {"type": "string", "format": "date"}}})
    with pytest.raises(ConfigError, match=r"tool go: parameters\.x: format: can't be enforced"):
        engine.decide("u", SOUND, [bad], Context())


@pytest.fixture
def engine() -> GemmaEngine:
    return build(OPTIONS)


async def test_from_sound_to_a_call_through_the_worker_s_process() -> None:
    spec = EngineSpec("gemma", {**OPTIONS, "tool_margin": -100.0})
    async with EngineHost(spec, deadline_s=60, start_deadline_s=60) as host:
        pcm = SOUND.tobytes()
        for end in (16_000, 40_000, len(pcm)):
            await host.advance("u", pcm[:end], end == len(pcm), Context())
        remembered = await host.decide("u", pcm, TOOLS, Context())
        assert remembered.call is not None
        afresh = await host.decide("never heard", pcm, TOOLS, Context())
        assert afresh.call == remembered.call
        schema = next(tool.parameters for tool in TOOLS if tool.name == remembered.call.name)
        Draft202012Validator(schema).validate(remembered.call.arguments)
        with pytest.raises(EngineFailed, match="ConfigError: tool go: parameters: type"):
            await host.decide("u", pcm, [Tool("go", "", {"type": "array", "items": {"type": "string"}})], Context())
        assert host.respawns == 0
