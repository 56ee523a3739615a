"""One simulated camera: the real protocol, stamps included, over a TLS connection of its own."""

import asyncio
import json
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

from camera import stamp, topics

# MQTT 3.1.1, 2.2.1, with the flags that go with each.
_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _DISCONNECT = 0x10, 0x20, 0x32, 0x40, 0xE0
# As much as a snapshot needs at most when the broker is far behind.
_ANSWER_S = 60.0
_BOOT = 1


@dataclass(frozen=True)
class Target:
    """The broker, and what each camera sends. rate: snapshots a second of each camera, 0 for
    the next as soon as the one before is acknowledged; digest: SHA-256 of the frame."""

    host: str
    port: int
    prefix: str
    rate: float
    frame: bytes
    digest: bytes


@dataclass
class Outcome:
    """What became of one camera. latencies_s: from the first byte of each PUBLISH to its PUBACK,
    within the time that counts; trouble: why it is not connected any more, or ""."""

    sent: int = 0
    acknowledged: int = 0
    latencies_s: list[float] = field(default_factory=list)
    trouble: str = ""


class Camera:
    """A camera with this account, which is its id too."""

    def __init__(self, target: Target, account: str, password: str) -> None:
        self.outcome = Outcome()
        self._target = target
        self._id = account
        self._password = password
        self._seq = 0
        self._started = time.monotonic()
        self._packet_id = 0

    async def connect(self, context: ssl.SSLContext) -> None:
        """Log in and publish the birth. Raises OSError and EOFError."""
        target = self._target
        self._reader, self._writer = await asyncio.open_connection(
            target.host, target.port, ssl=context, ssl_handshake_timeout=_ANSWER_S
        )
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        state = self._topic(topics.STATE)
        offline = _json(state="offline", boot=_BOOT, conn=1)
        # Clean session, and a will with QoS 1 that is retained.
        body = _text(b"MQTT") + bytes((4, 0xEE)) + struct.pack("!H", 600)
        for part in (self._id.encode(), state, offline, self._id.encode(), self._password.encode()):
            body += _text(part)
        self._writer.write(bytes((_CONNECT,)) + _length(len(body)) + body)
        kind, answer = await self._answer()
        if kind != _CONNACK or answer[1:] != b"\0":
            raise ConnectionRefusedError(f"the broker refuses {self._id}: CONNACK {answer.hex()}")
        await self._publish(state, (_json(state="online", boot=_BOOT, conn=1),), retain=True)

    async def run(self, start: float, end: float) -> None:
        """Publish from start to end, in the loop's time; what then is in the air is awaited."""
        loop = asyncio.get_running_loop()
        interval = 1 / self._target.rate if self._target.rate else 0.0
        # Not all in the same instant.
        due = start + interval * (hash(self._id) % 1000) / 1000
        try:
            while due < end:
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                began = loop.time()
                if began >= end:
                    break
                await self._snapshot()
                self.outcome.latencies_s.append(loop.time() - began)
                due = max(due + interval, loop.time() - interval)
        except (OSError, EOFError, TimeoutError) as error:
            self.outcome.trouble = f"{type(error).__name__}: {error}"

    async def close(self) -> None:
        """Take leave."""
        try:
            self._writer.write(bytes((_DISCONNECT, 0)))
            self._writer.close()
            await asyncio.wait_for(self._writer.wait_closed(), 2)
        except (OSError, TimeoutError):
            pass  # it is gone already

    async def _snapshot(self) -> None:
        target = self._target
        self._seq += 1
        up_ms = int((time.monotonic() - self._started) * 1000)
        now_ms = time.time_ns() // 1_000_000
        frame, digest = target.frame, target.digest
        at = stamp.insertion_point(frame)
        marker, body = stamp.segment(self._id, _BOOT, self._seq, now_ms, up_ms, len(frame), digest)
        self.outcome.sent += 1
        await self._publish(self._topic(topics.JPEG), (frame[:at], marker, body, frame[at:]))
        self.outcome.acknowledged += 1

    async def _publish(self, topic: bytes, parts: tuple[bytes, ...], retain: bool = False) -> None:
        """Publish with QoS 1; returns when it is acknowledged. Raises OSError and EOFError."""
        self._packet_id = self._packet_id % 0xFFFF + 1
        number = struct.pack("!H", self._packet_id)
        size = 2 + len(topic) + 2 + sum(map(len, parts))
        head = bytes((_PUBLISH | retain,)) + _length(size) + _text(topic) + number
        self._writer.write(b"".join((head, *parts)))
        await self._writer.drain()
        kind, answer = await self._answer()
        if kind != _PUBACK or answer != number:
            raise ConnectionError(f"in place of the PUBACK came type {kind >> 4}")

    async def _answer(self) -> tuple[int, bytes]:
        """The next packet, which is a short one: this client subscribes to nothing."""
        async with asyncio.timeout(_ANSWER_S):
            head = await self._reader.readexactly(2)
            return head[0], await self._reader.readexactly(head[1])

    def _topic(self, kind: str) -> bytes:
        return bytes(topics.topic(self._target.prefix, self._id, kind).encode())


def _text(value: bytes) -> bytes:
    return struct.pack("!H", len(value)) + value


def _length(size: int) -> bytes:
    """MQTT 3.1.1, 2.2.3."""
    encoded = bytearray()
    while True:
        size, low = size >> 7, size & 0x7F
        encoded.append(low | 0x80 if size else low)
        if not size:
            return bytes(encoded)


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()
