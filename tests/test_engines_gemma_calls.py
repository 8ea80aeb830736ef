"""Calls under the grammar, written by models that know nothing: only the grammar can keep them right."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tokenizers import Tokenizer

from streamd.core.tools.grammar import grammar
from streamd.core.tools.syntax import CALL, QUOTE, written
from streamd.core.tools.tool import Tool, ToolCall
from streamd.engines.gemma.calls import Calls, Guide, Logits
from streamd.errors import ConfigError, UnavailableError
from tests.tool_schemas import TOOLS
from tests.tool_tokens import CONTROL, WORDS, tokenizer

SPEED = Tool(
    "set_speed",
    "Set the speed of a press, in rpm.",
    {
        "type": "object",
        "properties": {
            "speed": {"type": "integer", "minimum": 0, "maximum": 120},
            "press": {"type": "string", "enum": ["press_1", "press_12", "press_2"]},
            "note": {"type": "string", "maxLength": 8},
        },
        "required": ["press", "speed"],
    },
)
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]  # of a busy machine; fixtures hold no state
CALL_ID = CONTROL.index(CALL)
QUOTE_ID = CONTROL.index(QUOTE)
TURN_END = CONTROL.index("<turn|>")


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Guide:
    """Of a vocabulary with words of several characters, so that a text can be spelled in several ways."""
    return _guide(tmp_path_factory.mktemp("words"), tokenizer(WORDS))


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Guide:
    """Of a vocabulary that has one way only to spell a text."""
    return _guide(tmp_path_factory.mktemp("letters"), tokenizer(()))


def _guide(folder: Path, tokens: Tokenizer) -> Guide:
    tokens.save(str(folder / "tokenizer.json"))
    return Guide(folder / "tokenizer.json")


class Whim:
    """Logits at random, the same for the same past. Opens a call at once, and ends texts sooner or later."""

    moods = np.random.default_rng(0).normal(0, 3, (2_003, 1_000)).astype(np.float32)

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self.passes: list[list[int]] = []
        self.read: list[int] = []

    def __call__(self, tokens: Sequence[int]) -> Logits:
        self.passes.append(list(tokens))
        self.read += tokens
        past = zlib.crc32(np.array(self.read, np.int32).tobytes(), self._seed)
        logits = self.moods[past % len(self.moods), : self._size].copy()
        logits[QUOTE_ID] += 6
        if len(self.passes) == 1:
            logits[CALL_ID] = 40
        return logits


class Recital(Whim):
    """Wants to write a text, in the spelling of its tokenizer, and then to end its turn."""

    def __init__(self, guide: Guide, text: str) -> None:
        super().__init__(guide.size, 0)
        self._tokens = tokenizer(WORDS).encode(text, add_special_tokens=False).ids

    def __call__(self, tokens: Sequence[int]) -> Logits:
        logits = super().__call__(tokens)
        place = len(self.read) - 1
        logits[CALL_ID] = 0
        logits[self._tokens[place] if place < len(self._tokens) else TURN_END] = 40
        return logits


def exact(value: Any) -> Any:
    """With decimal numbers: binary ones make 0.3 no multiple of 0.1."""
    return json.loads(json.dumps(value), parse_float=Decimal)


@settings(max_examples=1_000, deadline=None, suppress_health_check=SLOW)
@given(tools=TOOLS, seed=st.integers(0, 2**32))
def test_whatever_a_model_thinks_its_calls_are_valid(guide: Guide, tools: list[Tool], seed: int) -> None:
    """A thousand random schemas in a thousand random states, under a validator that knows nothing of grammars."""
    decision = Calls(guide, tools).decide(Whim(guide.size, seed), [2], most_tokens=2_000)
    assert decision.problem is None
    assert decision.call is not None
    schema = next(tool.parameters for tool in tools if tool.name == decision.call.name)
    Draft202012Validator(exact(schema)).validate(exact(decision.call.arguments))
    assert set(decision.call.arguments) <= set(schema["properties"])


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(tools=TOOLS, seed=st.integers(0, 2**32))
def test_forced_tokens_change_nothing_but_the_passes(letters: Guide, tools: list[Tool], seed: int) -> None:
    forced, stepwise = Whim(letters.size, seed), Whim(letters.size, seed)
    with pytest.MonkeyPatch.context() as patch:
        quick = Calls(letters, tools).decide(forced, [2], most_tokens=4_000)
        patch.setattr("streamd.engines.gemma.calls.LLMatcher.compute_ff_tokens", lambda _: [])
        slow = Calls(letters, tools).decide(stepwise, [2], most_tokens=4_000)
    assert quick.call is not None
    assert (quick.call, quick.margin, quick.narrowest, quick.tokens) == (
        *(slow.call, slow.margin, slow.narrowest, slow.tokens),
    )
    assert stepwise.read[: len(forced.read)] == forced.read
    assert quick.steps == len(forced.passes) < slow.steps == slow.tokens


@pytest.mark.parametrize("press", ["press_1", "press_12", "press_2"])
@pytest.mark.parametrize("note", [None, "", "now", 'a"b{}', "größe😀", "},x:{", "<b>\\"])
def test_a_call_that_a_model_wants_is_written_whichever_way_its_words_are_cut(
    guide: Guide, monkeypatch: pytest.MonkeyPatch, press: str, note: str | None
) -> None:
    call = ToolCall("set_speed", {"press": press, "speed": 112} | ({} if note is None else {"note": note}))
    calls = Calls(guide, [SPEED, Tool("stop", "")])
    quick = calls.decide(Recital(guide, written(call)), [2])
    monkeypatch.setattr("streamd.engines.gemma.calls.LLMatcher.compute_ff_tokens", lambda _: [])
    slow = calls.decide(Recital(guide, written(call)), [2])
    assert quick.call == slow.call == call
    assert quick.steps < slow.steps


def test_forced_tokens_are_read_together_with_the_next_choice(guide: Guide) -> None:
    call = ToolCall("set_speed", {"press": "press_2", "speed": 95})
    model = Recital(guide, written(call))
    decision = Calls(guide, [SPEED]).decide(model, [2])
    assert decision.call == call
    assert model.passes[0] == [2]
    assert model.passes[1][0] == CALL_ID
    assert len(model.passes[1]) > 2
    assert decision.steps == len(model.passes) < decision.tokens


@pytest.mark.parametrize("speed", ["350", "-1", "9e9", "1.5"])
def test_what_a_model_wants_against_the_schema_it_does_not_get(guide: Guide, speed: str) -> None:
    model = Recital(
        guide, f"<|tool_call>call:set_speed{{press:~press_1~,speed:{speed}}}<tool_call|>".replace("~", QUOTE)
    )
    decision = Calls(guide, [SPEED]).decide(model, [2])
    assert decision.call is None or 0 <= decision.call.arguments["speed"] <= 120
    assert decision.narrowest is not None


def test_the_margin_is_the_logarithm_of_the_odds_that_a_call_is_opened(guide: Guide) -> None:
    def reads(_: Sequence[int]) -> Logits:
        logits = np.full(guide.size, -np.inf, np.float32)
        logits[[CALL_ID, TURN_END, 5]] = np.log(np.array([0.3, 0.2, 0.5], np.float32))
        return logits

    decision = Calls(guide, [SPEED]).decide(reads, [2])
    assert decision.margin == pytest.approx(math.log(0.3 / 0.7))
    assert decision.call is None
    assert (decision.steps, decision.tokens, decision.narrowest) == (1, 0, None)


def test_a_call_needs_a_margin(guide: Guide) -> None:
    text = written(ToolCall("stop", {}))
    calls = Calls(guide, [Tool("stop", "")])
    margin = calls.decide(Recital(guide, text), [2]).margin
    assert margin > 10
    assert calls.decide(Recital(guide, text), [2], least_margin=margin).call == ToolCall("stop", {})
    assert calls.decide(Recital(guide, text), [2], least_margin=margin + 0.1).call is None


@pytest.mark.parametrize("text", ["none<turn|>", "<turn|>", "Of course!<turn|>"])
def test_whatever_else_a_model_wants_to_say_is_no_call(guide: Guide, text: str) -> None:
    decision = Calls(guide, [SPEED]).decide(Recital(guide, text), [2])
    assert decision.call is None
    assert decision.margin < -10
    assert decision.problem is None


def test_without_tools_there_is_no_call(guide: Guide) -> None:
    assert Calls(guide, []).decide(Whim(guide.size, 1), [2]).call is None


def test_narrowest_is_the_closest_choice_that_was_made(guide: Guide) -> None:
    tools = [Tool("a", ""), Tool("b", "")]

    def reads(_: Sequence[int]) -> Logits:
        logits = np.zeros(guide.size, np.float32)
        logits[CALL_ID] = 20
        logits[tokenizer(WORDS).token_to_id("b")] = 1.25
        return logits

    decision = Calls(guide, tools).decide(reads, [2])
    assert decision.call == ToolCall("b", {})
    assert decision.narrowest == pytest.approx(1.25)


def test_a_call_without_an_end_is_none(guide: Guide) -> None:
    text = written(ToolCall("say", {"words": "x" * 150}))
    words = {"type": "object", "properties": {"words": {"type": "string"}}}
    calls = Calls(guide, [Tool("say", "", words)])
    assert calls.decide(Recital(guide, text), [2]).problem is None
    decision = calls.decide(Recital(guide, text), [2], most_tokens=100)
    assert decision.call is None
    assert decision.problem == "the call is longer than 100 tokens"
    assert decision.margin > 10


def test_a_text_that_nothing_can_end_is_no_call(guide: Guide) -> None:
    words = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^a$"}}, "required": ["x"]}

    def reads(_: Sequence[int]) -> Logits:
        logits = np.full(guide.size, -np.inf, np.float32)
        logits[CALL_ID] = 0
        return logits

    decision = Calls(guide, [Tool("go", "", words), Tool("stop", "")]).decide(reads, [2])
    assert decision.call is None
    assert decision.problem == "nothing can follow <|tool_call>call:"


def test_what_a_grammar_lets_through_is_checked_again(guide: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.engines.gemma.calls.grammar", lambda _, marks: grammar([Tool("set_speed", "")], marks))
    decision = Calls(guide, [SPEED]).decide(Recital(guide, written(ToolCall("set_speed", {}))), [2])
    assert decision.call is None
    assert decision.problem == "set_speed: arguments: 'press' is a required property"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 3])
def test_logits_that_are_no_numbers(guide: Guide, bad: float, place: int) -> None:
    whim = Whim(guide.size, 1)

    def reads(tokens: Sequence[int]) -> Logits:
        logits = whim(tokens)
        if len(whim.passes) > place:
            logits[17] = bad
        return logits

    with pytest.raises(UnavailableError, match="the model gave no numbers"):
        Calls(guide, [SPEED]).decide(reads, [2])


def test_logits_of_another_vocabulary(guide: Guide) -> None:
    with pytest.raises(UnavailableError, match=rf"the model writes \(9,\) logits, tokenizer.json has {guide.size}"):
        Calls(guide, [SPEED]).decide(lambda _: np.zeros(9, np.float32), [2])


def test_more_logits_than_tokens_are_padding(guide: Guide) -> None:
    def reads(_: Sequence[int]) -> Logits:
        logits = np.zeros(guide.size + 50, np.float32)
        logits[CALL_ID] = 20
        logits[guide.size :] = 15
        return logits

    assert Calls(guide, [Tool("stop", "")]).decide(reads, [2]).call == ToolCall("stop", {})


def test_control_tokens_that_the_tokenizer_does_not_call_special(tmp_path: Path) -> None:
    tokens = Tokenizer.from_str(tokenizer(WORDS).to_str().replace('"special":true', '"special":false'))
    tokens.save(str(tmp_path / "tokenizer.json"))
    guide = Guide(tmp_path / "tokenizer.json")
    call = ToolCall("set_speed", {"press": "press_2", "speed": 1, "note": "ok"})
    assert Calls(guide, [SPEED]).decide(Recital(guide, written(call)), [2]).call == call


def test_tools_that_cannot_be_kept_to_their_schemas(guide: Guide) -> None:
    bad = Tool("go", "", {"type": "object", "properties": {"when": {"type": "string", "format": "time"}}})
    with pytest.raises(ConfigError, match=r"^tool go: parameters\.when: format: can't be enforced"):
        Calls(guide, [SPEED, bad])


def test_tools_that_llguidance_does_not_take(guide: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.engines.gemma.calls.grammar", lambda *_: f"start: {'(' * 600}")
    with pytest.raises(ConfigError, match="tools set_speed: no grammar can be made of them"):
        Calls(guide, [SPEED])


def test_a_tokenizer_that_is_not_gemma_s(tmp_path: Path) -> None:
    tokens = Tokenizer.from_str(tokenizer(WORDS).to_str().replace("tool_call", "function"))
    tokens.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        UnavailableError, match=r"has no <\|tool_call>, <tool_call\|>: it is not the tokenizer of Gemma 4"
    ):
        Guide(tmp_path / "tokenizer.json")
