"""MQTT 3.1.1 as a subscriber speaks it, packet by packet. Pure.

A general client takes longer over a snapshot than its check, its file and its row together.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

# Section 2.2.1.
_CONNECT, _CONNACK, _PUBLISH, _PUBACK = 1, 2, 3, 4
_SUBSCRIBE, _SUBACK, _PINGREQ, _PINGRESP, _DISCONNECT = 8, 9, 12, 13, 14

# No TLS record is longer.
READ_MAX = 16384
# Of packets of this size there are some in it: the rest that is moved to its front is small.
_BUFFER = 16 * READ_MAX

_ANSWERS = frozenset((_CONNACK << 4, _SUBACK << 4, _PINGRESP << 4))

# As much of a packet that is too long as its topic and id may take.
_HEAD_MAX = 2 + 0xFFFF + 2


class MqttError(ValueError):
    """What was received is not MQTT 3.1.1, or nothing that a subscriber may be sent."""


class Message(NamedTuple):
    """A PUBLISH. payload: until more is read; empty when it is longer than is kept; size: of all
    of it, in bytes.
    """

    topic: bytes
    payload: bytes | memoryview
    size: int
    qos: int
    retain: bool
    mid: int


class Connack(NamedTuple):
    """code: 0 when the connection is accepted (section 3.2.2.3)."""

    code: int
    session_present: bool


class Suback(NamedTuple):
    """Whether each subscription was granted."""

    granted: Sequence[bool]


class Pingresp(NamedTuple):
    """The broker is there."""


Packet = Message | Connack | Suback | Pingresp


def connect(client_id: str, user: str, password: str, keepalive_s: int) -> bytes:
    """A CONNECT that keeps its session."""
    body = _text("MQTT") + struct.pack("!BBH", 4, 0xC0, keepalive_s)
    return _packet(_CONNECT << 4, body + _text(client_id) + _text(user) + _text(password))


def subscribe(filters: Iterable[str]) -> bytes:
    """A SUBSCRIBE to these with QoS 1."""
    body = b"".join(_text(each) + b"\1" for each in filters)
    return _packet(_SUBSCRIBE << 4 | 2, b"\0\1" + body)


def puback(mid: int) -> bytes:
    """The acknowledgement of the message with this packet id."""
    return bytes((_PUBACK << 4, 2, mid >> 8, mid & 0xFF))


PINGREQ = bytes((_PINGREQ << 4, 0))
DISCONNECT = bytes((_DISCONNECT << 4, 0))


class Reader:
    """Packets out of a stream. most: of the payload of a PUBLISH, in bytes; what is longer is
    not kept, whatever the broker lets through.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._view = memoryview(bytearray(_BUFFER))
        # What is there and was not given.
        self._begin = self._end = 0
        self._skip = 0  # bytes to come of a packet that is too long

    def room(self) -> memoryview:
        """Where to put what is received next, READ_MAX bytes. What packets() gave is gone then."""
        if len(self._view) - self._end < READ_MAX:
            rest = self._view[self._begin : self._end]
            if len(rest) + READ_MAX > len(self._view):
                self._view = memoryview(bytearray(2 * len(self._view)))
            self._view[: len(rest)] = rest
            self._begin, self._end = 0, len(rest)
        return self._view[self._end : self._end + READ_MAX]

    def packets(self, count: int) -> Iterator[Packet]:
        """The packets that `count` bytes more complete. Raises MqttError."""
        self._end += count
        skipped = min(self._skip, self._end - self._begin)
        self._skip -= skipped
        self._begin += skipped
        view = self._view[: self._end]
        while (found := _header(view, self._begin)) is not None:
            at, (body, length) = self._begin, found
            end = body + length
            if end <= self._end:
                self._begin = end
                yield self._meaning(view[at], view[body:end], length)
                continue
            if length <= self._most + _HEAD_MAX or self._end < body + _HEAD_MAX:
                return
            self._skip = end - self._end
            self._begin = self._end
            yield self._meaning(view[at], view[body : body + _HEAD_MAX], length)

    def _meaning(self, first: int, body: memoryview, length: int) -> Packet:
        kind = first >> 4
        if kind == _PUBLISH:
            return self._message(first, body, length)
        if kind == _CONNACK and length == 2:
            return Connack(body[1], bool(body[0] & 1))
        if kind == _SUBACK and length > 2:
            return Suback([code < 0x80 for code in body[2:]])
        if kind == _PINGRESP:
            return Pingresp()
        raise MqttError(f"a packet of type {kind} with {length} bytes")

    def _message(self, first: int, body: memoryview, length: int) -> Message:
        qos = first >> 1 & 3
        at = 2 + int.from_bytes(body[:2])
        topic = bytes(body[2:at])
        mid = 0
        if qos:
            mid = int.from_bytes(body[at : at + 2])
            at += 2
        if at > length or qos > 1 or (qos and not mid):
            raise MqttError("a PUBLISH that ends in its head, or with an impossible QoS")
        size = length - at
        payload = body[at:] if size <= self._most else b""
        return Message(topic, payload, size, qos, bool(first & 1), mid)


def _header(view: memoryview, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and its length; None: not here yet."""
    if at < len(view) and view[at] >> 4 != _PUBLISH and view[at] not in _ANSWERS:
        raise MqttError(f"a packet that begins with {view[at]:#04x}")
    length = shift = 0
    for position in range(at + 1, min(at + 5, len(view))):
        byte = view[position]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return position + 1, length
        shift += 7
    if len(view) - at >= 5:
        raise MqttError("a length of more than four bytes")
    return None


def _packet(first: int, body: bytes) -> bytes:
    length, encoded = len(body), bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        encoded.append(low | 0x80 if length else low)
        if not length:
            return bytes((first,)) + bytes(encoded) + body


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data
