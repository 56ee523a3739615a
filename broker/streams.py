"""One client's byte stream: whole packets in, bounded writes out.

amqtt decodes straight from the stream: it reads a packet of any announced length, waits for
the rest of one for ever, and after a packet it cannot decode it goes on in the middle of it.
Here a packet is cut out whole, by its length, before amqtt sees it.
"""

import asyncio
import os
import ssl

from amqtt.adapters import WriterAdapter

from broker.devices import name_in

# Bytes read at a time: the granularity in which a slow sender counts as alive.
_PIECE = 1 << 16


class Refused(Exception):
    """Why a connection is closed, in words for the log."""


class PacketReader:
    """Cuts packets out of a stream.

    idle_s: seconds without a single byte after which the client is taken for dead; None: no
    limit. A packet in transit counts as life, or a slow link could never send a large one.
    """

    def __init__(self, stream: asyncio.StreamReader, max_packet: int) -> None:
        self._stream = stream
        self._max_packet = max_packet
        self.idle_s: float | None = None

    async def packet(self) -> bytes | None:
        """The next whole packet, fixed header included; None when the client has closed.

        Raises Refused, before the payload is read, for one that is longer than allowed;
        also when the client is silent or stops in the middle of a packet.
        """
        first = await self._some(1)
        if not first:
            return None
        header = bytearray(first)
        length = shift = 0
        while True:
            byte = (await self._exactly(1))[0]
            header.append(byte)
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 21:  # MQTT 3.1.1, 2.2.3: four bytes at most
                raise Refused("not MQTT: malformed packet length")
        size = len(header) + length
        if size > self._max_packet:
            raise Refused(f"a packet of {size} bytes, more than the limit of {self._max_packet}")
        return bytes(header + await self._exactly(length))

    async def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = await self._some(min(count - len(data), _PIECE))
            if not piece:
                raise Refused("the connection ended in the middle of a packet")
            data += piece
        return bytes(data)

    async def _some(self, most: int) -> bytes:
        try:
            async with asyncio.timeout(self.idle_s):
                return await self._stream.read(most)
        except TimeoutError:
            raise Refused(f"silent for {self.idle_s:g} s") from None
        except OSError as error:
            raise Refused(f"connection lost: {describe(error)}") from None


class BoundedWriter(WriterAdapter):  # type: ignore[misc]
    """amqtt's writer, with a limit to how long a client may not read (write_s, seconds).

    cut_off: why the client was cut off, once it was.
    """

    def __init__(self, stream: asyncio.StreamWriter, write_s: float) -> None:
        self._stream = stream
        self._write_s = write_s
        self.cut_off = ""

    def write(self, data: bytes) -> None:
        """Queue data; nothing once the connection is closing."""
        if not self._stream.is_closing():
            self._stream.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken what was written; one that does not is cut off."""
        try:
            async with asyncio.timeout(self._write_s):
                await self._stream.drain()
        except TimeoutError:
            self.abort(f"did not read for {self._write_s:g} s")
        except OSError as error:
            self.abort(f"connection lost: {describe(error)}")

    async def close(self) -> None:
        """Begin to close: what was written is still sent, unless abort() follows."""
        self._stream.close()

    def abort(self, reason: str) -> None:
        """Close now; what was not sent is lost."""
        self.cut_off = self.cut_off or reason
        self._stream.transport.abort()

    async def wait_closed(self, limit_s: float) -> None:
        """Until the connection is gone; after limit_s seconds the client is cut off."""
        try:
            async with asyncio.timeout(limit_s):
                await self._stream.wait_closed()
        except (TimeoutError, OSError):
            self._stream.transport.abort()

    def get_peer_info(self) -> tuple[str, int]:
        """The client's address and port."""
        # None: it was gone before it was accepted.
        address = self._stream.get_extra_info("peername") or ("unknown", 0)
        return address[0], address[1]

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """None: amqtt would look for a client's certificate in it, and ours have none."""
        return None

    def device_name(self) -> str | None:
        """The name in the client's verified certificate; None: it was not asked for one."""
        return name_in(self._stream.get_extra_info("peercert"))

    def tls_version(self) -> str:
        """The version agreed on, such as "TLSv1.2"."""
        return str(self._stream.get_extra_info("ssl_object").version())


def describe(error: Exception) -> str:
    """An error of a connection, in the fewest words that say what it was."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS error").lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    if isinstance(error, OSError) and error.strerror:  # of a name look-up
        return error.strerror.lower()
    # asyncio's ConnectionResetError for a client that closed has no text.
    return str(error) or "closed by the client"
