"""Targets of commands that run for real: a web server, an MQTT broker with a press behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiomqtt

from streamd.core.commands.definition import Command, Dispatch, Safety
from streamd.dispatch import Call
from tests.needs import need

START_S = 20.0
CALL = Call("c1", "set_speed", {"machine": "press_2", "rpm": 95})


def command(dispatch: dict[str, Any] | None, **safety: Any) -> Command:
    target = None if dispatch is None else Dispatch.model_validate(dispatch)
    return Command(name="set_speed", sentences={"en": ("set it",)}, safety=Safety(**safety), dispatch=target)


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    key: str | None  # the idempotency key
    body: Any


@dataclass
class Press:
    """A machine with a web server. It does what a POST says and answers with the next of `answers`, 200 at the end.

    An answer of None is none: it hangs up. `gate` holds every POST until it is set.
    """

    url: str
    answers: list[int | None] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=lambda: {"rpm": 0})
    obeys: bool = True
    gate: threading.Event = field(default_factory=threading.Event)
    on_request: Callable[[], object] = lambda: None

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method != "GET"]


@contextmanager
def press(port: int = 0) -> Iterator[Press]:
    """A press that listens on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            machine.seen.append(Seen("GET", self.path, None, None))
            self._answer(200, machine.state)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
            machine.seen.append(Seen("POST", self.path, self.headers.get("Idempotency-Key"), body))
            machine.on_request()
            machine.gate.wait(START_S)
            status = machine.answers.pop(0) if machine.answers else 200
            if status == 200 and machine.obeys and isinstance(body, dict):
                machine.state |= body
            if status is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._answer(status, {"status": status})

        do_PUT = do_POST  # noqa: N815

        def _answer(self, status: int, value: Any) -> None:
            raw = json.dumps(value).encode()
            with contextlib.suppress(OSError):  # who asked may have gone
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", port), Handler)
    machine = Press(f"http://127.0.0.1:{server.server_address[1]}")
    machine.gate.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield machine
    finally:
        machine.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """Mosquitto on a port that stays the same however often it is started."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        self._program = need("mosquitto", "/usr/sbin/mosquitto")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", self._config], stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        if self._process is not None:
            self.resume()
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It is there and says nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    running = Broker(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def mqtt_press(running: Broker, *, obeys: bool = True) -> AsyncIterator[list[aiomqtt.Message]]:
    """A press that hears `press/+/set` and tells its state on `press/NAME/state`. Yields what it has been told."""
    heard: list[aiomqtt.Message] = []
    async with aiomqtt.Client("127.0.0.1", running.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("press/+/set", qos=1)

        async def work() -> None:
            async for message in client.messages:
                heard.append(message)
                if obeys:
                    await client.publish(str(message.topic).replace("set", "state"), message.payload, qos=1)

        task = asyncio.create_task(work())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait([task])
