"""One publish after the other: the bare TLS socket, our session, umqtt.simple; in turn."""

import gc
import socket
import ssl

import umqtt.simple
from parts import VALUES, frame, session, stamped, tell, timed, topic

from camera.flight import Flight

RECORD = 4096
broker = VALUES["broker"]


def connect(port):
    """A verified TLS socket that blocks, with Nagle's algorithm off."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile="root.der")
    raw = socket.socket()
    raw.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    raw.setsockopt(6, 1, 1)
    return context.wrap_socket(raw, server_hostname="localhost")


class Limit:
    """The same bytes through the same kind of socket, and 4 bytes back."""

    def __init__(self, size):
        self._sock = connect(VALUES["limit_port"])
        self._sock.write(b"%08d" % size)
        self._data = bytearray(size)

    def publish(self):
        write, data, size = self._sock.write, self._data, len(self._data)
        for at in range(0, size, RECORD):
            write(data, at, min(RECORD, size - at))
        self._sock.read(4)

    def close(self):
        self._sock.close()


class TlsSocket:
    """What umqtt.simple makes of a socket: TLS, Nagle's algorithm on, as it comes."""

    def connect(self, address):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cafile="root.der")
        raw = socket.socket()
        raw.connect(address)
        tls = context.wrap_socket(raw, server_hostname="localhost")
        self.write, self.read, self.close = tls.write, tls.read, tls.close
        self.setblocking = raw.setblocking


class Sockets:
    getaddrinfo = staticmethod(socket.getaddrinfo)
    socket = TlsSocket


umqtt.simple.socket = Sockets
ours = session(broker)
theirs = umqtt.simple.MQTTClient(
    VALUES["umqtt"]["user"],
    "127.0.0.1",
    broker["port"],
    VALUES["umqtt"]["user"],
    VALUES["umqtt"]["password"],
    60,
)
theirs.connect()
name, their_name = topic(broker), topic(VALUES["umqtt"])


flight = Flight(None, 1)
parts = None


def publish(data, seq):
    """As the application: the next snapshot is taken while the PUBACK of this one is awaited."""
    global parts
    ours.send(name, parts)
    flight.copy(seq, parts)  # the next one needs the frame buffer
    parts = stamped(data, seq + 1)
    ours.await_puback()
    flight.drop_copy(seq)


def publish_alone(data, seq):
    """Nothing at the same time."""
    ours.send(name, stamped(data, seq))
    ours.await_puback()


for size, rounds, few in VALUES["sizes"]:
    data = frame(size)
    view = memoryview(data)
    parts = stamped(data, 1)
    whole = sum(len(part) for part in parts) + len(name) + 4
    limit = Limit(whole + (3 if whole < 16384 else 4))
    for seq in range(rounds):
        # Between the rounds, and not each time: it empties the processor's caches.
        if seq % 40 == 0:
            gc.collect()
        tell(
            size=size,
            limit=timed(limit.publish),
            ours=timed(publish, data, seq),
            alone=timed(publish_alone, data, seq),
            proof=timed(stamped, data, seq),
            umqtt=timed(theirs.publish, their_name, view, False, 1) if seq < few else None,
        )
    limit.close()
ours.disconnect()
