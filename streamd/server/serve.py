"""The port: opened with clear errors, drained and closed in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.http11 import Request, Response

from streamd.bridge import in_thread
from streamd.errors import ConfigError, UnavailableError
from streamd.metrics import Metrics
from streamd.resources import resource
from streamd.server.access import Access
from streamd.server.http import Http, load_files, no_body
from streamd.server.hub import Hub
from streamd.server.relay import CLOSE_S
from streamd.server.sockets import DRAIN_S, Sockets
from streamd.settings import Server

MESSAGE_BYTES = 2**20  # largest message that a client may send
OPEN_S = 60.0  # handshakes, and downloads of transcripts by slow phones
PING_S = 20.0
PONG_S = 60.0  # pongs wait behind sound that a busy session has not taken yet
UNREAD_BYTES = 64 * 2**10  # of a speaking client, in the kernel: 2 s at 16 kHz
UNSENT_BYTES = 4 * 2**10  # to a slow reader, in the kernel: what is here can't be superseded any more


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the server listens."""

    port: int
    url: str


@contextlib.asynccontextmanager
async def serve(server: Server, hub: Hub, metrics: Metrics) -> AsyncIterator[Serving]:
    """Serve while the context lasts; at its end clients get what the logs hold, and all connections are closed.

    Raises UnavailableError if the port can't be had, ConfigError if the certificate is none.
    """
    tls = await in_thread(_tls, server.tls_cert, server.tls_key) if server.tls_cert and server.tls_key else None
    files = await in_thread(lambda: load_files(resource("clients")))
    access = Access(server)
    sockets = Sockets(server, access, hub, metrics)
    listener, connections = await _open(server, sockets, Http(files, access, hub, metrics), tls)
    try:
        yield _where(server, listener)
    finally:
        listener.close(close_connections=False)
        sockets.drain()
        await _wait_closed(listener, connections)


def _tracked(alive: set[ServerConnection]) -> type[ServerConnection]:
    """Connections that are known from their first byte on: browsers open some that they never use.

    Where websockets gives a request up for its body and says nothing, they say why.
    """

    class Connection(ServerConnection):
        _is_answered = False

        def send_data(self) -> None:
            if not self._is_answered and _has_body(self.protocol.handshake_exc):
                self._is_answered = True
                self.transport.write(no_body().serialize())
            super().send_data()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            alive.add(self)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            alive.discard(self)

    return Connection


def _has_body(error: Exception | None) -> bool:
    """Was a request given up for its body, announced with a length or in pieces (Transfer-Encoding)?"""
    reason = error.__cause__ if error else None
    return isinstance(reason, NotImplementedError) or (isinstance(reason, ValueError) and "body" in str(reason))


async def _open(
    server: Server, sockets: Sockets, http: Http, tls: ssl.SSLContext | None
) -> tuple[Listener, set[ServerConnection]]:
    alive: set[ServerConnection] = set()

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        response = await http.answer(request)
        if response:
            connection.close_timeout = OPEN_S  # it includes the time that the body takes
        return response

    try:
        listener = await listen(
            sockets.handle,
            server.host,
            server.port,
            ssl=tls,
            process_request=answer,
            create_connection=_tracked(alive),
            compression=None,  # the messages are small, and compressing each for every reader is not
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            max_size=MESSAGE_BYTES,
            max_queue=1,
            write_limit=1,  # byte: `send` returns once the kernel has it all; with 0, asyncio's TLS stalls
            start_serving=False,
        )
    except OSError as error:
        _explain(error, server)
    for listening in listener.sockets:  # connections inherit these
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    await listener.start_serving()
    return listener, alive


async def _wait_closed(listener: Listener, connections: set[ServerConnection]) -> None:
    """Wait until every connection has had its chance to end well, then for the rest to be dropped."""
    try:
        async with asyncio.timeout(DRAIN_S + CLOSE_S):
            await listener.wait_closed()
    except TimeoutError:
        for connection in list(connections):
            connection.transport.abort()
        await listener.wait_closed()


def _where(server: Server, listener: Listener) -> Serving:
    port = next(iter(listener.sockets)).getsockname()[1]
    everywhere = server.host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    host = _own_address(server.host) if everywhere else server.host
    return Serving(port, f"http{'s' * server.has_tls}://{f'[{host}]' if ':' in host else host}:{port}/")


def _own_address(host: str) -> str:
    """Where other machines reach this one: the address it would send from. Choosing it sends nothing."""
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect((elsewhere, 9))  # an address for documentation (RFC 5737, RFC 3849)
            return str(probe.getsockname()[0])
    except OSError:  # no network
        return socket.gethostname()


def _explain(error: OSError, server: Server) -> NoReturn:
    """Say what to do about a port that can't be opened."""
    place = f"{server.host}:{server.port}"
    match error:
        case socket.gaierror():
            text = f"server.host {server.host!r} is not an address of this machine, nor a name for one: see --host"
        case OSError(errno=errno.EADDRINUSE):
            text = f"{place} is in use: stop the program that listens there, or choose another port with --port"
        case OSError(errno=errno.EACCES):
            text = f"{place} is not permitted: ports below 1024 belong to root; choose another with --port"
        case OSError(errno=errno.EADDRNOTAVAIL):
            text = f"server.host {server.host!r} is not an address of this machine: see --host"
        case _:
            text = f"{place} can't be opened: {error.strerror or error}"
    raise UnavailableError(text) from error


def _tls(cert: Path, key: Path) -> ssl.SSLContext:
    """Blocks. Raises ConfigError that names the file."""
    for setting, path in (("tls_cert", cert), ("tls_key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"server.{setting} {path}: {error.strerror}; it must be a readable PEM file") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def no_password() -> NoReturn:
        raise ConfigError(f"server.tls_key {key} is encrypted: store it without a passphrase")

    try:
        context.load_cert_chain(cert, key, no_password)
    except ssl.SSLError as error:
        raise ConfigError(
            f"server.tls_cert {cert} and server.tls_key {key} are not a certificate and its key in PEM form: "
            f"{error.reason or error}"
        ) from error
    return context
