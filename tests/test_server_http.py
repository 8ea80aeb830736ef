"""Plain GET requests over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from streamd.core.commands.request import Person
from streamd.core.events import Gap
from streamd.core.wire import Answer
from streamd.resources import resource
from streamd.server.http import load_files
from tests.served import PlayedHub, event, final, partial, served

TOKENS = {"viewer": ("viewers-secret",), "speaker": ("speakers-secret",), "operator": ("operators-secret",)}


@pytest.mark.parametrize(
    ("path", "file", "kind", "frames"),
    [
        ("/", "index.html", "text/html; charset=utf-8", "'self'"),
        ("/?session=room", "index.html", "text/html; charset=utf-8", "'self'"),
        ("/overlay?size=40", "overlay.html", "text/html; charset=utf-8", "*"),
        ("/text", "text.html", "text/html; charset=utf-8", "'self'"),
        ("/clients/captions.js", "captions.js", "text/javascript; charset=utf-8", "'self'"),
        ("/clients/captions.css", "captions.css", "text/css; charset=utf-8", "'self'"),
        ("/clients/icon.svg", "icon.svg", "image/svg+xml", "'self'"),
    ],
)
async def test_pages_are_served_as_shipped(path: str, file: str, kind: str, frames: str) -> None:
    shipped = await asyncio.to_thread(lambda: (resource("clients") / file).read_bytes())
    async with served(PlayedHub(), tokens=TOKENS) as client:
        response = await client.get(path)
    assert response.status_code == 200
    assert response.content == shipped
    assert response.headers["Content-Type"] == kind
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    policy = response.headers["Content-Security-Policy"]
    assert policy == f"default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors {frames}"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/clients/",
        "/clients/package.json",
        "/clients/nothing.js",
        "/clients/../pyproject.toml",
        "/clients/%2e%2e/pyproject.toml",
        "/clients/..%2fpyproject.toml",
        "/clients//captions.js",
        "//clients/captions.js",
        "/etc/passwd",
        "/v1",
        "/v1/sessions/",
        "/v1/sessions/room",
        "/%ff%00",
    ],
)
async def test_there_is_nothing_else(path: str) -> None:
    """Raw, as a client would resolve the dots itself."""
    async with served(PlayedHub("room")) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.serving.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'{"error": "there is nothing at /' in answer


def test_only_files_of_known_types_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("index.html", "secret.key", "sub/sound.js", ".env"):
        (tmp_path / name).write_text(name)
    files = load_files(tmp_path)
    assert {address: file.body.decode() for address, file in files.items()} == {
        "/": "index.html",
        "/clients/index.html": "index.html",
        "/clients/sub/sound.js": "sub/sound.js",
    }


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere"])
async def test_head_is_answered_as_get_is_without_the_body(path: str) -> None:
    async with served(PlayedHub()) as client, httpx.AsyncClient(trust_env=False) as http:
        whole, head = await client.get(path), await http.head(f"{client.url}{path}")
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.content))


async def test_health_needs_no_token() -> None:
    hub = PlayedHub()
    async with served(hub, tokens=TOKENS) as client:
        assert (await client.get("/healthz")).text == "ok\n"
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.text) == (200, "ready\n")
        hub.trouble = "the engine is loading"
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "the engine is loading\n")


async def test_sessions_are_listed() -> None:
    async with served(PlayedHub("hall", "attic")) as client, client.events("hall") as socket:
        await event(socket)
        response = await client.get("/v1/sessions")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json() == {"sessions": [{"name": "hall", "readers": 1}, {"name": "attic", "readers": 0}]}


async def test_a_question_is_answered_over_http() -> None:
    hub, path = PlayedHub("room"), "/v1/sessions/room/commands"
    async with served(hub, tokens=TOKENS) as client:
        for token, status in (("nobodys-secret", 401), ("speakers-secret", 403), ("operators-secret", 200)):
            answer = await client.send("POST", f"{path}/c1/confirm?word=amber", Authorization=f"Bearer {token}")
            assert answer.status_code == status
        assert answer.json() == {"command_id": "c1", "answer": "confirm"}
        late = await client.send("POST", f"{path}/c2/deny?token=operators-secret")
        assert (late.status_code, late.json()) == (409, {"error": "there is no such question any more"})
        gone = await client.send("POST", "/v1/sessions/attic/commands/c1/deny?token=operators-secret")
        assert gone.status_code == 404
    (answered, by), (denied, _) = hub["room"].answers
    assert answered == Answer("c1", True, "amber")
    assert denied == Answer("c2", False)
    assert by == Person(hashlib.sha256(b"operators-secret").hexdigest()[:8], "operator")


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_an_answer_is_a_post_and_nothing_else_is(method: str) -> None:
    hub = PlayedHub("room")
    async with served(hub) as client:
        assert (await client.send(method, "/v1/sessions/room/commands/c1/confirm")).status_code in (405, 426)
        for path in ("/", "/v1/states", "/v1/sessions/room/vocabulary"):
            assert (await client.send("POST", path)).status_code == 405
    assert hub["room"].answers == []


async def test_states_of_the_plant_are_told_and_read() -> None:
    hub = PlayedHub("room")
    async with served(hub, tokens=TOKENS) as client:
        for token, status in (("viewers-secret", 403), ("operators-secret", 200)):
            told = await client.send(
                "PUT", "/v1/states?guard=closed&speed=5&ready=true", Authorization=f"Bearer {token}"
            )
            assert told.status_code == status
        known = await client.get("/v1/states", Authorization="Bearer viewers-secret")
        assert known.json() == {"states": {"guard": "closed", "speed": 5, "ready": True}}
        wrong = await client.get("/v1/states?guard=open", Authorization="Bearer viewers-secret")
        assert wrong.status_code == 400
        for state in ("bar=NaN", "bar=1e999", "x" * 65 + "=1", "bar=" + "x" * 201):
            refused = await client.send("PUT", f"/v1/states?{state}", Authorization="Bearer operators-secret")
            assert (refused.status_code, refused.json()["error"][:16]) == (400, "states are names")
        hub.plant = None
        none = await client.get("/v1/states", Authorization="Bearer viewers-secret")
        assert none.status_code == 404
        assert "takes no commands" in none.json()["error"]


async def test_a_vocabulary_is_set_and_read() -> None:
    hub, path = PlayedHub("room"), "/v1/sessions/room/vocabulary"
    async with served(hub) as client:
        assert (await client.get(path)).json() == {"terms": ["CTranslate2"]}
        answer = await client.put(path, ["Lasecki", " Żółć  ", "lasecki"])
        assert (answer.status_code, answer.json()) == (200, {"terms": ["CTranslate2", "Lasecki", "Żółć"]})
        assert (await client.get(path)).json() == answer.json()
        nothing = await client.put(path, [])
        assert (nothing.status_code, "name each term, as in ?term=" in nothing.json()["error"]) == (400, True)
        assert (await client.get(path)).json() == answer.json()
        assert (await client.put(path, [""])).json() == {"terms": ["CTranslate2"]}


@pytest.mark.parametrize(
    "body", ['{"terms": ["Lasecki"]}', "x" * 200_000, ["in", "pieces"]], ids=["json", "x", "pieces"]
)
async def test_a_request_with_a_body_is_told_where_terms_go(body: str | list[str]) -> None:
    """To websockets it is a broken one, which gets no answer."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in body:
            yield piece.encode()

    hub = PlayedHub("room")
    async with served(hub) as client, httpx.AsyncClient(trust_env=False) as http:
        content = body.encode() if isinstance(body, str) else pieces()
        answer = await http.put(f"{client.url}/v1/sessions/room/vocabulary", content=content)
    assert answer.status_code == 415
    assert "in the address, as in …/vocabulary?term=Lasecki" in answer.json()["error"]
    assert hub["room"].vocabulary == ("CTranslate2",)


