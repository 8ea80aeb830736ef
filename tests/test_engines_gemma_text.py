"""Gemma's tokens: text becomes tokens, none of the user's text steers the model, and another tokenizer is found out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.engines.gemma.text import Tokens
from streamd.errors import UnavailableError
from tests.gemma_data import MODEL, manifest

TOKENS = Tokens(MODEL)
IDS = manifest()["facts"]["ids"]
CONTROLS = ["<bos>", "<eos>", "<|turn>", "<turn|>", "<|audio>", "<|audio|>", "<|tool_call>", "<|channel>", '<|"|>']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(MODEL / name, tmp_path / name)
    return tmp_path


def change(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_the_marks_are_the_models() -> None:
    marks = TOKENS.marks
    assert (marks.bos, marks.audio, marks.soft) == (IDS["bos"], IDS["begin_audio"], IDS["audio"])
    assert marks.end_of_audio == IDS["end_audio"]
    assert set(IDS["eos"]) == TOKENS.stops
    assert manifest()["facts"]["vocabulary"] == TOKENS.size


@given(st.text(max_size=40).filter(lambda text: "<" not in text))
def test_text_comes_back(text: str) -> None:
    assert TOKENS.decode(TOKENS.encode(text)) == text


@given(st.lists(st.one_of(st.sampled_from(CONTROLS), st.text(max_size=4)), max_size=8))
def test_no_text_is_taken_for_a_control_token_once_it_is_harmless(parts: list[str]) -> None:
    harmless = TOKENS.harmless("".join(parts))
    assert not any(TOKENS.is_control(token) for token in TOKENS.encode(harmless))


def test_what_is_left_over_may_not_make_up_a_new_one() -> None:
    assert TOKENS.harmless("<|tu<turn|>rn>hello<|<|turn>turn>") == "hello"
    assert TOKENS.harmless("2 < 3 | 4 > 1") == "2 < 3 | 4 > 1"
    assert TOKENS.harmless("un<unused7>used [multimodal]it<unused<unused1>2>") == "unused it"


def test_control_tokens_and_thoughts_are_not_spoken() -> None:
    begin, end = TOKENS.id("<|channel>"), TOKENS.id("<channel|>")
    tokens = [500, begin, 501, 502, end, 503, IDS["audio"], 504]
    assert [tokens[place] for place in TOKENS.spoken(tokens)] == [500, 503, 504]
    assert TOKENS.spoken([begin, 501, 502]) == []


@pytest.mark.parametrize("where", ["in the vocabulary", "added"])
def test_nothing_but_text_is_spoken(folder: Path, where: str) -> None:
    """Tokenizers of Gemma add tokens that are not special: unused ones, tags, and also line ends, which are text."""
    names = ["<unused99>", "[multimodal]", "<table>", "<start_of_turn>", "\n\n", "▁▁"]

    def add(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        free = [number for text, number in vocabulary.items() if text.startswith("<unused")]
        content["model"]["vocab"] = {text: number for text, number in vocabulary.items() if number not in free}
        for number, name in zip(free, names, strict=False):
            content["model"]["vocab"][name] = number
            token = content["added_tokens"][0] | {"id": number, "content": name, "special": False}
            if where == "added" or name in names[2:]:
                content["added_tokens"].append(token)

    change(folder / "tokenizer.json", add)
    tokens = Tokens(folder)
    ids = [tokens.id(name) for name in names]
    assert [names[place] for place in tokens.spoken(ids)] == ["\n\n", "▁▁"]
    assert [name for name in names if tokens.harmless(name)] == ["\n\n", "▁▁"]


@pytest.mark.parametrize("mark", ["<|audio>", "<turn|>", "<bos>"])
def test_another_tokenizer_is_named(folder: Path, mark: str) -> None:
    def rename(content: dict[str, Any]) -> None:
        content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != mark]
        content["model"]["vocab"]["other"] = content["model"]["vocab"].pop(mark)

    change(folder / "tokenizer.json", rename)
    with pytest.raises(
        UnavailableError, match=r"tokenizer\.json has no .* it is not the tokenizer of Gemma 4"
    ) as error:
        Tokens(folder)
    assert mark in str(error.value)


def test_a_tokenizer_of_another_gemma_is_told_apart(folder: Path) -> None:
    change(folder / "config.json", lambda content: content.update(audio_token_id=258_881))
    with pytest.raises(UnavailableError, match=r"config\.json has audio_token_id = 258881, but tokenizer\.json 1017"):
        Tokens(folder)


def test_more_tokens_than_the_model_has_are_refused(folder: Path) -> None:
    change(folder / "config.json", lambda content: content["text_config"].update(vocab_size=1_000))
    with pytest.raises(UnavailableError, match=r"tokenizer\.json has 1024 tokens, the model 1000"):
        Tokens(folder)


def test_a_folder_need_not_say_what_it_expects(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert Tokens(folder).marks == TOKENS.marks


@pytest.mark.parametrize("text_config", [None, [], {"vocab_size": None}])
def test_what_it_does_not_say_is_not_compared(folder: Path, text_config: object) -> None:
    change(folder / "config.json", lambda content: content.update(text_config=text_config))
    assert Tokens(folder).marks == TOKENS.marks


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("tokenizer.json", '{"version": "1.0", ', "tokenizer.json is cut short"),
        ("tokenizer.json", '{"a": 1}', "tokenizer.json is no tokenizer"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "tokenizer.json is no tokenizer"),
        ("tokenizer.json", "{nonsense}", "tokenizer.json is no JSON"),
        ("config.json", "{", "config.json is no JSON"),
        ("config.json", "[]", "config.json is no JSON object"),
    ],
)
def test_files_that_are_not_whole_are_named(folder: Path, file: str, content: str | None, complaint: str) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(UnavailableError, match=complaint):
        Tokens(folder)
