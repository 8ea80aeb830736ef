"""The terminal client against a real WebSocket server, and on a real terminal."""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from rich.console import Console
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from streamd.core.events import Body, Ended, Final, Gap, Partial, Revised, Status
from streamd.core.log import Log
from streamd.errors import UnavailableError, UsageError
from streamd.listen import Address, JsonLines, Listener, LiveScreen, News, PlainLines, Screen, Transcript, choose
from tests.needs import need


def final(utterance: int, text: str) -> Final:
    return Final(utterance=utterance, start_ms=0, end_ms=1_000, text=text, engine="e")


def partial(utterance: int, text: str, committed: int) -> Partial:
    return Partial(utterance=utterance, rev=1, start_ms=0, end_ms=1_000, text=text, committed=committed)


@dataclass
class Room:
    """A daemon as far as a reader sees it: one log, served over real sockets."""

    log: Log = field(default_factory=lambda: Log("room", "epoch"))
    refuse: tuple[HTTPStatus, bytes] | None = None
    close: list[tuple[int, str]] = field(default_factory=list)  # how the next connections end, once all is sent
    names: tuple[str, ...] = ("room",)
    targets: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)  # sent after the welcome
    port: int = 0

    def say(self, *bodies: Body) -> None:
        for body in bodies:
            self.log.append(body, 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.tokens.append(request.headers.get("Authorization"))
        if self.refuse:
            status, body = self.refuse
            response = connection.respond(status, "")
            response.body = body
            del response.headers["Content-Length"]
            response.headers["Content-Length"] = str(len(body))
            return response
        if request.path == "/v1/sessions":
            return connection.respond(HTTPStatus.OK, json.dumps({"sessions": [{"name": name} for name in self.names]}))
        return None

    def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        target = connection.request.path
        self.targets.append(target)
        if self.close and self.close[0][0] == 4404:
            connection.close(*self.close.pop(0))
            return
        query = parse_qs(urlsplit(target).query)
        after = query.get("after")
        cursor = self.log.resume(int(after[0]) if after else None, query.get("epoch", [None])[0])
        connection.send(self.log.welcome(cursor, "test", 0).json)
        for message in self.extra:
            connection.send(message)
        for event in self.log.since(cursor):
            connection.send(event.json)
        if self.close:
            connection.close(*self.close.pop(0))
        else:
            connection.recv()  # until the client leaves


@contextmanager
def serving(room: Room, port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    with serve(room.handle, "127.0.0.1", port, process_request=room.answer, ssl=context) as server:
        room.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    with serving(room):
        yield room


class Stop(Exception):  # noqa: N818 - nothing went wrong
    """The test has seen enough."""


class Waits(list[float]):
    """Instead of waiting: notes how long, does what comes next, or stops."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self.steps = list(steps)

    def __call__(self, delay_s: float) -> None:
        self.append(delay_s)
        if not self.steps:
            raise Stop
        self.steps.pop(0)()


class Recorder:
    """A screen that keeps everything."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.notices: list[str] = []
        self.messages: list[str] = []

    def show(self, news: News) -> None:
        self.messages += news.messages
        self.texts += [event.body.text for event in news.events if isinstance(event.body, Final)]

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def close(self) -> None:
        pass


OVER = (Ended(audio_ms=1_000), Status(state="idle"))


def listen(room: Room, screen: Screen, *steps: Callable[[], object], session: str | None = None) -> Waits:
    """Listen to the end of the source, or until there are no more steps between the attempts."""
    waits = Waits(*steps)
    with suppress(Stop):
        Listener(Address.parse(room.url, session), screen, wait=waits).run(once=True)
    return waits


# --- following a session ---


def test_the_first_session_is_followed_to_its_end(room: Room) -> None:
    room.say(final(1, "one"), final(2, "two"), *OVER)
    screen = Recorder()
    assert listen(room, screen) == []
    assert screen.texts == ["one", "two"]
    assert screen.notices == [""]
    assert room.targets == ["/v1/sessions/room/events?commands=0"]


def test_an_end_that_is_followed_by_another_source_is_none(room: Room) -> None:
    room.say(Ended(audio_ms=1), Status(state="listening"), final(3, "on"))
    room.close = [(1001, "stopping")]
    screen = Recorder()
    listen(room, screen)
    assert screen.texts == ["on"]
    assert screen.notices == ["", f"{room.url}: stopping"]


def test_a_program_may_show_what_commands_ask(room: Room) -> None:
    room.say(final(1, "one"), *OVER)
    listen(room, JsonLines(io.StringIO()))
    assert room.targets == ["/v1/sessions/room/events"]


def test_it_resumes_where_it_was(room: Room) -> None:
    """What came before is not asked for again, and nothing is missed."""
    room.say(final(1, "one"))
    room.close = [(1001, "")]
    screen = Recorder()
    waits = listen(room, screen, lambda: room.say(final(2, "two"), *OVER))
    assert screen.texts == ["one", "two"]
    assert room.targets == [
        "/v1/sessions/room/events?commands=0",
        "/v1/sessions/room/events?after=1&epoch=epoch&commands=0",
    ]
    assert waits == [0.5]
    assert screen.notices == ["", f"{room.url}: the connection was closed", ""]


def test_a_reader_that_was_too_slow_comes_back_at_once(room: Room) -> None:
    room.say(final(1, "one"))
    room.close = [(4408, "lag")]
    screen = Recorder()
    assert listen(room, screen, lambda: room.say(*OVER)) == [0]
    assert screen.texts == ["one"]
    assert screen.notices == ["", ""]


def test_it_waits_longer_each_time_and_not_beyond_ten_seconds(room: Room) -> None:
    room.refuse = (HTTPStatus.SERVICE_UNAVAILABLE, b'{"error": "too many"}')
    screen = Recorder()
    assert listen(room, screen, *[lambda: None] * 6) == [0.5, 1, 2, 4, 8, 10, 10]
    assert set(screen.notices) == {f"{room.url}: too many"}


def test_the_wait_is_short_again_after_success(room: Room) -> None:
    room.refuse = (HTTPStatus.SERVICE_UNAVAILABLE, b"")
    room.close = [(1001, "")]

    def recover() -> None:
        room.refuse = None

    assert listen(room, Recorder(), lambda: None, recover, lambda: room.say(*OVER)) == [0.5, 1, 0.5]


def test_a_daemon_that_starts_later_is_found() -> None:
    with serving(room := Room()):
        pass
    room.say(final(1, "late"), *OVER)
    with serving(Room()) as free:
        port = free.socket.getsockname()[1]
    room.port = port
    screen = Recorder()
    running: list[Server] = []
    thread_ends = []

    def start() -> None:
        context = serving(room, port)
        running.append(context.__enter__())
        thread_ends.append(context)

    try:
        listen(room, screen, lambda: None, start)
    finally:
        thread_ends[0].__exit__(None, None, None)
    assert screen.texts == ["late"]
    refused = f"no streamd at http://127.0.0.1:{port}; start it with `streamd run`"
    assert screen.notices == [refused, refused, ""]


def test_a_pipe_that_is_closed_is_no_fault_of_the_connection(room: Room) -> None:
    class Closed(Recorder):
        def show(self, news: News) -> None:
            raise BrokenPipeError

    room.say(final(1, "one"))
    with pytest.raises(BrokenPipeError):
        listen(room, Closed())


def test_without_any_session_it_waits_for_one(room: Room) -> None:
    room.names = ()
    room.say(*OVER)

    def open_one() -> None:
        room.names = ("room",)

    screen = Recorder()
    listen(room, screen, open_one)
    assert screen.notices == [f"{room.url} has no session yet", ""]


def test_a_session_that_does_not_exist_yet_is_waited_for(room: Room) -> None:
    room.close = [(4404, "no session named lab; there are: room")]
    room.say(*OVER)
    screen = Recorder()
    listen(room, screen, lambda: None, session="lab")
    assert f"{room.url}: no session named lab; there are: room" in screen.notices
    assert room.targets == ["/v1/sessions/lab/events?commands=0"] * 2


def test_if_any_session_will_do_another_one_is_taken(room: Room) -> None:
    room.close = [(4404, "gone")]
    room.say(*OVER)

    def rename() -> None:
        room.names = ("other",)

    listen(room, Recorder(), rename)
    assert room.targets[-1] == "/v1/sessions/other/events?commands=0"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (HTTPStatus.UNAUTHORIZED, b'{"error": "a token is needed"}', "a token is needed .*--token or STREAMD_TOKEN"),
        (HTTPStatus.FORBIDDEN, b'{"error": "not from there"}', "not from there"),
        (HTTPStatus.FORBIDDEN, b"<html>", "HTTP status 403"),
    ],
)
@pytest.mark.parametrize("session", [None, "room"])
def test_who_may_not_listen_is_told_so(
    room: Room, session: str | None, status: HTTPStatus, body: bytes, message: str
) -> None:
    room.refuse = (status, body)
    with pytest.raises(UnavailableError, match=message):
        listen(room, Recorder(), session=session)


