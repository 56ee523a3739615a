"""One client's connection: its limits, its packets, and the task that sends to it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from amqtt.adapters import BufferReader
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.packet import CONNECT, MQTTFixedHeader
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import OutgoingApplicationMessage, Session

from broker.streams import BoundedWriter, PacketReader, Refused

# Bytes sent at a time: the granularity in which a slow reader counts as alive.
_PIECE = 1 << 16

# amqtt has no type information.
Packet: TypeAlias = Any


@dataclass(frozen=True)
class Limits:
    """Bounds of one connection; times in seconds, max_packet in bytes."""

    max_packet: int = 2 * 1024 * 1024
    handshake_s: float = 10.0
    connect_s: float = 10.0
    write_s: float = 20.0
    close_s: float = 1.0


class Connection(BrokerProtocolHandler):  # type: ignore[misc]
    """One client's connection: what it reads from, and everything that is sent to it."""

    def open(self, session: Session, reader: PacketReader, writer: BoundedWriter) -> None:
        """Bind to the session and begin to send."""
        self.session: Session = session
        self.stream = reader
        self.out = writer
        self.ended = asyncio.Event()
        self.outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.unsent_bytes = 0
        self.complained: set[str] = set()
        self.began = time.monotonic()
        self._sender = asyncio.create_task(self._send_all())

    def publish(self, message: OutgoingApplicationMessage) -> None:
        """Send a message, marked as a repetition when it was sent before."""
        is_again = message.publish_packet is not None
        message.publish_packet = message.build_publish_packet(dup=is_again)
        self.send(message.publish_packet)

    def send(self, packet: Packet) -> None:
        """Queue a packet. One task sends them all, in order: nobody waits for a slow client."""
        data = packet.to_bytes()
        self.unsent_bytes += len(data)
        self.outbox.put_nowait(data)

    async def _send_all(self) -> None:
        while True:
            data = await self.outbox.get()
            for start in range(0, len(data), _PIECE):
                self.out.write(data[start : start + _PIECE])
                await self.out.drain()
            self.unsent_bytes -= len(data)

    async def close(self, reason: str) -> None:
        """Close it and wait until its end was dealt with (session state, will)."""
        self.out.abort(reason)
        await self.ended.wait()

    async def stop(self) -> None:
        """Stop sending (amqtt's name for it)."""
        self._sender.cancel()


async def read_connect(
    reader: PacketReader, writer: BoundedWriter, limit_s: float, plugins: Any
) -> tuple[Connection, Session]:
    """The client's CONNECT as a connection (not open yet) and what it asks for.

    Raises Refused for anything that is not an MQTT 3.1.1 CONNECT within limit_s seconds.
    """
    try:
        async with asyncio.timeout(limit_s):
            raw = await reader.packet()
    except TimeoutError:
        raise Refused(f"sent no CONNECT within {limit_s:g} s") from None
    if raw is None:
        raise Refused("closed without a CONNECT")
    if raw[0] >> 4 != CONNECT:
        raise Refused("not MQTT: the first packet is no CONNECT")
    try:
        connection, session = await Connection.init_from_connect(BufferReader(raw), writer, plugins)
    except Exception as error:  # noqa: BLE001 whatever amqtt makes of hostile bytes
        raise Refused(f"malformed CONNECT: {error}") from None
    return connection, session


async def decode(raw: bytes) -> Packet:
    """The packet in raw. Raises Refused."""
    buffer = BufferReader(raw)
    try:
        header = await MQTTFixedHeader.from_stream(buffer)
        return await packet_class(header).from_stream(buffer, fixed_header=header)
    except Exception as error:  # noqa: BLE001 whatever amqtt makes of hostile bytes
        raise Refused(f"a malformed packet: {error}") from None


def packet_id(packet: Packet) -> int:
    """The packet identifier of a packet that has one."""
    return int(packet.variable_header.packet_id)


async def refuse(writer: BoundedWriter, code: int, reason: str) -> NoReturn:
    """Answer a CONNECT with this return code (MQTT 3.1.1, 3.2.2.3); raises Refused."""
    await ConnackPacket.build(0, code).to_stream(writer)
    raise Refused(reason)
