"""What readers see, in a real browser: the captions page, the overlay, the list, and the browser's microphone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, ViewportSize, WebSocket, async_playwright, expect
from websockets.asyncio.client import connect

from streamd.core.events import Command, CommandState, Status
from streamd.core.wire import Answer
from tests.e2e.stage import Stage
from tests.needs import CHROMIUM, need

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
FAKE_MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
VIEWPORT = ViewportSize(width=900, height=500)
AUSTEN = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of "
    "a wife."
)

# The place of each of the first `count` characters of the last utterance, relative to its paragraph.
PLACES = """count => {
  const line = document.querySelector("#captions").lastElementChild;
  const origin = line.getBoundingClientRect();
  const places = [];
  const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (let i = 0; i < node.length && places.length < count; i++) {
      const range = document.createRange();
      range.setStart(node, i);
      range.setEnd(node, i + 1);
      const box = range.getBoundingClientRect();
      places.push([Math.round(box.left - origin.left), Math.round(box.top - origin.top)]);
    }
  return places;
}"""

# Contrast of an element's text by WCAG 2.2, relative luminance.
CONTRAST = """element => {
  const luminance = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let back = element;
  while (getComputedStyle(back).backgroundColor === "rgba(0, 0, 0, 0)") back = back.parentElement;
  const pair = [getComputedStyle(element).color, getComputedStyle(back).backgroundColor].map(luminance);
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    path = need(*CHROMIUM)
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", *QUIET, *FAKE_MICROPHONE]
        launched = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, stage: Stage) -> AsyncIterator[Page]:
    """A blank page. Whatever the console complains of fails the test: the content policy and errors do."""
    context = await browser.new_context(viewport=VIEWPORT, color_scheme="dark")
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield opened
    await context.close()
    assert [text for text in complaints if "WebSocket connection" not in text] == []  # a lost line may be told