def test_a_protocol_violation_is_not_repeated(room: Room) -> None:
    room.close = [(1008, "readers send nothing")]
    with pytest.raises(UnavailableError, match="readers send nothing"):
        listen(room, Recorder())


def test_the_token_is_sent_with_every_request(room: Room) -> None:
    room.say(*OVER)
    Listener(Address.parse(room.url, token="geheim"), Recorder()).run(once=True)
    assert room.tokens == ["Bearer geheim"] * 2


def test_types_of_the_future_are_ignored_and_other_rubbish_is_not(room: Room) -> None:
    room.extra = ['{"type":"hologram","seq":1,"session":"room","at_ms":0}']
    room.say(*OVER)
    screen = Recorder()
    assert listen(room, screen) == []
    assert room.extra[0] in screen.messages
    room.extra = ["[]"]
    listen(room, screen)
    assert screen.notices[-1] == f"{room.url} does not answer as streamd does"


def test_a_server_that_says_nothing_is_left(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.listen.client.SILENCE_S", 0.01)
    screen = Recorder()
    listen(room, screen)
    assert screen.notices == ["", f"no sign of life from {room.url} for 0 s"]


def test_another_server_than_streamd(room: Room) -> None:
    for status, session in ((HTTPStatus.OK, None), (HTTPStatus.NOT_FOUND, None), (HTTPStatus.NOT_FOUND, "room")):
        room.refuse = (status, b"hello")
        with pytest.raises(UnavailableError, match=rf"no streamd answers at {room.url} \(.*\): check host and port"):
            listen(room, Recorder(), lambda: None, session=session)


@pytest.mark.parametrize("session", [None, "room"])
def test_another_server_than_one_for_http(session: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, closing_after_hello(server):
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="its answer makes no sense"):
            Listener(Address.parse(url, session), Recorder()).run()


@contextmanager
def closing_after_hello(server: socket.socket) -> Iterator[None]:
    def greet() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

    thread = threading.Thread(target=greet)
    thread.start()
    yield
    thread.join()


def test_a_gateway_to_a_daemon_that_is_not_up_yet_and_a_stand_in_for_one_that_was(room: Room) -> None:
    room.refuse = (HTTPStatus.BAD_GATEWAY, b"<html>")
    room.say(final(1, "one"))
    room.close = [(1001, "")]
    screen = Recorder()

    def stand_in() -> None:
        room.refuse = (HTTPStatus.NOT_FOUND, b"<html>")

    def recover() -> None:
        room.refuse = None

    def end() -> None:
        recover()
        room.say(*OVER)

    listen(room, screen, recover, stand_in, end)
    assert screen.texts == ["one"]
    assert [notice.rpartition(": ")[2] for notice in screen.notices if notice] == [
        "HTTP status 502",
        "the connection was closed",
        "HTTP status 404",
    ]


def test_a_host_that_does_not_exist() -> None:
    waits, screen = Waits(), Recorder()
    with pytest.raises(Stop):
        Listener(Address.parse("http://nowhere.invalid"), screen, wait=waits).run()
    assert screen.notices[0].startswith("no connection to http://nowhere.invalid: ")


def test_a_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.listen.address.TIMEOUT_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        screen = Recorder()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Stop):
            Listener(Address.parse(url), screen, wait=Waits()).run()
    assert screen.notices == [f"no answer from {url}"]


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    openssl, key, cert = need("openssl"), tmp_path / "key.pem", tmp_path / "cert.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([openssl, *request, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    room, screen = Room(), Recorder()
    with serving(room, context=context):
        url = room.url.replace("http", "https")
        with pytest.raises(Stop):
            Listener(Address.parse(url), screen, wait=Waits()).run()
    assert screen.notices == [f"{url} has a certificate that is not trusted (self-signed certificate); {HELP}"]


