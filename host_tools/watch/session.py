"""One MQTT session over verified TLS, turned by hand: it reads when there is room, and
acknowledges when what was read is on disk.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from camera import topics
from host_tools.watch import failures, mqtt
from host_tools.watch.account import Account
from host_tools.watch.evidence import SNAPSHOT_MAX
from host_tools.watch.failures import Failure
from host_tools.watch.mqtt import Connack, Message, Suback

CONNECT_S = 10.0  # each for TCP, TLS, and the answers of MQTT
KEEPALIVE_S = 30
# So many records are read before anything else gets its turn.
_AT_A_TIME = 32


def trust_only(anchor: bytes) -> ssl.SSLContext:
    """A client's TLS context that trusts this one certificate (DER) and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # CERT_REQUIRED, and checks the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As on the camera, an anchor need not be self-signed: a cross-signed root is one too.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=anchor)
    return context


class HasFileno(Protocol):
    """What select() takes."""

    def fileno(self) -> int: ...


class Session:
    """The persistent session of one client id.

    Every method is for one and the same thread. on_message: called from turn() with each
    message; it is acknowledged by ack() only; also: turn() ends when there is something to read
    on it.
    """

    def __init__(
        self,
        account: Account,
        name: str,
        on_message: Callable[[Message], None],
        also: HasFileno,
    ) -> None:
        self.is_up = False  # connected, and the broker has confirmed the subscription
        self.is_resumed = False  # the broker had kept the queue since the last time
        self.number = 0  # of this connection, from 1
        self._account = account
        self._context = trust_only(account.anchor)
        # The broker lets an account use client ids that begin with its name.
        self._client_id = f"{account.user}/{name}"
        self._on_message = on_message
        self._socket: ssl.SSLSocket | None = None
        self._also = also
        self._begin()

    def open(self) -> Failure | None:
        """Connect and shake hands; returns what went wrong.

        Takes CONNECT_S at most for each address of the host and for TLS, and as long as the
        system's look-up of the name, which nothing here can bound.
        """
        account = self._account
        self.number += 1
        self._hang_up()
        self._begin()
        try:
            self._socket = self._connect()
        except (OSError, UnicodeError) as error:
            return failures.of_connecting(error, account.host, account.port, account.anchor_name)
        self._out += mqtt.connect(self._client_id, account.user, account.password, KEEPALIVE_S)
        self._deadline = time.monotonic() + CONNECT_S
        return None

    def turn(self, seconds: float, has_room: Callable[[], bool]) -> Failure | None:
        """Read, while there is room, and write what there is, waiting so long at most.

        Returns why the connection is over, or None while it is not.
        """
        host, port = self._account.host, self._account.port
        try:
            failure = self._refusal if self._exchange(seconds, has_room) else self._closed()
        except mqtt.MqttError as error:
            failure = failures.of_nonsense(error, host, port)
        except OSError:
            failure = self._closed()
        if not failure and not self.is_up and time.monotonic() > self._deadline:
            failure = failures.of_silence(host, port, CONNECT_S)
        # The answer may be there, and not read for want of room.
        is_late = self._pinged and time.monotonic() > self._pinged + KEEPALIVE_S
        if not failure and is_late and has_room():
            failure = failures.of_silence(host, port, KEEPALIVE_S)
        if failure:
            self.is_up = False
            self._hang_up()
        return failure

    def ack(self, number: int, mid: int, qos: int) -> None:
        """Tell the broker, in the next turn(), that it may forget the message with this packet id.

        number: of the connection on which it came; on another the id means another message.
        What the broker kept comes before it confirms the subscription, so is_up is no matter.
        """
        if number == self.number and qos:
            self._out += mqtt.puback(mid)

    def close(self) -> None:
        """Say goodbye, so that the broker does not have to find out."""
        self._out += mqtt.DISCONNECT
        # Without an answer there may be no session yet, and none is wanted.
        if self._socket and self._answered:
            try:
                self._socket.settimeout(CONNECT_S)
                self._socket.sendall(self._out)
            except OSError:
                pass
        self._hang_up()
        self.is_up = False

    def _begin(self) -> None:
        self.is_up = self._answered = False
        self._refusal: Failure | None = None
        self._reader = mqtt.Reader(SNAPSHOT_MAX)
        self._out = bytearray()
        self._sent_at = time.monotonic()
        self._pinged = 0.0  # when a ping was sent that is not answered yet
        self._deadline = 0.0

    def _connect(self) -> ssl.SSLSocket:
        account = self._account
        plain = socket.create_connection((account.host, account.port), CONNECT_S)
        try:
            # An acknowledgement is four bytes; Nagle's algorithm would hold it back for 40 ms.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secure = self._context.wrap_socket(plain, server_hostname=account.host)
        except BaseException:
            plain.close()
            raise
        secure.setblocking(False)
        return secure

    def _hang_up(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def _closed(self) -> Failure:
        account = self._account
        return self._refusal or failures.of_hanging_up(
            account.host, account.port, answered=self._answered
        )

    def _exchange(self, seconds: float, has_room: Callable[[], bool]) -> bool:
        """One turn; False: the broker has closed the connection. Raises MqttError, OSError."""
        if self._socket is None:
            return False
        self._keep_alive()
        read = has_room()
        # What TLS has decrypted already select() does not see.
        is_ready = read and self._socket.pending() > 0
        wanted = [self._also, self._socket] if read else [self._also]
        writing = [self._socket] if self._out else []
        ready, writable, _ = select.select(wanted, writing, [], 0 if is_ready else seconds)
        if writable:
            self._write(self._socket)
        if is_ready or self._socket in ready:
            return self._read(self._socket, has_room)
        return True

    def _read(self, stream: ssl.SSLSocket, has_room: Callable[[], bool]) -> bool:
        for _ in range(_AT_A_TIME):
            if not has_room():
                break
            try:
                count = stream.recv_into(self._reader.room())
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not count:
                return False
            if self._pinged:
                # A sign of life: the answer comes behind what was sent before it.
                self._pinged = time.monotonic()
            for packet in self._reader.packets(count):
                if isinstance(packet, Message):
                    # A long queue comes before the confirmation, and is a sign of life.
                    self._deadline = time.monotonic() + CONNECT_S
                    self._on_message(packet)
                elif isinstance(packet, Connack):
                    self._on_connack(packet)
                elif isinstance(packet, Suback):
                    self._on_suback(packet)
                else:
                    self._pinged = 0.0
        return True

    def _write(self, stream: ssl.SSLSocket) -> None:
        try:
            sent = stream.send(self._out)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        del self._out[:sent]
        self._sent_at = time.monotonic()

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if self._answered and not self._pinged and now > self._sent_at + KEEPALIVE_S:
            self._out += mqtt.PINGREQ
            self._pinged = now

    def _on_connack(self, answer: Connack) -> None:
        if self._answered:
            raise mqtt.MqttError("a second CONNACK")
        account = self._account
        if answer.code:
            self._refusal = failures.of_connack(
                answer.code, account.user, account.host, account.port
            )
            return
        self._answered = True
        self._deadline = time.monotonic() + CONNECT_S
        self.is_resumed = answer.session_present
        kinds = (topics.JPEG, topics.STATE, topics.HEALTH)
        self._out += mqtt.subscribe(
            topics.topic(account.prefix, topics.ANY, kind) for kind in kinds
        )

    def _on_suback(self, answer: Suback) -> None:
        if all(answer.granted):
            self.is_up = True
            return
        account = self._account
        self._refusal = failures.of_subscribing(
            account.prefix, account.user, account.host, account.port
        )
