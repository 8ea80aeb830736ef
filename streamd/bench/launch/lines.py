"""A socket for peers that have none: s16le in, one JSON object a line out. Runs in the peer's own interpreter."""

import json
import socket
import threading
from collections.abc import Callable, Iterator

HOST = "127.0.0.1"
Tell = Callable[[str, str], None]  # everything that is shown, and what of it is final


class Transcript:
    """Finals and the open part, told to the client at every change. Calls may come from any thread."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._finals: list[str] = []
        self._lock = threading.Lock()

    def partial(self, text: str) -> None:
        """What the open part says now."""
        with self._lock:
            self._tell(text)

    def final(self, text: str) -> None:
        """What the open part said."""
        with self._lock:
            self._finals.append(text.strip())
            self._tell("")

    def _tell(self, tail: str) -> None:
        final = " ".join(self._finals)
        line = json.dumps({"shown": f"{final} {tail.strip()}".strip(), "final": final})
        try:
            self._client.sendall(line.encode() + b"\n")
        except OSError:  # the client is gone, and the server will be
            return


def sound(client: socket.socket, size: int) -> Iterator[bytes]:
    """What the client sends, in pieces of `size` bytes; the last one may be shorter."""
    with client.makefile("rb") as stream:
        while piece := stream.read(size):
            yield piece


def serve_one(port: int, handle: Callable[[socket.socket], None]) -> None:
    """Listen, and handle one client to its end."""
    with socket.create_server((HOST, port)) as server:
        client, _ = server.accept()
        with client:
            handle(client)