async def test_a_vocabulary_that_is_none_is_refused() -> None:
    hub, path = PlayedHub("room", limit=1), "/v1/sessions/room/vocabulary"
    async with served(hub) as client:
        for answer, status, reason in (
            (await client.put(path, ["?"]), 400, "terms: '?' is no term: it has neither letters nor digits"),
            (await client.put(path, ["a", "b", "c", "d"]), 400, "too much is expected"),
            (await client.get(f"{path}?term=a"), 400, "terms are set with PUT; GET tells which ones there are"),
            (await client.get("/v1/sessions/attic/vocabulary"), 404, "no session named attic; there are: room"),
            (await client.put("/v1/sessions/attic/vocabulary", ["a"]), 404, "no session named attic; there are: room"),
            (await client.send("PUT", f"{path}?terms=a"), 400, "unknown parameter 'terms'; there are: term, token"),
            (await client.put("/v1/sessions", []), 405, "this address takes GET, HEAD only"),
            (await client.send("POST", path), 405, "this address takes GET, HEAD, PUT only"),
        ):
            assert answer.status_code == status
            assert answer.json() == {"error": reason}
    assert hub["room"].vocabulary == ("CTranslate2",)


async def test_a_vocabulary_is_the_speakers_to_set() -> None:
    hub, path = PlayedHub("room"), "/v1/sessions/room/vocabulary"
    async with served(hub, tokens=TOKENS) as client:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, Authorization="Bearer viewers-secret")).status_code == 200
        assert (await client.put(path, ["a"], Authorization="Bearer viewers-secret")).status_code == 403
        assert (await client.put(path, ["a"], Origin="https://evil.example")).status_code == 403
        assert (await client.put(path, ["a"], Authorization="Bearer speakers-secret")).status_code == 200
    assert hub["room"].vocabulary == ("CTranslate2", "a")


