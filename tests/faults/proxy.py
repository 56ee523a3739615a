"""The network between camera and broker, with everything that is wrong with networks."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.packets import DEADLINE_S

SLOW_BYTES_PER_S = 2048
_CHUNK = 65536
_TURN_S = 0.02
# Pieces in one direction of a connection while there is latency.
_ON_THE_WAY = 64


class Mode(StrEnum):
    """What happens to what passes."""

    PASS = "pass"
    STALL = "stall"  # accepted and kept, nothing forwarded, nothing closed
    HALF_OPEN = "half-open"  # the broker's side is gone; the camera is never told
    SLOW = "slow"
    REFUSE = "refuse"  # nobody listens


@dataclass(eq=False)
class _Link:
    """One connection of a camera."""

    camera: asyncio.StreamWriter
    broker: asyncio.StreamWriter | None = None
    is_half_open: bool = False


@dataclass
class _Cut:
    direction: str
    left: int
    reset: bool


class FaultProxy:
    """Listens on a port of its own, which it keeps, and forwards to `upstream` on localhost.

    Methods may be called from any thread, at any time.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.mode = Mode.PASS
        self.latency_s = 0.0  # in each direction
        self._links: set[_Link] = set()
        self._cut: _Cut | None = None
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.port = 0
        self._do(self._listen())

    def close(self) -> None:
        """Close everything."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def set_mode(self, mode: Mode) -> None:
        """From now on, for connections that are open and for new ones."""
        self._do(self._set_mode(mode))

    def cut(self, direction: str, after: int, *, reset: bool = False) -> None:
        """Close the connection (reset: with RST) after so many more bytes "up" or "down"."""
        self._cut = _Cut(direction, after, reset)

    def cut_now(self, *, reset: bool = False) -> None:
        """Close all connections."""
        self._do(self._drop_all(reset))

    def garbage(self, count: int, seed: int = 0) -> None:
        """Send the camera so many bytes that no broker said."""
        self._do(self._inject(random.Random(seed).randbytes(count)))

    def calm(self) -> None:
        """No fault any more."""
        self._cut = None
        self.latency_s = 0.0
        self.set_mode(Mode.PASS)

    def connections(self) -> int:
        """How many are open on the camera's side."""
        return len(self._links)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        await self._drop_all(reset=False)
        for task in asyncio.all_tasks(self._loop):
            if task is not asyncio.current_task():
                task.cancel()

    async def _set_mode(self, mode: Mode) -> None:
        before, self.mode = self.mode, mode
        if mode is Mode.REFUSE and self._server:
            self._server.close()
            self._server = None
            await self._drop_all(reset=False)
        elif before is Mode.REFUSE and mode is not Mode.REFUSE:
            await self._listen()
        if mode is Mode.HALF_OPEN:
            for link in self._links:
                self._half_open(link)

    async def _drop_all(self, reset: bool) -> None:
        for link in list(self._links):
            _drop(link, reset)

    async def _inject(self, data: bytes) -> None:
        for link in self._links:
            with contextlib.suppress(OSError):
                link.camera.write(data)

    def _half_open(self, link: _Link) -> None:
        link.is_half_open = True
        if link.broker:
            link.broker.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            while self.mode in (Mode.STALL, Mode.HALF_OPEN):
                link.is_half_open |= self.mode is Mode.HALF_OPEN
                await asyncio.sleep(_TURN_S)
            if link.is_half_open:
                await self._pump(reader, None, link, "up")
                return
            there, link.broker = await asyncio.open_connection("127.0.0.1", self.upstream)
            up = asyncio.create_task(self._pump(reader, link.broker, link, "up"))
            await self._pump(there, writer, link, "down")
            if link.is_half_open:
                await up
            up.cancel()
        # Cancelled: by close(). asyncio's server would print that as an error.
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            _drop(link, reset=False)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter | None,
        link: _Link,
        direction: str,
    ) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ON_THE_WAY)
        arriving = asyncio.create_task(self._forward(on_the_way, writer, link, direction))
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(self._amount()):
                    await self._delay(len(data))
                    await on_the_way.put((self._loop.time() + self.latency_s, data))
            await on_the_way.put((self._loop.time() + self.latency_s, b""))
            await arriving
        finally:
            arriving.cancel()
        # The end of one direction is the end of both, but for who was not told.
        if not link.is_half_open or direction == "up":
            _drop(link, reset=False)

    async def _forward(
        self,
        on_the_way: "asyncio.Queue[tuple[float, bytes]]",
        writer: asyncio.StreamWriter | None,
        link: _Link,
        direction: str,
    ) -> None:
        """What was read, when its time has come; meanwhile more is read."""
        while True:
            at, data = await on_the_way.get()
            if (late := at - self._loop.time()) > 0:
                await asyncio.sleep(late)
            if not data:
                return
            if link.is_half_open or writer is None:
                continue
            data = self._until_cut(data, direction, link)
            if writer.is_closing():
                continue
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()

    def _amount(self) -> int:
        return SLOW_BYTES_PER_S // 16 if self.mode is Mode.SLOW else _CHUNK

    async def _delay(self, size: int) -> None:
        if self.mode is Mode.SLOW:
            await asyncio.sleep(size / SLOW_BYTES_PER_S)
        while self.mode is Mode.STALL:
            await asyncio.sleep(_TURN_S)

    def _until_cut(self, data: bytes, direction: str, link: _Link) -> bytes:
        cut = self._cut
        if cut is None or cut.direction != direction:
            return data
        if len(data) < cut.left:
            cut.left -= len(data)
            return data
        self._cut = None
        writer = link.broker if direction == "up" else link.camera
        if writer and not cut.reset:
            writer.write(data[: cut.left])
        _drop(link, cut.reset)
        return b""


def _drop(link: _Link, reset: bool) -> None:
    for writer in (link.camera, link.broker):
        if writer is None or writer.is_closing():
            continue
        if reset:
            raw: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                # Lingering for no time at all: RST instead of FIN.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()


@contextlib.contextmanager
def proxied(upstream: int) -> Iterator[FaultProxy]:
    """A proxy for the length of a with block."""
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
