"""Sound that a client sends in messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from streamd.sources.base import Chunk
from streamd.sources.convert import Format, PcmConverter


class SocketSource:
    """Mono PCM in messages of any length, half samples included. Nothing is buffered here: TCP pushes back.

    Raises ValueError for a rate or format that is not supported.
    """

    live = False

    def __init__(self, messages: AsyncIterator[bytes], rate: int, format: Format, name: str) -> None:  # noqa: A002 - the wire's word
        self.name = name
        self._messages = messages
        self._converter = PcmConverter(rate, format)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        async for message in self._messages:
            if pcm := self._converter.feed(message):
                yield pcm
        if rest := self._converter.flush():
            yield rest
