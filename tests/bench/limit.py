"""The other end of the physical limit: a TLS server that counts bytes and knows no MQTT."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

_ANSWER = b"\x40\x02\0\1"


@contextlib.contextmanager
def limit_server(server_file: Path) -> Iterator[int]:
    """Its port. A client says in 8 digits how many bytes it will send at a time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server, context), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _accept(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(plain, context), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext) -> None:
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
        size = int(tls.recv(8))
        buffer = memoryview(bytearray(size))
        while True:
            got = 0
            while got < size:
                count = tls.recv_into(buffer[got:])
                if not count:
                    return
                got += count
            tls.sendall(_ANSWER)