class Wire:
    """What a page asked for and sent over its connections, as the browser tells."""

    def __init__(self, page: Page) -> None:
        self.events: list[dict[str, str]] = []  # the query of each connection of the reader
        self.audio: list[dict[str, str]] = []  # and of the microphone
        self.frames: list[bytes] = []  # of sound
        self.texts: list[str] = []
        self._changed = asyncio.Event()
        page.on("websocket", self._opened)

    async def until_frames(self, count: int, *, loud: bool = False) -> None:
        async with asyncio.timeout(20):
            while len(self.frames) < count or (loud and not any(frame.strip(b"\0") for frame in self.frames)):
                await self._changed.wait()

    def _opened(self, socket: WebSocket) -> None:
        address = urlsplit(socket.url)
        asked = self.audio if address.path.endswith("/audio") else self.events
        asked.append(dict(parse_qsl(address.query)))
        socket.on("framesent", self._sent)

    def _sent(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            self.frames.append(payload)
        else:
            self.texts.append(payload)
        self._changed.set()
        self._changed = asyncio.Event()


@pytest.fixture
def wire(page: Page) -> Wire:
    return Wire(page)


def microphone(page: Page) -> Locator:
    return page.get_by_role("button", name="Use this device")


async def shows(page: Page, *texts: str) -> None:
    await expect(page.locator("#captions p")).to_have_text(list(texts))


# The captions page


async def test_shows_what_was_said_and_what_is_being_said(page: Page, stage: Stage, wire: Wire) -> None:
    stage.say("First.", "Second.")
    await page.goto(stage.url)
    await shows(page, "First.", "Second.")
    stage.partial(stage.begin(), "my fellow", " Americans")
    await shows(page, "First.", "Second.", "my fellow Americans")
    await expect(page.locator("#captions .tentative").last).to_have_text("Americans")
    assert wire.events == [{}]
    assert await page.title() == "room · live captions"


async def test_a_final_takes_the_place_of_its_partial(page: Page, stage: Stage) -> None:
    utterance = stage.begin()
    stage.partial(utterance, "my", " fella")
    await page.goto(stage.url)
    await shows(page, "my fella")
    stage.final(utterance, "my fellow")
    await shows(page, "my fellow")
    await expect(page.locator("#captions p")).to_have_class(["utterance final"])


async def test_an_utterance_without_words_goes(page: Page, stage: Stage) -> None:
    utterance = stage.begin()
    stage.partial(utterance, "", "hm")
    await page.goto(stage.url)
    await shows(page, "hm")
    stage.final(utterance, "")
    await shows(page)


async def test_an_interruption_is_told_in_its_place(page: Page, stage: Stage) -> None:
    stage.say("First.")
    stage.gap(4_000)
    stage.say("Second.")
    await page.goto(stage.url)
    await shows(page, "First.", "[captions interrupted 4 s]", "Second.")


async def test_words_that_stand_never_move(page: Page, stage: Stage) -> None:
    """Whatever comes after them, character by character, over several lines."""
    await page.goto(stage.url)
    utterance, words = stage.begin(), AUSTEN.split()
    before: list[list[int]] = []
    for number in range(1, len(words)):
        stable = " ".join(words[:number])
        guess = f" {words[number]} or something else altogether that is long"[: 7 * (number % 5)]
        stage.partial(utterance, stable, guess)
        await shows(page, (stable + guess).strip())
        places = await page.evaluate(PLACES, len(stable))
        assert places[: len(before)] == before
        before = places
    stage.final(utterance, AUSTEN)
    await shows(page, AUSTEN)
    assert (await page.evaluate(PLACES, len(before))) == before
    assert len({top for _, top in before}) > 2


async def test_a_second_reading_corrects_a_line_where_it_stands(page: Page, stage: Stage) -> None:
    """Unless a line would move for it: then the transcript has it, and the page stays as it is."""
    await page.goto(stage.url)
    first, second = stage.begin(), stage.begin()
    stage.final(first, "Ask mister Lasagne.")
    stage.final(second, "He is here.")
    log = page.get_by_role("log")
    await expect(log.locator("p")).to_have_text(["Ask mister Lasagne.", "He is here."])
    place = await page.locator("#captions p").last.bounding_box()
    stage.revise(first, "Ask mister Lasecki.")
    await shows(page, "Ask mister Lasecki.", "He is here.")
    stage.revise(second, AUSTEN)
    stage.say("Yes.")
    await shows(page, "Ask mister Lasecki.", "He is here.", "Yes.")
    await expect(log.locator("p")).to_have_text(["Ask mister Lasagne.", "He is here.", "Yes."])
    now = await page.locator("#captions p").nth(1).bounding_box()
    assert place is not None
    assert now is not None
    assert (now["height"], now["width"]) == (place["height"], place["width"])


async def test_words_stay_where_they_are_when_they_come_to_stand(page: Page, stage: Stage) -> None:
    """The two halves differ in colour and line, never in the room that they take."""
    await page.goto(stage.url)
    utterance = stage.begin()
    stage.partial(utterance, AUSTEN[:40], AUSTEN[40:])
    await shows(page, AUSTEN)
    before = await page.evaluate(PLACES, len(AUSTEN))
    stage.final(utterance, AUSTEN)
    await expect(page.locator("#captions .final")).to_have_count(1)
    assert await page.evaluate(PLACES, len(AUSTEN)) == before


async def test_a_selection_outlives_what_is_said_next(page: Page, stage: Stage) -> None:
    utterance = stage.begin()
    stage.partial(utterance, "ask not what", " your")
    await page.goto(stage.url)
    await shows(page, "ask not what your")
    text = "document.querySelector('#captions .stable').firstChild"
    await page.evaluate(f"getSelection().setBaseAndExtent({text}, 4, {text}, 7)")
    stage.final(utterance, "ask not what your country can do for you")
    await shows(page, "ask not what your country can do for you")
    assert await page.evaluate("getSelection().toString()") == "not"


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_everything_can_be_read(page: Page, stage: Stage, scheme: str) -> None:
    """Contrast is 7:1 at least (WCAG 2.2, 1.4.6), and what may still change looks different."""
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    stage.say("First.")
    stage.gap(4_000)
    stage.partial(stage.begin(), "my fellow", " Americans")
    await page.goto(stage.url)
    await shows(page, "First.", "[captions interrupted 4 s]", "my fellow Americans")
    texts = ("#captions .final", "#captions .interruption", "#captions p:last-child .tentative")
    for place in (*texts, "#status", "button", "#transcript", "#transcript a", "#session"):
        assert await page.locator(place).first.evaluate(CONTRAST) >= 7, place
    style = "element => [getComputedStyle(element).color, getComputedStyle(element).textDecorationLine]"
    assert await page.locator("#captions .tentative").last.evaluate(style) != await page.locator(
        "#captions .stable"
    ).last.evaluate(style)


async def test_new_lines_stand_at_the_bottom_and_in_sight(page: Page, stage: Stage) -> None:
    await page.goto(stage.url)
    stage.say("First.")
    last = page.locator("#captions p").last
    await expect(last).to_have_text("First.")
    first = await last.bounding_box()
    assert first
    assert first["y"] > VIEWPORT["height"] / 2
    stage.say(*[f"{number}. {AUSTEN}" for number in range(20)])
    await expect(last).to_have_text(f"19. {AUSTEN}")
    await expect(last).to_be_in_viewport(ratio=1)


async def test_scrollback_stays_where_the_reader_is(page: Page, stage: Stage) -> None:
    stage.say(*[f"{number}. {AUSTEN}" for number in range(20)])
    await page.goto(stage.url)
    last, button = page.locator("#captions p").last, page.get_by_role("button", name="Back to live")
    await expect(last).to_be_in_viewport(ratio=1)
    await expect(button).to_be_hidden()
    await page.locator("#scroller").evaluate("element => { element.scrollTop = 300 }")
    await expect(button).to_be_visible()
    stage.say("Something new.")
    await expect(last).to_have_text("Something new.")
    assert await page.locator("#scroller").evaluate("element => element.scrollTop") == 300
    await button.click()
    await expect(last).to_be_in_viewport(ratio=1)
    await expect(button).to_be_hidden()
    stage.say("And more.")
    await expect(last).to_have_text("And more.")
    await expect(last).to_be_in_viewport(ratio=1)


async def test_the_way_back_covers_nothing_that_is_read(page: Page, stage: Stage) -> None:
    stage.say(*[f"{number}. {AUSTEN}" for number in range(20)])
    await page.goto(stage.url)
    await shows(page, *[f"{number}. {AUSTEN}" for number in range(20)])
    before = await page.locator("#scroller").bounding_box()
    await page.locator("#scroller").evaluate("element => { element.scrollTop = 300 }")
    button = page.get_by_role("button", name="Back to live")
    await expect(button).to_be_visible()
    box, captions = await button.bounding_box(), await page.locator("#scroller").bounding_box()
    assert box is not None
    assert captions is not None
    assert captions == before
    assert box["y"] >= captions["y"] + captions["height"]


async def test_what_is_copied_is_there_once(page: Page, stage: Stage) -> None:
    stage.say(AUSTEN)
    await page.goto(stage.url)
    await shows(page, AUSTEN)
    await expect(page.get_by_role("log")).to_contain_text(AUSTEN)
    await page.keyboard.press("Control+a")
    assert (await page.evaluate("getSelection().toString()")).count(AUSTEN) == 1


async def test_nothing_is_wider_than_a_narrow_window(page: Page, stage: Stage) -> None:
    """WCAG 2.2, 1.4.10: 320 CSS pixels, also for words that have no place to break."""
    stage.say(AUSTEN, "Donaudampfschifffahrtsgesellschaft" * 3)
    await page.set_viewport_size({"width": 320, "height": 256})
    await page.goto(stage.url)
    await shows(page, AUSTEN, "Donaudampfschifffahrtsgesellschaft" * 3)
    for place in ("documentElement", "querySelector('#scroller')"):
        widths = await page.evaluate(f"[document.{place}.scrollWidth, document.{place}.clientWidth]")
        assert widths[0] <= widths[1]


async def test_says_what_is_happening(page: Page, stage: Stage) -> None:
    stage.status("starting", source=None)
    await page.goto(stage.url)
    status = page.locator("#status")
    await expect(status).to_have_text("Starting the speech engine …")
    stage.status("listening", lag_ms=420)
    await expect(status).to_have_text("Listening · 0.4 s behind · USB microphone")
    await expect(page.locator("#announcer")).to_have_text("Listening")
    stage.status("no_signal")
    await expect(status).to_contain_text("No signal")
    stage.status("source_lost")
    await expect(status).to_contain_text("Source lost")


async def test_comes_back_where_it_left_off(page: Page, stage: Stage, wire: Wire) -> None:
    stage.say("First.")
    await page.goto(stage.url)
    await shows(page, "First.")
    await page.evaluate("document.querySelector('#captions p').dataset.mine = 'yes'")
    await stage.restart()
    stage.say("Second.")
    await shows(page, "First.", "Second.")
    await expect(page.locator("#status")).to_contain_text("Listening")
    assert wire.events[-1] == {"after": "3", "epoch": "e1"}
    assert await page.locator("#captions p").first.get_attribute("data-mine") == "yes"  # not drawn anew


async def test_another_epoch_starts_with_an_empty_page(page: Page, stage: Stage) -> None:
    stage.say("First.")
    await page.goto(stage.url)
    await shows(page, "First.")
    await stage.restart(epoch="e2")
    stage.say("New.")
    await shows(page, "New.")


async def test_waits_for_a_session_that_is_not_there_yet(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.url}?session=hall")
    await expect(page.locator("#status")).to_have_text("No session named hall yet, waiting for it …")
    hall = await stage.hub.open("hall")
    hall.append(Status(state="no_signal"))
    await expect(page.locator("#status")).to_contain_text("No signal", timeout=10_000)


async def test_transcripts_are_one_click_away(page: Page, stage: Stage, wire: Wire) -> None:
    stage.say("First.")
    await page.goto(f"{stage.url}?session=room&token=a%26b")
    links = page.locator("#transcript a")
    await expect(links).to_have_text(["TXT", "SRT", "VTT"])
    address = f"{stage.url}v1/sessions/room/transcript.srt?token=a%26b"
    await expect(links.nth(1)).to_have_attribute("href", address)
    await shows(page, "First.")
    assert wire.events == [{"token": "a&b"}]
    async with page.expect_download() as downloading:
        await links.nth(1).click()
    download = await downloading.value
    assert "First." in (await download.path()).read_text()


async def test_screen_readers_get_finals_only(page: Page, stage: Stage) -> None:
    stage.say("First.")
    await page.goto(stage.url)
    log = page.get_by_role("log")
    await expect(log.locator("p")).to_have_text(["First."])
    await expect(log).to_have_attribute("aria-live", "polite")
    await expect(page.locator("#captions")).to_have_attribute("aria-hidden", "true")
    utterance = stage.begin()
    stage.partial(utterance, "my", " fellow")
    await shows(page, "First.", "my fellow")
    await expect(log.locator("p")).to_have_text(["First."])
    stage.final(utterance, "my fellow Americans")
    await expect(log.locator("p")).to_have_text(["First.", "my fellow Americans"])
    assert await page.locator("#captions [tabindex], #captions a, #captions button").count() == 0


async def test_other_scripts_are_shown_as_they_are_written(page: Page, stage: Stage) -> None:
    stage.partial(stage.begin(), "🎉𐍈", " <b>&amp; ok")
    stage.partial(stage.begin(), "नमस्ते", " दुनिया")
    stage.say("שלום לכולם")
    await page.goto(stage.url)
    await shows(page, "🎉𐍈 <b>&amp; ok", "नमस्ते दुनिया", "שלום לכולם")
    await expect(page.locator("#captions .stable").first).to_have_text("🎉𐍈")
    direction = "element => getComputedStyle(element).direction"
    assert [await line.evaluate(direction) for line in await page.locator("#captions p").all()] == ["ltr", "ltr", "rtl"]


# The text page


async def test_the_list_holds_finals(page: Page, stage: Stage) -> None:
    stage.say("First.", "Second.")
    utterance = stage.begin()
    stage.partial(utterance, "my", " fellow")
    await page.goto(f"{stage.url}text")
    items = page.get_by_role("log").get_by_role("list").get_by_role("listitem")
    await expect(items).to_have_text(["First.", "Second."])
    stage.final(utterance, "my fellow Americans")
    await expect(items).to_have_text(["First.", "Second.", "my fellow Americans"])
    await expect(page.get_by_role("status")).to_have_text("Listening")


# The overlay


async def test_the_overlay_is_air_around_its_lines(page: Page, stage: Stage) -> None:
    stage.say(*[f"{number}. {AUSTEN}" for number in range(5)])
    await page.goto(f"{stage.url}overlay")
    await shows(page, f"3. {AUSTEN}", f"4. {AUSTEN}")
    for element in ("documentElement", "body"):
        assert await page.evaluate(f"getComputedStyle(document.{element}).backgroundColor") == "rgba(0, 0, 0, 0)"
    box = await page.locator("#captions").bounding_box()
    assert box
    assert box["y"] + box["height"] == pytest.approx(VIEWPORT["height"], abs=1)
    assert box["height"] == pytest.approx(2 * 1.35 * 48 + 2 * 0.3 * 48, abs=1)


async def test_the_overlay_is_empty_before_the_first_word(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.url}overlay")
    await expect(page.locator("html")).to_have_attribute("style", re.compile("--lines"))
    assert await page.locator("#captions").bounding_box() is None
    assert (await page.inner_text("body")).strip() == ""


async def test_the_overlay_looks_as_its_address_says(page: Page, stage: Stage) -> None:
    stage.say(AUSTEN, AUSTEN, AUSTEN)
    await page.goto(f"{stage.url}overlay?size=20&lines=3&fg=ffcc00&bg=navy&font=serif&align=center")
    await shows(page, AUSTEN, AUSTEN, AUSTEN)
    style = await page.locator("#captions").evaluate(
        "e => { const s = getComputedStyle(e); "
        "return [s.fontSize, s.color, s.backgroundColor, s.fontFamily, s.textAlign, s.maxHeight] }"
    )
    assert style == ["20px", "rgb(255, 204, 0)", "rgb(0, 0, 128)", "serif", "center", "81px"]


async def test_the_overlay_ignores_what_is_no_style(page: Page, stage: Stage) -> None:
    stage.say("First.")
    await page.goto(f"{stage.url}overlay?size=huge-ish&lines=-4&fg=url(x)&align=;x")
    await shows(page, "First.")
    style = "e => [getComputedStyle(e).fontSize, getComputedStyle(e).color]"
    assert await page.locator("#captions").evaluate(style) == ["48px", "rgb(255, 255, 255)"]


async def test_the_overlay_shows_no_trouble_on_air(page: Page, stage: Stage, wire: Wire) -> None:
    stage.say("First.")
    await page.goto(f"{stage.url}overlay")
    await shows(page, "First.")
    await stage.restart()
    assert await page.inner_text("body") == "First."
    stage.say("Second.")
    await shows(page, "First.", "Second.")
    assert len(wire.events) > 1


# The browser's microphone


async def test_the_microphone_sends_frames_of_40_ms(page: Page, stage: Stage, wire: Wire) -> None:
    await page.goto(stage.url)
    await microphone(page).click()
    await wire.until_frames(10, loud=True)  # the browser's fake microphone beeps once a second
    rate = int(wire.audio[0]["rate"])
    assert wire.audio == [{"rate": str(rate), "format": "s16le", "events": "0"}]
    assert {len(frame) for frame in wire.frames} == {2 * rate * 40 // 1_000}
    await expect(page.locator("#microphone-status")).to_have_text(re.compile("Listening to .+"))
    await page.get_by_role("button", name="Stop the microphone").click()
    await expect(microphone(page)).to_be_visible()
    await expect(page.locator("#status")).to_have_text("Ended")
    assert wire.texts == ['{"type":"end"}']
    assert len(stage.room.heard) >= 10 * 1_280  # at 16 kHz, as the session hears it


async def test_a_session_that_has_a_source_can_be_taken_over(page: Page, stage: Stage, wire: Wire) -> None:
    await page.goto(f"{stage.url}?token=t")
    async with connect(f"ws{stage.url.removeprefix('http')}v1/sessions/room/audio?rate=16000", proxy=None) as other:
        await other.send(bytes(6_400))
        await stage.room.until_heard(1)
        await microphone(page).click()
        await expect(page.locator("#microphone-status")).to_have_text("This session has a source already.")
        wire.frames.clear()  # the refused attempt may have sent some
        wire.audio.clear()
        await page.get_by_role("button", name="Take over").click()
        await other.wait_closed()
        assert (other.close_code, other.close_reason) == (4409, "taken over")
    await wire.until_frames(1)
    assert (wire.audio[-1]["takeover"], wire.audio[-1]["token"]) == ("1", "t")
    await expect(page.get_by_role("button", name="Take over")).to_be_hidden()


async def test_the_microphone_tells_that_it_was_taken_over(page: Page, stage: Stage, wire: Wire) -> None:
    await page.goto(stage.url)
    await microphone(page).click()
    await wire.until_frames(1)
    address = f"ws{stage.url.removeprefix('http')}v1/sessions/room/audio?rate=16000&takeover=1"
    async with connect(address, proxy=None):
        await expect(page.locator("#microphone-status")).to_have_text("Another source has taken over.")
        await expect(page.get_by_role("button", name="Take over")).to_be_visible()


async def test_the_microphone_comes_back_after_a_lost_connection(page: Page, stage: Stage, wire: Wire) -> None:
    await page.goto(stage.url)
    await microphone(page).click()
    await wire.until_frames(1)
    await stage.restart()
    await expect(page.locator("#microphone-status")).to_have_text(re.compile("Listening to .+"))
    wire.frames.clear()
    await wire.until_frames(1)
    assert wire.audio[-1]["takeover"] == "1"


@pytest.mark.parametrize(
    ("error", "text"),
    [("NotAllowedError", "was not permitted"), ("NotFoundError", "No microphone was found"), ("Oops", "t be used")],
)
async def test_says_why_there_is_no_microphone(page: Page, stage: Stage, error: str, text: str) -> None:
    await page.add_init_script(
        f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('why', '{error}') }}"
    )
    await page.goto(stage.url)
    await microphone(page).click()
    await expect(page.locator("#microphone-status")).to_contain_text(text)
    await expect(microphone(page)).to_be_visible()


