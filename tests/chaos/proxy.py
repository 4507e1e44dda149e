"""A relay in front of the scheduler, whose connections can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading


class Relay:
    """Listens on loopback, passes everything on to a port, on a thread of its own."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop
        ).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self, rng: random.Random, most: int) -> int:
        """Break up to so many connections; return how many."""
        return asyncio.run_coroutine_threadsafe(self._cut(rng, most), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._cut(random.Random(0), 1 << 30), self._loop).result()
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _cut(self, rng: random.Random, most: int) -> int:
        chosen = rng.sample(self._pairs, min(most, len(self._pairs)))
        for pair in chosen:
            for side in pair:
                side.transport.abort()
        return len(chosen)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, onward)
        self._pairs.append(pair)
        try:
            await asyncio.gather(_pass(reader, onward), _pass(there, writer))
        finally:
            self._pairs.remove(pair)
            for side in pair:
                side.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
