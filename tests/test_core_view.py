"""What a client shows, and that sleeping, waking, resuming and restarting do not change it."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamd.core.events import Ended, Event, Final, Gap, Partial, Status, Vocabulary, Welcome
from streamd.core.log import Log
from streamd.core.view import Interruption, Utterance, View, duration, fold, parse_known
from tests.random_room import VECTORS, cases, dumps, play, portable

FILES = sorted(VECTORS.glob("view_*.json"))
CASES = [(f"{file.stem}: {case['name']}", case) for file in FILES for case in json.loads(file.read_text("utf-8"))]


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_vectors_shared_with_javascript(case: dict[str, Any]) -> None:
    events = (parse_known(json.dumps(message)) for message in case["messages"])
    assert portable(fold(event for event in events if event)) == {"commands": []} | case["view"]


def test_random_vectors_are_those_of_this_code() -> None:
    """After a change of the events: `python -m tests.random_room` writes them anew."""
    assert (VECTORS / "view_random.json").read_text("utf-8") == dumps(cases())


@settings(deadline=None)  # slow machines are no failure
@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 80))
def test_a_sleeping_reader_ends_up_with_the_view_of_an_eager_one(random: Random, steps: int) -> None:
    room = play(random, steps)
    eager, *sleepy = (reader.view for reader in room.readers)
    for view in sleepy:
        if room.crashed:
            view.ended = eager.ended  # an end is not journalled: who slept through a crash never hears of it
        assert view == eager


@settings(deadline=None)  # slow machines are no failure
@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 80))
def test_what_was_committed_stays(random: Random, steps: int) -> None:
    """Whatever a reader hears in one epoch, the text that stood for good still begins each utterance.

    Only a second reading may correct it, and then only once there is a final.
    """
    for reader in play(random, steps).readers:
        view, shown, epoch = View(), dict[int, str](), None
        for text in reader.heard:
            view.apply(Event.parse(text))
            shown, epoch = (shown, epoch) if view.epoch == epoch else ({}, view.epoch)
            now = {item.id: item.stable for item in view.items if isinstance(item, Utterance) and not item.is_revised}
            assert all(now[key].startswith(stable) for key, stable in shown.items() if key in now)
            shown |= now


@settings(deadline=None)  # slow machines are no failure
@given(random=st.randoms(use_true_random=False))
def test_ids_are_in_order_of_time(random: Random) -> None:
    ids = [item.id for item in play(random, 40).readers[0].view.items]
    assert ids == sorted(set(ids))


def test_an_item_keeps_what_its_event_said() -> None:
    log = Log("room", "a")
    log.append(Gap(start_ms=40, end_ms=4_040, reason="overflow"), 1)
    log.append(Final(utterance=5, start_ms=80, end_ms=90, text="Yes.", language="en", engine="scripted"), 2)
    gap, final = fold(log.since(0)).items
    assert isinstance(gap, Interruption)
    assert (gap.start_ms, gap.end_ms, gap.reason) == (40, 4_040, "overflow")
    assert isinstance(final, Utterance)
    assert (final.start_ms, final.end_ms, final.language, final.engine, final.words) == (80, 90, "en", "scripted", ())
    assert final.event == log.since(1)[0]


def test_apply_tells_whether_anything_changed() -> None:
    log, view = Log("room", "a"), View()
    assert view.apply(log.welcome(0, "test", 0))
    assert not view.apply(log.welcome(0, "test", 0))
    partial = log.append(Partial(utterance=9, rev=2, start_ms=0, end_ms=1, text="a", committed=0), 0)
    assert view.apply(partial)
    assert not view.apply(partial)
    assert not view.apply(log.append(Partial(utterance=9, rev=1, start_ms=0, end_ms=1, text="b", committed=0), 0))


def test_a_view_knows_what_is_expected() -> None:
    log, view = Log("room", "a"), View()
    view.apply(log.welcome(0, "test", 0))
    for terms in (("Lasecki",), ("CTranslate2", "Lasecki")):
        log.append(Vocabulary(terms=terms), 0)
    assert [view.apply(event) for event in log.since(0)] == [True]
    assert list(view.vocabulary) == ["CTranslate2", "Lasecki"]
    view.apply(Log("room", "b").welcome(0, "test", 0))
    assert list(view.vocabulary) == []


def test_fold_goes_on_from_a_view() -> None:
    log = Log("room", "a")
    log.append(Status(state="idle"), 0)
    view = fold(log.since(0))
    log.append(Ended(audio_ms=40), 0)
    assert fold(log.since(view.seq), view) is view
    assert view.is_over


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        *((0, "0.1 s"), (40, "0.1 s"), (949, "0.9 s"), (950, "1 s"), (4_400, "4 s"), (119_499, "119 s")),
        *((119_500, "2 min"), (7_169_999, "119 min"), (7_170_000, "2 h"), (90_000_000, "25 h")),
    ],
)
def test_duration(ms: int, text: str) -> None:
    assert duration(ms) == text


def test_parse_known_skips_types_of_later_versions_only() -> None:
    envelope = '"seq":3,"session":"room","at_ms":1'
    event = parse_known(f'{{"type":"ended",{envelope},"audio_ms":5}}')
    assert event
    assert event.body == Ended(audio_ms=5)
    assert parse_known(f'{{"type":"weather",{envelope}}}') is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"ended","seq":1,"session":"a","at_ms":0}'])
def test_parse_known_refuses_what_is_no_event(text: str) -> None:
    with pytest.raises(ValidationError):
        parse_known(text)


def test_a_welcome_may_be_ahead() -> None:
    """A client that asks for a later position than it has seen keeps what it shows."""
    log = Log("room", "a")
    final = log.append(Final(utterance=1, start_ms=0, end_ms=1, text="Yes.", engine="scripted"), 0)
    body = Welcome(epoch="a", oldest=1, newest=9, server="test")
    welcomes = [Event.seal(body, seq=seq, session="room", at_ms=0) for seq in (0, 9)]
    view = fold([welcomes[0], final, welcomes[1]])
    assert (view.seq, len(view.items)) == (9, 1)