async def test_says_that_plain_http_gets_no_microphone(page: Page, stage: Stage) -> None:
    await page.add_init_script("Object.defineProperty(globalThis, 'isSecureContext', { value: false })")
    await page.goto(stage.url)
    await microphone(page).click()
    await expect(page.locator("#microphone-status")).to_contain_text("only to pages that come over https")


# Commands


def told(stage: Stage, state: CommandState, command_id: str = "c1", **more: Any) -> None:
    fields: dict[str, Any] = {"name": "set_speed", "params": {"rpm": 95}, "utterance": 1, **more}
    stage.put(Command(command_id=command_id, state=state, **fields))


def ask(stage: Stage, command_id: str = "c1", **more: Any) -> None:
    question = {"prompt": "Set press two to 95? (set_speed: rpm = 95)", "confirm": "readback"} | more
    told(stage, "awaiting_confirmation", command_id, **question)


async def box(locator: Locator) -> tuple[float, ...]:
    found = await locator.bounding_box()
    assert found is not None
    return found["x"], found["y"], found["width"], found["height"]


async def test_a_question_is_answered_with_large_buttons(page: Page, stage: Stage, wire: Wire) -> None:
    await page.goto(stage.url)
    await expect(page.get_by_role("region", name="Commands")).to_be_hidden()
    ask(stage)
    await expect(page.get_by_role("alert")).to_have_text("Set press two to 95? (set_speed: rpm = 95)")
    confirm, deny = page.get_by_role("button", name="Confirm"), page.get_by_role("button", name="Deny")
    await expect(confirm).to_have_attribute("aria-disabled", "false")
    (x, _, width, height), (left, _, width_2, _) = await box(confirm), await box(deny)
    assert min(width, width_2, height) >= 96, "a finger in a glove"
    assert x >= left + width_2 + 16
    await confirm.click()
    await stage.room.until_answers(1)
    told(stage, "succeeded")
    await expect(page.locator("#command-told")).to_have_text("Done: set_speed (rpm 95)")
    await expect(page.get_by_role("alert")).to_have_text("")
    await expect(confirm).to_be_hidden()
    assert stage.room.answers[0][0] == Answer("c1", True)


