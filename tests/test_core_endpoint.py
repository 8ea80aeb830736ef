"""The endpointer: whatever the probabilities, utterances are ordered, disjoint, bounded and ended."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.endpoint import TABLE, Action, Ended, Endpointer, Input, Rules, Started, State

RULES = Rules(pre_roll=3, min_speech=2, hangover=5, soft_max=20, maximum=40)
SPEECH, QUIET = 0.9, 0.1

rules = st.builds(
    Rules,
    pre_roll=st.integers(0, 10),
    min_speech=st.integers(0, 4),
    hangover=st.integers(1, 10),
    soft_max=st.integers(5, 20),
    maximum=st.integers(20, 40),
)
probabilities = st.lists(
    st.tuples(st.floats(0, 1), st.integers(1, 30)).map(lambda run: [run[0]] * run[1]), max_size=20
).map(lambda runs: [p for run in runs for p in run])


def heard(endpointer: Endpointer, sound: list[float]) -> list[Started | Ended]:
    return [event for p in sound for event in endpointer.feed(p)]


def spans(events: list[Started | Ended]) -> list[tuple[int, int]]:
    assert [type(event) for event in events] == [Started, Ended] * (len(events) // 2)
    return [(a.frame, b.frame) for a, b in zip(events[::2], events[1::2], strict=True)]


@given(rules, probabilities)
def test_utterances_are_ordered_disjoint_bounded_and_ended(rules: Rules, sound: list[float]) -> None:
    endpointer = Endpointer(rules)
    events = heard(endpointer, sound) + endpointer.end()
    end_before = 0
    for start, end in spans(events):
        assert end_before <= start <= end <= len(sound)
        assert end - start <= rules.maximum + rules.pre_roll + max(1, rules.min_speech)
        end_before = end
    assert not endpointer.is_open


@given(rules, probabilities)
def test_speech_of_enough_frames_is_never_outside_an_utterance(rules: Rules, sound: list[float]) -> None:
    endpointer = Endpointer(rules)
    covered = {n for start, end in spans(heard(endpointer, sound) + endpointer.end()) for n in range(start, end)}
    run = 0
    for frame, p in enumerate(sound):
        run = run + 1 if p >= rules.threshold else 0
        if run >= max(1, rules.min_speech):
            assert set(range(frame + 1 - run, frame + 1)) <= covered


@given(rules, probabilities)
def test_the_pre_roll_is_complete_unless_another_utterance_ends_there(rules: Rules, sound: list[float]) -> None:
    endpointer = Endpointer(rules)
    end_before = 0
    for start, end in spans(heard(endpointer, sound) + endpointer.end()):
        onset = next((n for n in range(start, end) if sound[n] >= rules.threshold), start)
        assert start == end_before or onset - start >= rules.pre_roll
        end_before = end


def test_every_state_and_input_that_can_meet_is_in_the_table() -> None:
    closed, opened = {State.SILENCE, State.ONSET}, {State.SPEECH, State.PAUSE}
    wanted = {(s, i) for s in closed for i in (Input.QUIET, Input.VOICED, Input.ENOUGH)}
    wanted |= {(s, i) for s in opened for i in (Input.QUIET, Input.VOICED, Input.OVER, Input.WORDLESS, Input.FULL)}
    assert set(TABLE) == wanted
    assert {action for _, action in TABLE.values()} == set(Action)


def test_a_word_with_its_pre_roll_and_hangover() -> None:
    sound = [QUIET] * 10 + [SPEECH] * 6 + [QUIET] * 10
    assert spans(heard(Endpointer(RULES), sound)) == [(7, 21)]


def test_a_click_is_not_speech() -> None:
    assert heard(Endpointer(RULES), [QUIET] * 5 + [SPEECH] + [QUIET] * 20) == []


def test_one_frame_is_enough_where_the_rules_say_so() -> None:
    endpointer = Endpointer(Rules(pre_roll=0, min_speech=1, hangover=1))
    assert spans(heard(endpointer, [QUIET, SPEECH, QUIET])) == [(1, 3)]


def test_hysteresis_keeps_soft_speech_together() -> None:
    sound = [SPEECH] * 3 + [0.4] * 12 + [SPEECH] * 3 + [QUIET] * 5
    assert len(spans(heard(Endpointer(RULES), sound))) == 1


def test_long_speech_ends_at_a_short_pause() -> None:
    sound = [SPEECH] * 30 + [QUIET] * 3 + [SPEECH] * 5
    events = heard(Endpointer(RULES), sound)
    assert isinstance(events[1], Ended)
    assert events[1].reason == "pause"
    assert 30 < events[1].frame <= 33


def test_endless_speech_is_split_at_its_quietest_place() -> None:
    sound = [SPEECH] * 33 + [0.5] + [SPEECH] * 20
    events = heard(Endpointer(RULES), sound)
    assert events[1] == Ended(34, "split") or events[1] == Ended(33, "split")
    assert isinstance(events[2], Started)
    assert isinstance(events[1], Ended)
    assert events[2].frame == events[1].frame


def test_a_split_comes_after_what_was_shown_for_good() -> None:
    endpointer = Endpointer(RULES)
    sound = [SPEECH] * 30 + [0.5] + [SPEECH] * 7
    heard(endpointer, sound)
    endpointer.protect(36)
    event = heard(endpointer, [SPEECH] * 2)[0]
    assert isinstance(event, Ended)
    assert event.frame >= 36


def test_a_split_with_nowhere_to_go_is_here_and_now() -> None:
    endpointer = Endpointer(RULES)
    heard(endpointer, [SPEECH] * 39)
    endpointer.protect(10_000)
    assert heard(endpointer, [SPEECH]) == [Ended(40, "split"), Started(40)]


def test_the_end_of_the_source_ends_the_utterance() -> None:
    endpointer = Endpointer(RULES)
    heard(endpointer, [SPEECH] * 4)
    assert endpointer.end() == [Ended(4, "end")]
    assert endpointer.end() == []


def test_after_an_end_no_pre_roll_reaches_back() -> None:
    endpointer = Endpointer(RULES)
    heard(endpointer, [QUIET] * 10)
    endpointer.end()
    assert heard(endpointer, [SPEECH] * 2) == [Started(10)]


def test_missing_frames_are_skipped_between_utterances_only() -> None:
    endpointer = Endpointer(RULES)
    heard(endpointer, [SPEECH] * 4)
    with pytest.raises(RuntimeError, match="end it first"):
        endpointer.skip_to(100)
    endpointer.end("gap")
    endpointer.skip_to(100)
    assert heard(endpointer, [QUIET, SPEECH, SPEECH]) == [Started(100)]
    assert endpointer.next_frame == 103


def test_sound_without_words_is_cut_off_soon_after_the_last_word() -> None:
    endpointer = Endpointer(Rules(pre_roll=3, min_speech=2, hangover=5, wordless=15))
    assert heard(endpointer, [SPEECH] * 30) == [Started(0)]
    endpointer.heard(words_end=10, upto=24)
    assert endpointer.feed(SPEECH) == []
    endpointer.heard(words_end=10, upto=25)
    assert endpointer.feed(SPEECH) == [Ended(20, "split"), Started(20)]
    assert heard(endpointer, [SPEECH] * 30) == []  # nothing was said in the rest so far


def test_what_readers_were_shown_for_good_is_not_cut_off() -> None:
    endpointer = Endpointer(Rules(pre_roll=3, min_speech=2, hangover=5, wordless=5))
    heard(endpointer, [SPEECH] * 30)
    endpointer.protect(28)
    endpointer.heard(words_end=10, upto=30)
    assert endpointer.feed(SPEECH) == [Ended(28, "split"), Started(28)]


@given(rules, probabilities, st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_whatever_the_recogniser_hears_no_frame_is_lost(rules: Rules, sound: list[float], words: list[int]) -> None:
    endpointer, events = Endpointer(replace(rules, wordless=8)), []
    for frame, p in enumerate(sound):
        if endpointer.is_open:
            endpointer.heard(min(words[frame % len(words)], frame), frame)
        events += endpointer.feed(p)
    events += endpointer.end()
    for before, after in pairwise(events):
        if isinstance(before, Ended) and before.reason == "split":
            assert after == Started(before.frame)
    ends = [end for _, end in spans(events)]
    assert ends == sorted(ends)
