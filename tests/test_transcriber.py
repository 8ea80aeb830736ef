"""Utterances → partials and finals, with an engine that counts: one word for every 0.4 s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from streamd.core.audio import FRAME_BYTES, Frame
from streamd.core.endpoint import Rules
from streamd.core.events import Body, Final, Gap, Partial, Status, Welcome
from streamd.core.log import Log
from streamd.core.segment import Segmenter
from streamd.engines.base import Context, Hypothesis
from streamd.engines.scripted import build
from streamd.feed import Feed
from streamd.metrics import Metrics
from streamd.settings import RecogniseStage
from streamd.transcriber import PAUSE_MS, WAITING_UTTERANCES, Transcriber
from tests.parts import Inline, finals, gaps, until

Script = dict[str, object]

PAUSE_FRAMES = PAUSE_MS // 40
GUARD_S = 20.0
SECOND = 25  # frames
RULES = Rules(pre_roll=0, min_speech=1, hangover=9, soft_max=10 * SECOND, maximum=12 * SECOND, wordless=99 * SECOND)


class Room:
    """A transcriber at work, and somebody who speaks or is silent for so many frames."""

    def __init__(self, stage: RecogniseStage, script: Script, log: Log | None, rules: Rules) -> None:
        self.metrics = Metrics()
        self.log = log or Log("room", "e")
        self.engine = Inline(build(script))
        self.told: list[Body | Welcome] = []
        self._feed = Feed(self.log, self.metrics)
        self._segmenter = Segmenter(rules)
        self._frames = 0
        self.transcriber = Transcriber(self._feed, self._segmenter, self.engine, stage, self.metrics)

    @property
    def position_ms(self) -> int:
        return self._frames * 40

    @property
    def partials(self) -> list[Partial]:
        return [body for body in self.told if isinstance(body, Partial)]

    @property
    def lag_ms(self) -> int:
        return self.transcriber.lag_ms(self.position_ms)

    def say(self, frames: int, probability: float = 0.9) -> None:
        for _ in range(frames):
            for utterance in self._segmenter.feed(Frame(self._frames, bytes(FRAME_BYTES)), probability):
                self.transcriber.open(utterance, Status(state="speech"))
            self._frames += 1
        self.transcriber.grown()

    def pause(self) -> None:
        self.say(RULES.hangover, probability=0.0)

    async def say_slowly(self, seconds: int) -> None:
        """Second by second; each is recognised before the next one."""
        for _ in range(seconds):
            self.say(SECOND)
            await until(lambda: self.lag_ms == 0)

    async def listen(self) -> None:
        seq = 0
        while True:
            await self._feed.wait_newer(seq)
            self.told += [event.body for event in self.log.since(seq)]
            seq = self.log.newest


@asynccontextmanager
async def working(
    stage: RecogniseStage | None = None, script: Script | None = None, log: Log | None = None, rules: Rules = RULES
) -> AsyncIterator[Room]:
    room = Room(stage or RecogniseStage(), script or {}, log, rules)
    async with asyncio.timeout(GUARD_S):
        tasks = [asyncio.create_task(room.transcriber.run()), asyncio.create_task(room.listen())]
        try:
            yield room
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def test_an_utterance_gets_its_final() -> None:
    async with working() as room:
        room.pause()
        room.say(SECOND)
        room.pause()
        await room.transcriber.finished()
        (final,) = finals(room.log)
        assert (final.start_ms, final.end_ms, final.text) == (360, 1_720, "one two three")
        assert (final.engine, final.language, final.fallback) == ("scripted", None, False)
        assert [(word.text, word.start_ms, word.end_ms) for word in final.words] == [
            ("one", 360, 760),
            ("two", 760, 1_160),
            ("three", 1_160, 1_560),
        ]


async def test_an_utterance_s_number_is_that_of_its_announcement() -> None:
    async with working() as room:
        for _ in range(2):
            room.say(SECOND)
            announced = room.log.next_seq - 1
            room.pause()
            await room.transcriber.finished()
            assert finals(room.log)[-1].utterance == announced


async def test_partials_show_what_has_been_said_so_far() -> None:
    async with working() as room:
        await room.say_slowly(3)
        room.pause()
        await room.transcriber.finished()
        assert [partial.text for partial in room.partials] == [
            "one two",
            "one two three four five",
            "one two three four five six seven",
        ]
        assert [partial.rev for partial in room.partials] == [1, 2, 3]
        assert [partial.end_ms for partial in room.partials] == [1_000, 2_000, 3_000]
        assert room.partials[-1].text[: room.partials[-1].committed] == "one two three four five"
        assert finals(room.log)[0].text.startswith("one two three four five")


async def test_what_has_not_changed_is_not_told_again() -> None:
    words = [{"text": " only", "start_s": 0.0, "end_s": 0.5}]
    async with working(script={"utterances": [{"words": words}]}) as room:
        await room.say_slowly(4)
        assert [(partial.text, partial.committed) for partial in room.partials] == [("only", 0), ("only", 4)]


async def test_partials_come_only_with_enough_new_sound() -> None:
    async with working(RecogniseStage(partial_ms=1_000)) as room:
        room.say(1)
        room.say(SECOND - 1)
        await until(lambda: bool(room.told))
        assert room.engine.contexts == []
        room.say(1)
        await until(lambda: bool(room.partials))
        assert len(room.engine.contexts) == 1


async def test_a_partial_that_waited_for_a_block_of_sound_brings_the_next_one_forward() -> None:
    calls = []
    async with working(RecogniseStage(partial_ms=300)) as room:
        for _ in range(8):
            room.say(5)
            for _ in range(10):  # turns of the loop: a call takes one
                await asyncio.sleep(0)
            calls.append(len(room.engine.contexts))
    assert calls == [0, 1, 1, 2, 3, 3, 4, 5]


async def test_one_guess_that_stops_early_does_not_end_what_readers_see() -> None:
    async with working(rules=replace(RULES, wordless=2 * SECOND)) as room:
        await room.say_slowly(4)
        seen, advance = room.partials[-1].text, room.engine.advance

        async def stray(utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis:
            room.engine.advance = advance  # type: ignore[method-assign]
            hypothesis = await advance(utterance_id, pcm, last, context)
            return replace(hypothesis, words=hypothesis.words[:1])

        room.engine.advance = stray  # type: ignore[method-assign]
        await room.say_slowly(3)
        assert room.engine.advance is advance
        assert finals(room.log) == []
        assert room.partials[-1].text.startswith(seen)


async def test_without_partials_an_utterance_is_heard_once() -> None:
    async with working(RecogniseStage(partials=False)) as room:
        room.say(3 * SECOND)
        room.pause()
        await room.transcriber.finished()
        assert len(room.engine.contexts) == 1
        assert room.partials == []


async def test_while_the_engine_is_busy_only_the_newest_partial_waits() -> None:
    async with working() as room:
        room.engine.may_answer.clear()
        for _ in range(20):
            room.say(10)
            await asyncio.sleep(0)
        room.engine.may_answer.set()
        await until(lambda: len(room.partials) == 2)
        assert [partial.end_ms for partial in room.partials] == [400, room.position_ms]


async def test_finals_come_in_the_order_of_what_was_said() -> None:
    async with working() as room:
        room.engine.may_answer.clear()
        for length in (1, 3, 2):
            room.say(length * SECOND)
            room.pause()
        room.engine.may_answer.set()
        await room.transcriber.finished()
        assert [final.end_ms - final.start_ms for final in finals(room.log)] == [1_360, 3_360, 2_360]


async def test_the_pipe_waits_when_finals_are_waited_for() -> None:
    async with working() as room:
        room.engine.may_answer.clear()
        for number in range(WAITING_UTTERANCES + 1):
            assert room.transcriber.waiting == number
            await room.transcriber.room()
            room.say(SECOND)
            room.pause()
        waiting = asyncio.create_task(room.transcriber.room())
        await until(lambda: room.metrics.registry.get_sample_value("streamd_queue_fill", LABELS) == 5)
        assert not waiting.done()
        room.engine.may_answer.set()
        await waiting
        await room.transcriber.finished()
        assert room.metrics.registry.get_sample_value("streamd_queue_fill", LABELS) == 0


LABELS = {"queue": "utterances", "session": "room"}


async def test_the_lag_is_the_sound_that_was_not_recognised_yet() -> None:
    async with working() as room:
        assert room.lag_ms == 0
        room.engine.may_answer.clear()
        room.say(2 * SECOND)
        assert room.lag_ms == 2_000
        room.engine.may_answer.set()
        room.pause()
        await room.transcriber.finished()
        assert room.lag_ms == 0


async def test_without_partials_nothing_is_due_before_the_end() -> None:
    async with working(RecogniseStage(partials=False)) as room:
        room.say(2 * SECOND)
        assert room.lag_ms == 0
        room.pause()
        assert room.lag_ms >= 2_000


async def test_what_is_said_after_the_end_is_given_up_at_once() -> None:
    async with working() as room:
        await asyncio.sleep(0)
    room.say(2 * SECOND)
    room.pause()
    assert [final.fallback for final in finals(room.log)] == [True]
    assert room.transcriber.waiting == 0


async def test_a_split_is_heard_afresh() -> None:
    """The engine had heard more than what belongs to the utterance in the end."""
    async with working() as room:
        room.engine.may_answer.clear()
        room.say(RULES.maximum - SECOND)
        await asyncio.sleep(0)
        room.say(2, probability=0.4)  # the quietest place
        room.say(SECOND)
        room.engine.may_answer.set()
        await until(lambda: bool(finals(room.log)))
        room.pause()
        await room.transcriber.finished()
        first, second = finals(room.log)
        assert first.end_ms == second.start_ms
        assert second.end_ms == room.position_ms
        assert len(first.text.split()) == (first.end_ms - first.start_ms) // 400
        assert room.engine.forgotten == [f"room/{first.utterance}"]
        assert first.utterance not in [partial.utterance for partial in room.partials]


async def test_a_split_spares_what_was_shown_for_good() -> None:
    async with working() as room:
        await room.say_slowly(11)
        shown_ms = room.partials[-1].start_ms + 400 * len(room.partials[-1].text[: room.partials[-1].committed].split())
        room.say(SECOND)
        await until(lambda: bool(finals(room.log)))
        assert finals(room.log)[0].end_ms >= shown_ms > 4_000


async def test_the_engine_is_told_what_it_may_know() -> None:
    async with working(RecogniseStage(language="de", vocabulary=("Lasecki",))) as room:
        for _ in range(2):
            room.say(SECOND)
            room.pause()
            await room.transcriber.finished()
        context = room.engine.contexts[-1]
        assert (context.language, context.vocabulary) == ("de", ("Lasecki",))
        assert context.previous == "one two three"
        assert finals(room.log)[-1].language == "de"


async def test_what_was_said_before_is_handed_on_in_moderation() -> None:
    async with working(script={"utterances": ["word " * 100]}) as room:
        room.say(SECOND)
        room.pause()
        room.say(SECOND)
        room.pause()
        await room.transcriber.finished()
        assert room.engine.contexts[0].language is None
        assert 100 < len(room.engine.contexts[-1].previous) <= 200


async def test_no_half_of_an_expected_name_is_shown_for_good() -> None:
    for name, shown in (("Lasecki", {0}), ("Lasagne", {0, len("Lase")})):
        async with working(RecogniseStage(vocabulary=(name,)), {"utterances": [{"text": "Lase"}]}) as room:
            await room.say_slowly(4)
            assert {partial.committed for partial in room.partials} == shown


async def test_a_failed_partial_costs_nothing_but_the_partial() -> None:
    async with working() as room:
        room.engine.failing = True
        room.say(SECOND)
        await until(lambda: room.transcriber.fault is not None)
        assert room.transcriber.fault == "the engine is out of order"
        assert room.lag_ms == 0
        room.engine.failing = False
        room.pause()
        await room.transcriber.finished()
        assert finals(room.log)[0].text == "one two three"
        assert room.partials == []
        assert room.transcriber.fault is None


async def test_without_the_engine_what_was_shown_for_good_stays() -> None:
    async with working() as room:
        await room.say_slowly(3)
        room.engine.failing = True
        room.pause()
        await room.transcriber.finished()
        (final,), (gap,) = finals(room.log), gaps(room.log)
        assert (final.text, final.fallback) == ("one two three four five", True)
        assert gap == Gap(start_ms=2_000, end_ms=3_360, reason="engine")


async def test_what_is_open_when_the_work_ends_is_given_up() -> None:
    async with working() as room:
        await room.say_slowly(3)
        room.engine.may_answer.clear()
        room.pause()
        room.say(SECOND)
        room.pause()
        await until(lambda: room.transcriber.waiting == 2)
    assert [(final.text, final.fallback) for final in finals(room.log)] == [
        ("one two three four five", True),
        ("", True),
    ]
    assert [(gap.start_ms, gap.end_ms) for gap in gaps(room.log)] == [(2_000, 3_360), (3_360, 4_720)]
    assert room.transcriber.waiting == 0
    await room.transcriber.finished()


@pytest.mark.parametrize("script", [{}, {"utterances": ["a final is  as  it is"]}])
async def test_words_make_up_the_text(script: Script) -> None:
    async with working(script=script) as room:
        room.say(5 * SECOND)
        room.pause()
        await room.transcriber.finished()
        (final,) = finals(room.log)
        assert isinstance(final, Final)
        assert " ".join(word.text for word in final.words).split() == final.text.split() != []


def spoken(*languages: str) -> Script:
    """Utterances whose language the engine is sure of."""
    return {"utterances": [{"text": "well", "language": tag} for tag in languages]}


async def utter(room: Room, *seconds: int) -> list[str | None]:
    """Speak for so long, once for each of `seconds`; the languages of the finals."""
    for length in seconds:
        room.say(length * SECOND)
        room.pause()
        await room.transcriber.finished()
    return [final.language for final in finals(room.log)]


async def test_the_language_of_a_session_needs_more_than_a_moment_to_change() -> None:
    stage = RecogniseStage(languages=("de", "en"))
    async with working(stage, spoken("en", "en", "de", "en", "de")) as room:
        assert await utter(room, 6, 6, 1, 1, 8) == ["en", "en", "en", "en", "de"]
        assert set(room.engine.contexts[-1].languages) == {"de", "en"}


async def test_within_an_utterance_the_language_stays_once_words_do() -> None:
    async with working(script=spoken("fr")) as room:
        await room.say_slowly(1)
        assert room.engine.contexts[-1].language is None
        await room.say_slowly(3)
        assert room.engine.contexts[-1].language == "fr"
        room.pause()
        await room.transcriber.finished()
        room.say(SECOND)
        await until(lambda: room.lag_ms == 0)
        assert room.engine.contexts[-1].language is None


async def test_a_session_that_comes_back_goes_on_in_its_language() -> None:
    past = Log("room", "e")
    past.append(Final(utterance=1, start_ms=0, end_ms=9, text="Oui.", language="fr", engine="scripted"), 0)
    past.append(Final(utterance=2, start_ms=9, end_ms=10, text="", language="nn", engine="scripted"), 0)
    async with working(script=spoken("de"), log=past) as room:
        assert (await utter(room, 1))[-1] == "fr"


async def test_a_translation_tells_what_it_was_made_from() -> None:
    async with working(RecogniseStage(task="translate"), spoken("pl")) as room:
        await utter(room, 1)
        (final,) = finals(room.log)
        assert (final.language, final.translated_from) == ("en", "pl")
        assert room.engine.contexts[-1].task == "translate"


async def test_what_is_in_the_wanted_language_already_is_no_translation() -> None:
    async with working(RecogniseStage(task="translate"), spoken("en")) as room:
        await utter(room, 1)
        (final,) = finals(room.log)
        assert (final.language, final.translated_from) == ("en", None)


async def test_a_translation_may_be_into_another_language_than_english() -> None:
    async with working(RecogniseStage(task="translate", target_language="it"), spoken("pl")) as room:
        await utter(room, 1)
        (final,) = finals(room.log)
        assert (final.language, final.translated_from) == ("it", "pl")
        assert room.engine.contexts[-1].target_language == "it"


async def test_in_a_pause_the_final_is_made_out_beforehand() -> None:
    async with working(script={"utterances": [{"text": "that is all"}]}) as room:
        room.say(SECOND)
        await until(lambda: room.lag_ms == 0)
        room.say(PAUSE_FRAMES, probability=0.0)
        await until(lambda: bool(room.partials) and room.partials[-1].text == "that is all")
        calls = len(room.engine.contexts)
        room.say(RULES.hangover - PAUSE_FRAMES, probability=0.0)
        await room.transcriber.finished()
        assert [body.text for body in finals(room.log)] == ["that is all"]
        assert len(room.engine.contexts) == calls
        assert len(room.engine.forgotten) == 1


async def test_who_goes_on_after_a_pause_is_heard_again() -> None:
    async with working(script={"utterances": [{"text": "that is all"}]}) as room:
        room.say(SECOND)
        await until(lambda: room.lag_ms == 0)
        room.say(PAUSE_FRAMES, probability=0.0)
        await until(lambda: room.engine.contexts[-1].thorough)
        room.say(1)
        room.pause()
        await room.transcriber.finished()
        assert room.engine.forgotten == []
        assert [body.end_ms for body in finals(room.log)] == [room.position_ms]
