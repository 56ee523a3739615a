"""MQTT 3.1.1 packet by packet, for tests that say exactly what a client sends."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

# How long anything may take that a machine under load does slowly. Tests wait for conditions.
DEADLINE_S = 20.0

# MQTT 3.1.1, section 2.2.1.
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """An MQTT packet with this body."""
    length, encoded = len(body), bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        encoded.append(low | 0x80 if length else low)
        if not length:
            return bytes([kind << 4 | flags]) + bytes(encoded) + body


def text(value: str | bytes) -> bytes:
    """A length-prefixed string."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def connect(
    client_id: str,
    user: str | None = None,
    password: str | None = None,
    *,
    keepalive: int = 60,
    clean: bool = True,
    will: tuple[str, bytes] | None = None,
) -> bytes:
    """A CONNECT packet; the will is QoS 1, not retained."""
    flags = (
        (0x80 if user is not None else 0)
        | (0x40 if password is not None else 0)
        | (0x0C if will else 0)
        | (0x02 if clean else 0)
    )
    body = text("MQTT") + struct.pack("!BBH", 4, flags, keepalive) + text(client_id)
    for part in (*(will or ()), user, password):
        if part is not None:
            body += text(part)
    return packet(CONNECT, body)


def publish(
    topic: str, payload: bytes, qos: int = 0, packet_id: int = 1, retain: bool = False
) -> bytes:
    """A PUBLISH packet."""
    identifier = struct.pack("!H", packet_id) if qos else b""
    return packet(PUBLISH, text(topic) + identifier + payload, qos << 1 | retain)


def subscribe(*filters: tuple[str, int], packet_id: int = 1) -> bytes:
    """A SUBSCRIBE packet for (filter, QoS) pairs."""
    body = struct.pack("!H", packet_id)
    return packet(SUBSCRIBE, body + b"".join(text(f) + bytes([q]) for f, q in filters), 2)


@dataclass(frozen=True)
class Message:
    """A PUBLISH as a client received it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int | None


class RawClient:
    """MQTT, packet by packet, over a socket."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.has_session = False
        stream.settimeout(DEADLINE_S)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.stream.sendall(data)

    def receive(self) -> tuple[int, int, bytes]:
        """The next packet: its type, flags and body. Raises EOFError when there is none."""
        first = self._exactly(1)[0]
        length = shift = 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first >> 4, first & 15, self._exactly(length)

    def message(self) -> Message:
        """The next packet, which must be a PUBLISH. It is not acknowledged."""
        kind, flags, body = self.receive()
        assert kind == PUBLISH, (kind, body)
        end = 2 + struct.unpack_from("!H", body)[0]
        qos = flags >> 1 & 3
        packet_id = struct.unpack_from("!H", body, end)[0] if qos else None
        payload = body[end + 2 :] if qos else body[end:]
        return Message(
            body[2:end].decode(), payload, qos, bool(flags & 1), bool(flags & 8), packet_id
        )

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK."""
        assert message.packet_id
        self.send(packet(PUBACK, struct.pack("!H", message.packet_id)))

    def subscribe(self, *filters: tuple[str, int]) -> Sequence[int]:
        """Subscribe; the return codes of the SUBACK."""
        self.send(subscribe(*filters))
        kind, _, body = self.receive()
        assert kind == SUBACK
        return list(body[2:])

    def is_idle(self) -> bool:
        """True when it is connected and nothing else was sent to it: a ping comes straight back."""
        self.send(packet(PINGREQ))
        return self.receive()[0] == PINGRESP

    def wait_closed(self) -> None:
        """Read until the broker closes the connection; AssertionError if it does not."""
        try:
            while True:
                self.receive()
        except TimeoutError:
            raise AssertionError("the broker keeps the connection open") from None
        except (EOFError, OSError):
            self.stream.close()

    def vanish(self) -> None:
        """Close without a word."""
        self.stream.close()

    def leave(self) -> None:
        """Take leave properly."""
        self.send(packet(DISCONNECT))
        self.stream.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.stream.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data
