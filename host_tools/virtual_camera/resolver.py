"""The DNS server that a virtual camera's network names: it knows what this machine knows."""

import socket
import struct
import threading
from collections.abc import Callable

_HEADER_BYTES = 12
# RFC 1035, 4.1.1: a response, recursion desired and available; and "no such name" with it.
_RESPONSE = 0x8180
_NO_SUCH_NAME = 3
_TTL_S = 60


class Resolver:
    """Answers A queries on a UDP port of 127.0.0.1, by this machine's own look-up.

    address: "host:port"; works: asked for each query, False: it is not answered.
    """

    def __init__(self, works: Callable[[], bool] = lambda: True) -> None:
        self._works = works
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._is_open = True
        host, port = self._socket.getsockname()
        self.address = f"{host}:{port}"
        self._thread = threading.Thread(target=self._serve, name="resolver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering. A look-up that this machine is busy with is not waited for."""
        self._is_open = False
        # Nothing else wakes a thread that waits for a datagram.
        self._socket.sendto(b"", self._socket.getsockname())

    def _serve(self) -> None:
        with self._socket:
            while self._is_open:
                asked, sender = self._socket.recvfrom(512)
                reply = _answer(asked) if asked and self._works() else None
                if reply and self._is_open:
                    self._socket.sendto(reply, sender)


def _answer(asked: bytes) -> bytes | None:
    """The response to a query for an IPv4 address, None for anything else."""
    try:
        name, end = _question(asked)
    except (IndexError, UnicodeDecodeError):
        return None
    address = _look_up(name)
    flags = _RESPONSE if address else _RESPONSE | _NO_SUCH_NAME
    head = asked[:2] + struct.pack("!HHHHH", flags, 1, bool(address), 0, 0)
    reply = head + asked[_HEADER_BYTES:end]
    if address:
        # The name as a pointer to the question; type A, class IN.
        reply += struct.pack("!HHHIH", 0xC000 | _HEADER_BYTES, 1, 1, _TTL_S, 4) + address
    return reply


def _question(asked: bytes) -> tuple[str, int]:
    labels, at = [], _HEADER_BYTES
    while size := asked[at]:
        labels.append(asked[at + 1 : at + 1 + size].decode("ascii"))
        at += size + 1
    return ".".join(labels), at + 5


def _look_up(name: str) -> bytes | None:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return socket.inet_aton(str(found[0][4][0]))