@pytest.mark.parametrize(("path", "counts"), [("overlay", False), ("text", False), ("", True)])
async def test_a_question_is_shown_by_pages_that_show_it(page: Page, stage: Stage, path: str, counts: bool) -> None:
    await page.goto(f"{stage.url}{path}")
    ask(stage)
    stage.say("hello there")
    await expect(page.get_by_text("hello there").first).to_be_attached()
    assert bool(stage.room.shown) is counts


async def test_the_keyboard_answers_and_a_code_word_goes_along(page: Page, stage: Stage) -> None:
    await page.goto(stage.url)
    ask(stage, confirm="codeword", codeword="amber")
    await expect(page.locator("#command-word")).to_have_text("Code word: amber")
    deny = page.get_by_role("button", name="Deny")
    await expect(deny).to_have_attribute("aria-disabled", "false")
    await deny.focus()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await stage.room.until_answers(1)
    assert stage.room.answers[0][0] == Answer("c1", True, "amber")


async def test_nothing_moves_and_nothing_is_hit_that_has_just_appeared(page: Page, stage: Stage) -> None:
    await page.goto(stage.url)
    ask(stage)
    confirm, deny = page.get_by_role("button", name="Confirm"), page.get_by_role("button", name="Deny")
    await expect(confirm).to_have_attribute("aria-disabled", "false")
    places = await box(confirm), await box(deny)
    told(stage, "expired", reason="nobody confirmed it in time")
    ask(stage, "c2", prompt="Open the guard of press two and of all others? " * 6)
    await expect(page.get_by_role("alert")).to_contain_text("Open the guard")
    await confirm.click(force=True)  # meant for the former question
    assert (await box(confirm), await box(deny)) == places
    await expect(confirm).to_have_attribute("aria-disabled", "false")
    await deny.click()
    await stage.room.until_answers(1)
    assert [answer for answer, _ in stage.room.answers] == [Answer("c2", False)]


