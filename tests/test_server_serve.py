"""The port: opening it, closing it, TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from streamd.core.events import Welcome
from streamd.errors import ConfigError, UnavailableError
from streamd.metrics import Metrics
from streamd.server import serve
from streamd.settings import Server
from tests.needs import need
from tests.served import PlayedHub, closed, event, served

Loop = Callable[..., Any]


async def refused(**settings: object) -> str:
    """The reason for which no server opens."""
    with pytest.raises((UnavailableError, ConfigError)) as error:
        async with serve(Server.model_validate({"port": 0, **settings}), PlayedHub(), Metrics()):
            pass
    return str(error.value)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_busy_port_is_named(run: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = run(refused(port=port))
    assert text == (
        f"127.0.0.1:{port} is in use: stop the program that listens there, or choose another port with --port"
    )


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_address_of_another_machine_is_named(run: Loop) -> None:
    text = run(refused(host="192.0.2.1", insecure=True, tokens={"viewer": ["a-long-secret"]}))
    assert text == "server.host '192.0.2.1' is not an address of this machine: see --host"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_host_that_is_none_is_named(run: Loop) -> None:
    text = run(refused(host="no such host.invalid", insecure=True, tokens={"viewer": ["a-long-secret"]}))
    assert text.startswith("server.host 'no such host.invalid' is not an address of this machine")


async def test_a_port_below_1024_needs_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    async def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", denied)
    assert await refused(port=80) == (
        "127.0.0.1:80 is not permitted: ports below 1024 belong to root; choose another with --port"
    )


async def test_any_other_trouble_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", full)
    assert await refused(port=8765) == "127.0.0.1:8765 can't be opened: Too many open files"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")],
)
async def test_the_address_can_be_opened_in_a_browser(host: str, url: str) -> None:
    settings = Server(host=host, port=0, insecure=True, tokens={"viewer": ["a-long-secret"]})
    async with serve(settings, PlayedHub(), Metrics()) as serving:
        assert serving.url == f"{url}{serving.port}/"


async def test_where_it_listens_everywhere_other_machines_are_told_an_address() -> None:
    settings = Server(host="0.0.0.0", port=0, insecure=True, tokens={"viewer": ["a-long-secret"]})
    async with serve(settings, PlayedHub(), Metrics()) as serving, httpx.AsyncClient(trust_env=False) as client:
        host = httpx.URL(serving.url).host
        assert host != "0.0.0.0"
        assert (await client.get(f"{serving.url}healthz")).status_code == 200


async def test_without_a_network_its_name_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError(101, os.strerror(101))

    settings = Server(host="0.0.0.0", port=0, insecure=True, tokens={"viewer": ["a-long-secret"]})
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    async with serve(settings, PlayedHub(), Metrics()) as serving:
        assert serving.url == f"http://{socket.gethostname()}:{serving.port}/"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_both_event_loops_serve(run: Loop) -> None:
    async def talk() -> None:
        hub = PlayedHub()
        async with served(hub) as client:
            async with client.audio() as speaker:
                await speaker.send(b"\0" * 64_000)
                await speaker.send('{"type": "end"}')
                assert (await closed(speaker))[0] == 1000
            async with client.events() as reader:
                assert isinstance((await event(reader)).body, Welcome)
                assert (await event(reader)).body.type == "final"
            assert (await client.get("/")).status_code == 200

    run(talk())


async def test_a_connection_that_says_nothing_cannot_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers open connections in advance."""
    port = sys.modules["streamd.server.serve"]  # the package has a function of that name
    monkeypatch.setattr(port, "DRAIN_S", 0.05)
    monkeypatch.setattr(port, "CLOSE_S", 0.0)
    async with served(PlayedHub()) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.serving.port)
        writer.write(b"GET / HT")
        await writer.drain()
    try:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    finally:
        writer.close()


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody has signed, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(folder: Path, *options: str) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *(options or ["-nodes"])], check=True, capture_output=True)
    return cert, key


async def test_everything_is_served_over_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    hub = PlayedHub("room")
    context = ssl.create_default_context(cafile=str(cert))
    async with served(hub, tls_cert=cert, tls_key=key) as client:
        assert client.url == f"https://127.0.0.1:{client.serving.port}"
        async with client.events(ssl=context) as socket:
            assert isinstance((await event(socket)).body, Welcome)
        async with client.audio(ssl=context) as socket:
            await socket.send(b"\0" * 1_280)
            await socket.send('{"type": "end"}')
            assert (await closed(socket))[0] == 1000
        reader, writer = await asyncio.open_connection("127.0.0.1", client.serving.port, ssl=context)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nok\n")
        writer.close()
        await writer.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", client.serving.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_certificates_that_are_none_are_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    missing = tmp_path / "missing.pem"
    assert await refused(tls_cert=missing, tls_key=key) == (
        f"server.tls_cert {missing}: No such file or directory; it must be a readable PEM file"
    )
    assert (await refused(tls_cert=cert, tls_key=tmp_path)).startswith(f"server.tls_key {tmp_path}: Is a directory")
    assert "are not a certificate and its key in PEM form" in await refused(tls_cert=key, tls_key=cert)


async def test_a_key_with_a_passphrase_is_refused_without_asking(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "-passout", "pass:secret")
    assert await refused(tls_cert=cert, tls_key=key) == (
        f"server.tls_key {key} is encrypted: store it without a passphrase"
    )
