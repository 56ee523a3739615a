"""The clock service: SNTP over UDP, for networks without a time server (RFC 5905, mode 4)."""

import asyncio
import struct
import time

# Seconds from the NTP era (1900) to the Unix epoch (RFC 5905, figure 4).
_NTP_EPOCH = 2_208_988_800
_PACKET = struct.Struct("!BBbbII4s8s8s8s8s")
_MODE_CLIENT = 3
_MODE_SERVER = 4
# The local clock of a machine, itself of unknown accuracy (RFC 5905, 7.3: LOCL).
_STRATUM = 10
_REFERENCE = b"LOCL"
# About a microsecond, as a power of two.
_PRECISION = -20


class ClockService(asyncio.DatagramProtocol):
    """Answers SNTP requests with this machine's time plus offset_s (seconds)."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self.offset_s = offset_s
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen on host and UDP port (0: any free); where it is. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(host, port)
        )
        address = self._transport.get_extra_info("sockname")
        return address[0], address[1]

    def stop(self) -> None:
        """Stop listening; harmless when it never started."""
        if self._transport:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a request; anything else is ignored, as RFC 5905 asks (8, "unexpected")."""
        reply = answer(data, time.time() + self.offset_s)
        if reply and self._transport:
            self._transport.sendto(reply, addr)

    def error_received(self, exc: Exception) -> None:
        """A client that is gone (ICMP): nothing to do about it."""


def answer(request: bytes, now: float) -> bytes | None:
    """The reply to an SNTP request at the Unix time now (seconds); None: not a request."""
    # Longer ones carry extensions or a MAC, which a server may leave unanswered.
    if len(request) < _PACKET.size:
        return None
    leap_version_mode, _, poll, *_, client_transmit = _PACKET.unpack_from(request)
    version, mode = leap_version_mode >> 3 & 7, leap_version_mode & 7
    if mode != _MODE_CLIENT or not 1 <= version <= 4:
        return None
    received = _timestamp(now)
    return _PACKET.pack(
        version << 3 | _MODE_SERVER,
        _STRATUM,
        poll,
        _PRECISION,
        0,  # root delay
        0,  # root dispersion
        _REFERENCE,
        received,  # when the clock was last set: it is the clock
        client_transmit,  # originate: how a client knows that the reply is to its request
        received,
        received,
    )


def _timestamp(now: float) -> bytes:
    # Modulo 2^32 seconds: era 1 begins in 2036 and looks just like this.
    seconds, fraction = divmod(round((now + _NTP_EPOCH) * (1 << 32)), 1 << 32)
    return struct.pack("!II", seconds & 0xFFFFFFFF, fraction)