HELP = "name it in SSL_CERT_FILE"


# --- addresses ---


@pytest.mark.parametrize(
    ("url", "session", "token", "events"),
    [
        ("localhost:9", None, None, "ws://localhost:9/v1/sessions/x/events"),
        ("http://localhost:9/", None, None, "ws://localhost:9/v1/sessions/x/events"),
        ("wss://a.example", None, None, "wss://a.example/v1/sessions/x/events"),
        ("https://a.example/?session=lab&token=t", "lab", "t", "wss://a.example/v1/sessions/x/events"),
        ("ws://[::1]:9/v1/sessions/lab/events?after=3", "lab", None, "ws://[::1]:9/v1/sessions/x/events"),
        ("http://me@a.example:1", None, None, "ws://a.example:1/v1/sessions/x/events"),
    ],
)
def test_addresses_as_people_have_them(url: str, session: str | None, token: str | None, events: str) -> None:
    address = Address.parse(url)
    assert (address.session, address.token) == (session, token)
    view = Listener(address, Recorder()).view
    assert address.events("x", view, shows_commands=True) == events
    assert address.events("x", view, shows_commands=False) == f"{events}?commands=0"


def test_what_is_said_explicitly_wins_and_secrets_are_not_shown() -> None:
    address = Address.parse("http://a/?session=x&token=t", "lab", "geheim")
    assert (address.session, address.token) == ("lab", "geheim")
    assert "geheim" not in repr(address)


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a:port", "http://a:99999", ""])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        Address.parse(url)


# --- screens ---