async def test_what_is_held_can_be_cancelled_and_what_is_in_doubt_be_settled(page: Page, stage: Stage) -> None:
    await page.goto(stage.url)
    told(stage, "proposed", expires_ms=5)
    await expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    await expect(page.locator("#command-yes")).to_be_hidden()
    told(stage, "dispatched", prompt="Was it done?", confirm="outcome")
    await expect(page.get_by_role("button", name="It was done")).to_be_visible()
    await expect(page.get_by_role("button", name="It was not done")).to_be_visible()


async def test_who_may_not_answer_has_no_buttons(browser: Browser) -> None:
    context = await browser.new_context(viewport=VIEWPORT)
    page = await context.new_page()
    async with Stage(tokens={"viewer": ("viewers-secret",)}) as stage:
        await page.goto(f"{stage.url}?session=room&token=viewers-secret")
        ask(stage)
        await expect(page.get_by_role("alert")).to_contain_text("Set press two")
        await expect(page.locator("#command-yes")).to_be_hidden()
        await expect(page.locator("#command-no")).to_be_hidden()
    await context.close()


async def test_the_buttons_speak_the_language_of_the_browser(browser: Browser, stage: Stage) -> None:
    context = await browser.new_context(viewport=ViewportSize(width=360, height=640), locale="de-DE")
    page = await context.new_page()
    await page.goto(stage.url)
    ask(stage, confirm="two_person")
    for name in ("Bestätigen (zwei Personen)", "Ablehnen"):
        button = page.get_by_role("button", name=name)
        assert await button.get_attribute("lang") == "de"
        assert await button.evaluate("button => button.scrollWidth <= button.clientWidth")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    told(stage, "expired", reason="niemand hat es rechtzeitig bestätigt")
    await expect(page.locator("#command-told")).to_contain_text("Nicht ausgeführt: set_speed (rpm 95)")
    await context.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_questions_and_buttons_can_be_read(page: Page, stage: Stage, scheme: Literal["dark", "light"]) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.goto(stage.url)
    ask(stage, confirm="codeword", codeword="amber")
    for element in ("#command-question", "#command-word", "#command-yes", "#command-no"):
        await expect(page.locator(element)).to_be_visible()
        assert await page.locator(element).evaluate(CONTRAST) >= 7


async def test_on_a_phone_the_buttons_stay_large(page: Page, stage: Stage) -> None:
    await page.set_viewport_size(ViewportSize(width=360, height=640))
    await page.goto(stage.url)
    ask(stage)
    for name in ("Confirm", "Deny"):
        _, _, width, height = await box(page.get_by_role("button", name=name))
        assert min(width, height) >= 72
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
