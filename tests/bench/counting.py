"""A relay that counts what a camera sends: TCP bytes and TLS records."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_APPLICATION_DATA = 23  # RFC 5246, 6.2.1: the content type of what follows the handshake
_HEADER_BYTES = 5


@dataclass
class Counted:
    """records: the bytes of each record of application data, header included."""

    port: int = 0
    records: list[int] = field(default_factory=list)
    down_bytes: int = 0  # of everything that came from the broker


@contextlib.contextmanager
def counting(upstream: int) -> Iterator[Counted]:
    """A relay to a port of this machine, for one connection after the other."""
    counted = Counted()
    with socket.create_server(("127.0.0.1", 0)) as server:
        counted.port = server.getsockname()[1]
        thread = threading.Thread(target=_accept, args=(server, upstream, counted), daemon=True)
        thread.start()
        yield counted
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _accept(server: socket.socket, upstream: int, counted: Counted) -> None:
    while True:
        try:
            camera, _ = server.accept()
        except OSError:
            return
        broker = socket.create_connection(("127.0.0.1", upstream))
        for end in (camera, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        down = threading.Thread(target=_relay_down, args=(broker, camera, counted), daemon=True)
        down.start()
        with camera, broker, contextlib.suppress(OSError):
            _relay_up(camera, broker, counted)
            broker.shutdown(socket.SHUT_RDWR)
        down.join(5)


def _relay_up(camera: socket.socket, broker: socket.socket, counted: Counted) -> None:
    left = b""
    while data := camera.recv(65536):
        broker.sendall(data)
        left += data
        while len(left) >= _HEADER_BYTES:
            kind, _, size = struct.unpack_from("!BHH", left)
            if len(left) < _HEADER_BYTES + size:
                break
            if kind == _APPLICATION_DATA:
                counted.records.append(_HEADER_BYTES + size)
            left = left[_HEADER_BYTES + size :]


def _relay_down(broker: socket.socket, camera: socket.socket, counted: Counted) -> None:
    with contextlib.suppress(OSError):
        while data := broker.recv(65536):
            counted.down_bytes += len(data)
            camera.sendall(data)
    with contextlib.suppress(OSError):
        camera.shutdown(socket.SHUT_WR)
