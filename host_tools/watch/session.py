"""One MQTT session over verified TLS, turned by hand: paho without its thread and its loop.

Its own loop would retry a wrong password every few seconds without a word, and could not
leave messages unread while the disk is full.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from camera import topics
from host_tools.watch import failures
from host_tools.watch.failures import Failure
from host_tools.watch.options import Options

CONNECT_S = 10.0  # each for TCP, TLS, and the answers of MQTT
KEEPALIVE_S = 30
# So many messages are read before anything else gets its turn.
_AT_A_TIME = 64


def trust_only(anchor: bytes) -> ssl.SSLContext:
    """A client's TLS context that trusts this one certificate (DER) and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # CERT_REQUIRED, and checks the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As on the camera, an anchor need not be self-signed: a cross-signed root is one too.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=anchor)
    return context


class Session:
    """The persistent session of one client id.

    Every method is for one and the same thread, except wake(). on_message: called from turn()
    with each message; it is acknowledged by ack() only.
    """

    def __init__(
        self,
        options: Options,
        context: ssl.SSLContext,
        name: str,
        on_message: Callable[[MQTTMessage], None],
    ) -> None:
        self.is_up = False  # connected, and the broker has confirmed the subscription
        self.is_resumed = False  # the broker had kept the queue since the last time
        self.number = 0  # of this connection, from 1
        self._options = options
        self._on_message = on_message
        self._answered = False
        self._refusal: Failure | None = None
        self._deadline = 0.0
        self._client = self._make_client(context, name)
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)

    def open(self) -> Failure | None:
        """Connect and shake hands; returns what went wrong.

        Takes CONNECT_S at most for each address of the host and for TLS, and as long as the
        system's look-up of the name, which nothing here can bound.
        """
        options = self._options
        self.number += 1
        self.is_up = self._answered = False
        self._refusal = None
        try:
            self._client.reconnect()
        except (OSError, UnicodeError) as error:
            return failures.of_connecting(error, options.host, options.port, options.anchor_name)
        self._deadline = time.monotonic() + CONNECT_S
        return None

    def turn(self, seconds: float, *, read: bool) -> Failure | None:
        """Read (unless told not to) and write what there is, waiting so long at most.

        Returns why the connection is over, or None while it is not.
        """
        failure = self._turn(seconds, read)
        if failure:
            self.is_up = False
        return failure

    def ack(self, number: int, mid: int, qos: int) -> None:
        """Tell the broker that it may forget the message that came with this packet id.

        number: of the connection on which it came; on another the id means another message.
        What the broker kept comes before it confirms the subscription, so is_up is no matter.
        """
        if number == self.number:
            self._client.ack(mid, qos)

    def wake(self) -> None:
        """End the waiting of turn(), from another thread."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            pass  # it has not yet noticed the last thousands

    def close(self) -> None:
        """Say goodbye, so that the broker does not have to find out."""
        self._client.disconnect()
        self._client.loop(0.1)
        self.is_up = False

    def _turn(self, seconds: float, read: bool) -> Failure | None:
        host, port = self._options.host, self._options.port
        try:
            rc = self._read_and_write(seconds, read)
        except Exception as error:  # noqa: BLE001 (paho's parser raises anything on nonsense)
            return failures.of_nonsense(error, host, port)
        if self._refusal:
            return self._refusal
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return failures.of_hanging_up(host, port, answered=self._answered)
        if not self.is_up and time.monotonic() > self._deadline:
            return failures.of_silence(host, port, CONNECT_S)
        return None

    def _read_and_write(self, seconds: float, read: bool) -> MQTTErrorCode:
        client = self._client
        sock: Any = client.socket()
        if sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        # What TLS has decrypted already select() does not see.
        is_ready = read and sock.pending() > 0
        wanted = [self._woken, sock] if read else [self._woken]
        writing = [sock] if client.want_write() else []
        ready, writable, _ = select.select(wanted, writing, [], 0 if is_ready else seconds)
        if self._woken in ready:
            self._woken.recv(65536)
        if is_ready or sock in ready:
            for _ in range(_AT_A_TIME):
                rc = client.loop_read()
                if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                    return rc
                if not sock.pending():
                    break
        if writable:
            client.loop_write()
        return client.loop_misc()

    def _make_client(self, context: ssl.SSLContext, name: str) -> Client:
        options = self._options
        client = Client(
            CallbackAPIVersion.VERSION2,
            # The broker lets an account use client ids that begin with its name.
            client_id=f"{options.user}/{name}",
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.username_pw_set(options.user, options.password)
        client.tls_set_context(context)
        client.connect_timeout = CONNECT_S
        client.on_socket_open = send_at_once
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_any_message
        client.connect_async(options.host, options.port, KEEPALIVE_S)
        return client

    def _on_connect(
        self,
        client: Client,
        userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        options = self._options
        if reason.is_failure:
            self._refusal = failures.of_connack(reason, options.user, options.host, options.port)
            return
        self._answered = True
        self._deadline = time.monotonic() + CONNECT_S
        self.is_resumed = flags.session_present
        kinds = (topics.JPEG, topics.STATE, topics.HEALTH)
        client.subscribe([(topics.topic(options.prefix, topics.ANY, kind), 1) for kind in kinds])

    def _on_any_message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        # A long queue comes before the confirmation, and is a sign of life.
        self._deadline = time.monotonic() + CONNECT_S
        self._on_message(message)

    def _on_subscribe(
        self,
        client: Client,
        userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            options = self._options
            self._refusal = failures.of_subscribing(
                options.prefix, options.user, options.host, options.port
            )
        else:
            self.is_up = True


def send_at_once(client: Client, userdata: object, sock: Any) -> None:
    """For on_socket_open."""
    # An acknowledgement is four bytes; Nagle's algorithm would hold it back for 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
