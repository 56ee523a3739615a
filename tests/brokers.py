"""A broker and clients for tests of any folder: started by a test, gone after it."""

import contextlib
import json
import queue
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

# How long anything may take that a machine under load does slowly. Tests wait for conditions.
DEADLINE_S = 20.0

REPOSITORY = Path(__file__).parent.parent


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of condition(); AssertionError, naming `what`, if it never is."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline_s:g} s in vain for {what}")


@dataclass(frozen=True)
class Endpoint:
    """Where a broker listens and what is needed to be let in."""

    port: int
    anchor: Path
    passwords: Mapping[str, str]
    host: str = "localhost"

    def context(self) -> ssl.SSLContext:
        """A client's context that trusts the anchor and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.anchor.read_bytes())
        return context

    def tls(self) -> ssl.SSLSocket:
        """A verified TLS connection."""
        plain = socket.create_connection((self.host, self.port), timeout=DEADLINE_S)
        return self.context().wrap_socket(plain, server_hostname=self.host)

    def raw(self, account: str, *, client_id: str = "", **options: Any) -> "RawClient":
        """A client that says exactly what a test wants, connected (CONNACK 0)."""
        client = RawClient(self.tls())
        client.send(connect(client_id or account, account, self.passwords[account], **options))
        kind, _, body = client.receive()
        assert (kind, body[1]) == (CONNACK, 0), body
        client.has_session = bool(body[0])
        return client

    @contextlib.contextmanager
    def paho(self, account: str, **options: Any) -> Iterator[paho.Client]:
        """An ordinary client, connected and with its loop running."""
        client = paho_client(self, account, **options)
        connected = threading.Event()
        client.on_connect = lambda _c, _u, _f, code, _p: code.is_failure or connected.set()
        client.connect(self.host, self.port)
        client.loop_start()
        try:
            assert connected.wait(DEADLINE_S), f"{account} was not let in"
            yield client
        finally:
            client.disconnect()
            client.loop_stop()


def paho_client(endpoint: Endpoint, account: str, **options: Any) -> paho.Client:
    """A paho client for the broker, not connected yet. options: of paho.Client."""
    options.setdefault("client_id", account)
    client = paho.Client(CallbackAPIVersion.VERSION2, **options)
    client.username_pw_set(account, endpoint.passwords[account])
    client.tls_set_context(endpoint.context())
    client.on_socket_open = lambda _c, _u, sock: sock.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    )
    return client


class BrokerProcess:
    """`python -m broker --json` on free ports, as a user starts it.

    ready: its first line; events: the lines after it, so far.
    """

    def __init__(self, data: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "broker", "--json", "--data", str(data)),
                *("--port=0", "--rsa-port=0", "--clock-port=0"),
                *arguments,
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.ready = json.loads(self._lines.get(timeout=DEADLINE_S))
        except (queue.Empty, ValueError):
            self._process.kill()
            raise AssertionError(f"no ready line: {self._process.communicate()[1]}") from None

    def _read(self) -> None:
        assert self._process.stdout
        self._lines.put(self._process.stdout.readline())
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    @property
    def pid(self) -> int:
        return self._process.pid

    def endpoint(self, listener: str = "ecdsa") -> Endpoint:
        """How to reach one listener, "ecdsa" or "rsa"."""
        secrets = json.loads(Path(self.ready["secrets"]).read_text())
        anchor = Path(self.ready["anchors"][0]["path"])
        return Endpoint(self.ready[listener]["port"], anchor, secrets["passwords"])

    def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """The first event with this name and these fields, waited for."""

        def found() -> dict[str, Any] | None:
            for event in list(self.events):
                if {"event": name, **fields}.items() <= event.items():
                    return event
            return None

        return dict(wait_for(found, f"event {name} {fields}; there are {self.events}"))

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; its exit status and everything it wrote to stderr."""
        self._process.send_signal(number)
        try:
            self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
        self._reader.join(DEADLINE_S)
        assert self._process.stderr
        assert self._process.stdout
        with self._process.stderr, self._process.stdout:
            return self._process.returncode, self._process.stderr.read()


@contextlib.contextmanager
def running_broker(data: Path, *arguments: str) -> Iterator[BrokerProcess]:
    """A broker process for the length of a with block; it must end cleanly and silently."""
    broker = BrokerProcess(data, *arguments)
    try:
        yield broker
    finally:
        status, errors = broker.stop()
    assert (status, errors) == (0, "")


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