SCENE = (
    Status(state="listening", source="Mic"),
    final(1, "Hello there."),
    Gap(start_ms=0, end_ms=4_000, reason="overflow"),
    final(3, ""),
    Status(state="no_signal", detail="muted?"),
    partial(9, "and now for", 7),
)


def shown(make: Callable[[io.StringIO], Screen], *scenes: tuple[Body, ...]) -> str:
    """What a screen has written after some scenes, each of them in one go."""
    out = io.StringIO()
    screen = make(out)
    log = Log("room", "epoch")
    view = Listener(Address.parse("http://a"), screen).view
    for scene in scenes:
        events = [log.append(body, 0) for body in scene]
        screen.show(News([event.json for event in events], [event for event in events if view.apply(event)], view))
    screen.close()
    return out.getvalue()


def test_a_pipe_gets_what_was_said_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Transcript, SCENE) == "Hello there.\n[captions interrupted 4 s]\n"
    Transcript(io.StringIO()).notice("trouble")
    assert capsys.readouterr().err == "streamd: trouble\n"


def test_a_pipe_gets_what_a_second_reading_corrects_with_a_mark() -> None:
    told = Revised(utterance=1, start_ms=0, end_ms=1_000, text="Hallo there.", changes=(), engine="large")
    assert shown(Transcript, SCENE, (told,)) == "Hello there.\n[captions interrupted 4 s]\n[corrected] Hallo there.\n"
    assert shown(PlainLines, SCENE, (told,)) == shown(PlainLines, SCENE)  # what was read aloud stays


def test_a_program_gets_every_event_as_it_came() -> None:
    lines = [json.loads(line) for line in shown(JsonLines, SCENE).splitlines()]
    assert [line["type"] for line in lines] == ["status", "final", "gap", "final", "status", "partial"]


def test_a_screen_reader_gets_what_stays_and_what_changes() -> None:
    routine = (Status(state="speech"), Status(state="listening"))
    assert shown(PlainLines, SCENE, routine, routine).splitlines() == [
        "[listening]",
        "Hello there.",
        "[captions interrupted 4 s]",
        "[no signal: muted?]",
        "[listening]",
    ]


def test_notices_are_said_once_and_that_it_is_well_again_too() -> None:
    out = io.StringIO()
    screen = PlainLines(out)
    for notice in ("", "no streamd", "no streamd", "", ""):
        screen.notice(notice)
    assert out.getvalue() == "streamd: no streamd\nstreamd: connected\n"


def test_text_cannot_steer_the_terminal() -> None:
    assert shown(Transcript, (final(1, "red \x1b[31m\r\nbell\x07 \x9b2J"),)) == "red  [31m bell   2J\n"


def test_a_log_of_another_epoch_is_announced(room: Room) -> None:
    room.say(final(1, "one"))
    room.close = [(1001, "")]
    out = io.StringIO()

    def restart() -> None:
        room.log = Log("room", "another")
        room.say(final(1, "again"), *OVER)

    listen(room, PlainLines(out), restart)
    lines = [line for line in out.getvalue().splitlines() if not line.startswith("streamd:")]
    assert lines == ["one", "[captions begin anew]", "again", "[idle]"]


def live(out: io.StringIO, height: int = 10) -> LiveScreen:
    return LiveScreen(Console(file=out, force_terminal=True, width=30, height=height, color_system="standard"))


def test_the_live_view_shows_words_that_may_change_dim() -> None:
    written = shown(live, SCENE)
    assert "Hello there.\n[captions interrupted 4 s]" in written
    assert "and now\x1b[2m for\x1b[0m" in written
    assert "no signal · muted?" in written


def test_the_live_view_says_how_far_it_is_behind() -> None:
    written = shown(live, (Status(state="speech", lag_ms=800, source="Mic", engine="whisper"),))
    assert "speech · 0.8 s behind" in written


def test_the_live_view_says_what_is_wrong_with_the_connection() -> None:
    out = io.StringIO()
    screen = live(out)
    screen.notice("")
    assert "connected" in out.getvalue()
    screen.notice("no streamd")
    screen.close()
    assert "no streamd" in out.getvalue()


def test_the_live_view_keeps_the_end_of_what_does_not_fit() -> None:
    out = io.StringIO()
    shown(lambda _: live(out, height=6), (partial(1, " ".join(f"w{n}" for n in range(100)), 0),))
    assert "w99" in out.getvalue()
    assert "w1 " not in out.getvalue()


def test_the_screen_fits_what_it_writes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    assert isinstance(choose(out=out), Transcript)
    assert isinstance(choose(plain=True, out=out), PlainLines)
    assert isinstance(choose(as_json=True, out=out), JsonLines)
    monkeypatch.setattr(out, "isatty", lambda: True)
    screen = choose(out=out)
    assert isinstance(screen, LiveScreen)
    screen.close()