async def test_metrics_tell_of_readers() -> None:
    async with served(PlayedHub("room")) as client, client.events() as socket:
        await event(socket)
        response = await client.get("/metrics")
    assert 'streamd_readers{session="room"} 1.0' in response.text
    assert response.headers["Content-Type"].startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("form", "kind", "text"),
    [
        ("txt", "text/plain", "Größe <1>."),
        ("srt", "application/x-subrip", "00:00:00,000 -->"),
        ("vtt", "text/vtt", "WEBVTT"),
        ("jsonl", "application/jsonl", '"final"'),
    ],
)
async def test_transcripts_are_what_was_said(form: str, kind: str, text: str) -> None:
    hub = PlayedHub("room")
    hub["room"].append(partial(1, "Größe"))
    hub["room"].append(final(1, "Größe <1>."))
    async with served(hub) as client:
        response = await client.get(f"/v1/sessions/room/transcript.{form}")
    assert response.status_code == 200
    assert text in response.text
    assert response.headers["Content-Type"].startswith(kind)
    assert response.headers["Content-Disposition"] == f'inline; filename="room.{form}"'


async def test_a_transcript_of_many_hours_comes_whole() -> None:
    """And to more readers at once than are rendered at a time."""
    hub = PlayedHub("room")
    for utterance in range(5_000):
        hub["room"].append(final(utterance, f"Sentence {utterance} is as long as sentences are in a speech."))
    async with served(hub) as client:
        answers = await asyncio.gather(*(client.get("/v1/sessions/room/transcript.txt") for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert all("Sentence 4999 is" in answer.text for answer in answers)


async def test_what_is_not_there_is_told_as_json() -> None:
    async with served(PlayedHub("room")) as client:
        unknown = await client.get("/v1/sessions/cellar/transcript.txt")
        assert (unknown.status_code, unknown.json()) == (
            404,
            {"error": "no session named cellar; there are: room"},
        )
        odd = await client.get("/v1/sessions/room/transcript.doc")
        assert odd.status_code == 400
        assert odd.json()["error"].startswith("format='doc': should be 'txt'")


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/sessions/room/transcript.txt", "/metrics"])
async def test_what_was_said_needs_a_token(path: str) -> None:
    hub = PlayedHub("room")
    hub["room"].append(Gap(start_ms=0, end_ms=1_000, reason="overflow"))
    async with served(hub, tokens=TOKENS) as client:
        refused = await client.get(path)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert "token" in refused.json()["error"]
        assert (await client.get(f"{path}?token=x")).status_code == 401
        assert (await client.get(f"{path}?token=viewers-secret")).status_code == 200
        assert (await client.get(path, Authorization="Bearer speakers-secret")).status_code == 200


async def test_browsers_come_from_where_they_may() -> None:
    async with served(PlayedHub(), origins=("https://wiki.example",)) as client:
        foreign = await client.get("/v1/sessions", Origin="https://evil.example")
        assert foreign.status_code == 403
        rebound = await client.get("/", Host="evil.example")
        assert rebound.status_code == 403
        allowed = await client.get("/v1/sessions", Origin="https://wiki.example")
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://wiki.example"
        own = await client.get("/v1/sessions", Origin=client.url)
        assert own.status_code == 200
        assert "Access-Control-Allow-Origin" not in own.headers


async def test_other_methods_are_not_allowed() -> None:
    async with served(PlayedHub("room")) as client, httpx.AsyncClient(trust_env=False) as http:
        for method in ("POST", "DELETE", "OPTIONS"):
            response = await http.request(method, f"{client.url}/v1/sessions")
            assert response.status_code == 405
            assert response.headers["Allow"] == "GET, HEAD"
        assert (await http.get(f"{client.url}/v1/sessions/room/events")).status_code == 426
