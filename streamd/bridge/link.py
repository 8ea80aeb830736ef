"""One worker process and the socket pair that joins it to the daemon, from spawn to the last of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

from streamd.engines.base import EngineSpec
from streamd.engines.pipe import (
    HEADER,
    Advance,
    Compare,
    Decide,
    Forget,
    Message,
    PipeError,
    Ready,
    Reply,
    Unavailable,
    body_length,
    pack,
    unpack,
)
from streamd.errors import UnavailableError

log = logging.getLogger(__name__)

CLOSE_S = 2.0  # from the closing of the socket to SIGKILL
OUT_OF_MEMORY = ", as the system does where memory runs out: use a smaller model"
STDERR = 2  # a worker's stdout goes there as well: the daemon's own stdout may carry a transcript

# Engines that use more threads say so themselves; libraries that help themselves to all cores disturb the sound.
ONE_THREAD_EACH = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


# glibc keeps freed memory in an arena for each thread; one for all saves a quarter of a Whisper worker's, at no cost.
# oneDNN keeps the code it made for the last 1,024 shapes: as windows of sound grow, hardly one of them comes again.
_MEMORY = {"MALLOC_ARENA_MAX": "1", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}


class WorkerGone(Exception):  # noqa: N818 - an outcome of calls, handled by the host
    """The worker ended before it answered. `killed`: by us, so that it is not this call's fault."""

    def __init__(self, why: str, *, killed: bool) -> None:
        super().__init__(why)
        self.killed = killed


class WorkerLink:
    """Calls to one worker process. Made by `spawn`, used after `load`, given back by `close`."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._receiver: asyncio.Task[None] | None = None
        self._gone: WorkerGone | None = None
        self.ended = asyncio.Event()  # no more calls; the reason is in `why`
        self.answers = 0
        self.dismissed = False  # killed although nothing is wrong with it

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._gone is None

    @property
    def killed(self) -> bool:
        return self._gone is not None and self._gone.killed

    @property
    def why(self) -> str:
        return str(self._gone or "")

    @classmethod
    async def spawn(cls, spec: EngineSpec) -> WorkerLink:
        """Start a process that loads the engine. Raises OSError where the system has no room for it."""
        ours, theirs = socket.socketpair()
        starting = asyncio.ensure_future(_start(theirs))
        try:
            process = await asyncio.shield(starting)  # it can't be stopped half-way
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            await asyncio.shield(_abandon(starting))
            ours.close()
            raise
        finally:
            theirs.close()  # with its only other holder gone, our end sees the end of the worker
        writer.write(pack(spec))
        return cls(process, reader, writer)

    async def load(self, deadline_s: float) -> Ready:
        """Wait until the engine is ready. Raises UnavailableError that says why it will never be."""
        try:
            async with asyncio.timeout(deadline_s):
                first = await self._receive()
        except TimeoutError as error:
            raise UnavailableError(
                f"the engine was not ready after {deadline_s:g} s: give it longer with engines.start_deadline_s, "
                "or use a smaller model"
            ) from error
        except PipeError as error:
            raise UnavailableError(f"the worker can't be understood: {error}") from error
        except (EOFError, OSError) as error:
            why = await self._epitaph()
            hint = OUT_OF_MEMORY if self._process.returncode == -signal.SIGKILL else ""
            raise UnavailableError(f"the worker {why} while it loaded the engine{hint}") from error
        match first:
            case Ready():
                self._receiver = asyncio.create_task(self._dispatch())
                return first
            case Unavailable(message):
                raise UnavailableError(message)
        raise UnavailableError(f"the worker said {type(first).__name__} before it was ready")

    async def call(self, request: Advance | Decide | Compare) -> Reply:
        """One call and its answer. Raises WorkerGone, and PipeError for more sound than a message carries."""
        if self._gone:
            raise WorkerGone(self.why, killed=True)  # it never saw this call
        data = pack(request)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[request.call] = answer
        try:
            self._writer.write(data)  # its buffer holds what `spec.calls` calls put there at most
            return await answer
        finally:
            del self._calls[request.call]

    def forget(self, utterance_id: str) -> None:
        """Free an utterance's state. Nothing happens if the worker is gone."""
        if self.alive:
            self._writer.write(pack(Forget(utterance_id)))

    def kill(self, why: str, *, dismissed: bool = False) -> None:
        """SIGKILL. Every call that waits for an answer raises WorkerGone at once. `dismissed`: nothing is wrong."""
        self._sigkill()
        self.dismissed = dismissed
        self._end(WorkerGone(why, killed=True))

    async def close(self) -> None:
        """Let the worker go, and make sure that it does. The process is gone afterwards. May be repeated."""
        self._end(WorkerGone("closed", killed=True))
        self._writer.close()  # on which the worker exits at once
        try:
            gone = await self._exited()
        finally:
            self._sigkill()
        if not gone and not await self._exited():
            log.error("worker %d can't be killed; it is left behind", self.pid)  # it hangs in the kernel: a driver
        # shielded: who is cancelled here is followed by another who closes, and awaits the same
        await asyncio.shield(asyncio.gather(self._writer.wait_closed(), return_exceptions=True))
        if self._receiver:
            await asyncio.shield(self._receiver)

    async def _dispatch(self) -> None:
        """Hand every reply to the call that waits for it, until there are no more."""
        try:
            while True:
                reply = await self._receive()
                if not isinstance(reply, Reply):
                    raise PipeError(f"the worker said {type(reply).__name__} in the middle of its work")
                if (answer := self._calls.get(reply.call)) and not answer.done():
                    self.answers += 1
                    answer.set_result(reply)
        except (EOFError, OSError):
            self._end(WorkerGone(await self._epitaph(), killed=False))
        except PipeError as error:
            self._sigkill()
            self._end(WorkerGone(str(error), killed=False))

    async def _receive(self) -> Message:
        header = await self._reader.readexactly(HEADER.size)
        return unpack(await self._reader.readexactly(body_length(header)))

    async def _epitaph(self) -> str:
        """How a worker ended whose end of the pipe is closed."""
        if not await self._exited():
            return "closed its pipe"
        code = self._process.returncode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"

    async def _exited(self) -> bool:
        """Whether the process ends within CLOSE_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._process.wait()
        return self._process.returncode is not None

    def _sigkill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def _end(self, gone: WorkerGone) -> None:
        if self._gone:
            return
        self._gone = gone
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(WorkerGone(str(gone), killed=gone.killed))
        self.ended.set()


async def _abandon(starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
    """Nobody wants this process any more. It is gone afterwards."""
    with suppress(OSError):
        process = await starting
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _start(theirs: socket.socket) -> asyncio.subprocess.Process:
    # The child imports what we would, from where we would: a `numpy.py` in the working directory is not ours.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "streamd.engines.worker",
        str(theirs.fileno()),
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,  # the daemon's may carry sound
        stdout=STDERR,
        env=ONE_THREAD_EACH | _MEMORY | os.environ | {"PYTHONPATH": path},
    )
