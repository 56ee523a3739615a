"""One MQTT session: umqtt.simple over our transport, with bounded waits and checked answers.

Works with umqtt.simple 1.3.4 and 1.8.0: connect(), publish() and subscribe() are ours,
because theirs wait without limit, never wrap the packet id and know no sliced payload; the
rest is theirs.
(MQTT 3.1.1; its protocol errors are AssertionError and IndexError.)
"""

import struct
import time

from umqtt.simple import MQTTClient

from camera import waiting
from camera.errors import CameraError
from camera.spool import Stored
from camera.transport import Transport

_PUBACK = 0x40
_SUBACK = 0x90
_CONNACK = 0x20
# MQTT 3.1.1, 3.2.2.3: 4 bad user name or password, 5 not authorised.
_AUTH_CODES = (4, 5)


class Session(MQTTClient):
    """A session with one broker, from CONNECT to the first failure.

    broker: one of the settings' brokers, with its password; address: where it is, "a.b.c.d";
    anchor: an anchors.Anchor; limits: the section limits_s. After any CameraError the
    session is closed and of no further use.
    """

    def __init__(self, client_id, broker, address, anchor, limits):
        super().__init__(
            client_id.encode(),
            broker["host"],
            broker["port"],
            broker["user"].encode(),
            broker["password"].encode(),
            broker["keepalive_s"],
        )
        self._address = address
        self._anchor = anchor
        self._pins = broker["pin_sha256"]
        self._limits = limits
        self._keepalive_ms = broker["keepalive_s"] * 1000
        self._puback_ms = int(limits["puback"] * 1000)
        self._ping_ms = int(limits["ping"] * 1000)
        self._head = bytearray(5)
        self._pinged_at = None
        # [packet id, since when its PUBACK is awaited, name] of each PUBLISH, oldest first.
        self._in_flight = []
        # on_puback(name): the broker has acknowledged what was sent under this name.
        self.on_puback = _nobody
        # A broker may deliver what nobody asked for; without a callback umqtt.simple
        # would die of it inside publish().
        self.set_callback(_ignore)

    def connect(self, clean_session=True):
        """Open the transport, verify the broker, log in. Returns "session present".

        Raises CameraError.
        """
        self.sock = Transport(
            self.server, self._address, self.port, self._anchor, self._limits, self._pins
        )
        # Fixed header, then protocol name, level 4, flags, keepalive: MQTT 3.1.1, 3.1.
        flags = clean_session << 1 | 0xC0
        fields = [self.client_id, self.user, self.pswd]
        if self.lw_topic:
            flags |= 0x04 | self.lw_qos << 3 | self.lw_retain << 5
            fields[1:1] = [self.lw_topic, self.lw_msg]
        size = 10 + sum(2 + len(field) for field in fields)
        self._fixed_header(0x10, size)
        self.sock.write(b"\0\x04MQTT\x04")
        self.sock.write(struct.pack("!BH", flags, self.keepalive))
        for field in fields:
            self._send_str(field)
        self.sock.handshake(self._limits["handshake"])
        answer = self._checked(self.sock.read, 4)
        if answer[0] != _CONNACK or answer[1] != 2:
            raise self._closing(CameraError("protocol", "no CONNACK"))
        if answer[3] != 0:
            code = "auth" if answer[3] in _AUTH_CODES else "refused"
            raise self._closing(CameraError(code, "CONNACK %d" % answer[3]))
        return answer[2] & 1

    def publish(self, topic, msg, retain=False, qos=1):
        """Publish msg with QoS 1: send() and await_puback(). Raises CameraError."""
        self.send(topic, (msg,), retain)
        self.await_puback()

    def send(self, topic, parts, retain=False, name=None):
        """Send a PUBLISH with QoS 1 whose payload is the parts, one behind the other.

        parts: bytes-like, sent from where they are, or spool.Stored; name: what to give to
        on_puback() when the broker has acknowledged it. That may be while others are sent:
        each has limits_s.puback, and its turn. Raises CameraError.
        """
        size = 4 + len(topic)
        for part in parts:
            size += len(part)
        self._fixed_header(0x32 | retain, size)
        self._write_number(len(topic))
        self.sock.write(topic)
        self._write_packet_id()
        for part in parts:
            if isinstance(part, Stored):
                self.sock.write_file(part.file, len(part))
            else:
                self.sock.write(part)
        self.sock.flush()
        self._in_flight.append([self.pid, time.ticks_ms(), name])

    def await_puback(self):
        """Return when the broker has acknowledged what send() sent last. Raises CameraError."""
        sent = self._in_flight[-1]
        while sent in self._in_flight:
            self.service(self._puback_ms)

    def subscribe(self, topic, qos=0):
        """Subscribe, while nothing is in flight; returns within limits_s.suback.

        Raises CameraError, "auth" when the broker does not allow it.
        """
        self._fixed_header(0x82, 5 + len(topic))
        self._write_packet_id()
        self._send_str(topic)
        self.sock.write(bytes((qos,)))
        self.sock.flush()
        if self._await_suback(int(self._limits["suback"] * 1000)) == 0x80:
            raise self._closing(CameraError("auth", "SUBACK 0x80"))

    def service(self, limit_ms):
        """The broker's turn: until it has sent one packet, at most limit_ms.

        Pings it, and notices when it is dead or leaves a PUBLISH unanswered. Raises CameraError.
        """
        started = time.ticks_ms()
        self.sock.answer_ms = self._ping_ms
        while True:
            waiting.turn()
            self._keep_alive()
            left = limit_ms - time.ticks_diff(time.ticks_ms(), started)
            wait_ms = min(left, self._puback_left_ms())
            kind = self.sock.peek(waiting.slice_ms(wait_ms) if wait_ms > 0 else 0)
            if kind is not None:
                if kind == _PUBACK:
                    self._take_puback()
                else:
                    self._next_packet()
                return
            # Only now: it can have come while a long PUBLISH was being written.
            if self._puback_left_ms() <= 0:
                raise self._closing(CameraError("timeout", "no PUBACK in %d ms" % self._puback_ms))
            if left <= 0:
                return

    def disconnect(self):
        """Say goodbye, so that the broker does not publish the will; errors are of no interest."""
        if self.sock is not None:
            try:
                super().disconnect()
            except (CameraError, OSError):
                pass
            self.close()

    def close(self):
        """Drop the connection, whatever state it is in."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def _keep_alive(self):
        # lwIP has no SO_KEEPALIVE: a dead peer shows only in a PINGREQ that nobody answers.
        now = time.ticks_ms()
        if self._pinged_at is None:
            if time.ticks_diff(now, self.sock.heard_at) * 2 >= self._keepalive_ms:
                self.ping()
                self.sock.flush()
                self._pinged_at = now
        elif time.ticks_diff(self.sock.heard_at, self._pinged_at) >= 0:
            self._pinged_at = None
        elif time.ticks_diff(now, self._pinged_at) >= self._ping_ms:
            raise self._closing(CameraError("timeout", "no PINGRESP"))

    def _write_packet_id(self):
        # 16 bits, never 0: MQTT 3.1.1, 2.3.1.
        self.pid = self.pid % 0xFFFF + 1
        self._write_number(self.pid)

    def _write_number(self, number):
        self._head[0] = number >> 8
        self._head[1] = number & 0xFF
        self.sock.write(self._head, 2)

    def _puback_left_ms(self):
        """How long the PUBACK that is awaited longest may still take."""
        if not self._in_flight:
            return self._puback_ms
        # A broker answers them in turn, so the others are never before this one.
        return self._puback_ms - time.ticks_diff(time.ticks_ms(), self._in_flight[0][1])

    def _take_puback(self):
        self.sock.skip()
        answer = self.sock.read(3)
        if answer[0] != 2:
            raise self._closing(CameraError("protocol", "type 4 of %d bytes" % answer[0]))
        pid = answer[1] << 8 | answer[2]
        now = time.ticks_ms()
        acknowledged = None
        for sent in self._in_flight:
            if acknowledged is not None:
                sent[1] = now  # its turn comes only now
            elif sent[0] == pid:
                acknowledged = sent
        # One for another id is a late one: not ours.
        if acknowledged is not None:
            self._in_flight.remove(acknowledged)
            if acknowledged[2] is not None:
                self.on_puback(acknowledged[2])

    def _await_suback(self, limit_ms):
        """The return code in the SUBACK for the last packet id."""
        started = time.ticks_ms()
        self.sock.answer_ms = limit_ms
        while True:
            if time.ticks_diff(time.ticks_ms(), started) > limit_ms:
                raise self._closing(CameraError("timeout", "no answer of type 9"))
            waiting.turn()
            if self._next_packet(_SUBACK) != _SUBACK:
                continue
            answer = self.sock.read(4)
            if answer[0] != 3:
                raise self._closing(CameraError("protocol", "type 9 of %d bytes" % answer[0]))
            if answer[1] << 8 | answer[2] == self.pid:
                return answer[3]

    def _next_packet(self, expected=None):
        """Read one packet; the type of the expected one, whose rest is yet to be read.

        umqtt.simple deals with PUBLISH (returning None in 1.3.4, its type in 1.8.0) and
        with PINGRESP, and leaves the rest of any other packet unread.
        """
        kind = self._checked(self.wait_msg)
        if kind is not None and kind & 0xF0 != 0x30 and kind != expected:
            raise self._closing(CameraError("protocol", "packet type %d" % (kind >> 4)))
        return kind

    def _recv_len(self):
        """As umqtt.simple's, which never ends while bytes say that more follow."""
        size = 0
        for shift in (0, 7, 14, 21):
            byte = self.sock.read(1)[0]
            size |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return size
        raise CameraError("protocol", "a length of more than 4 bytes")

    def _fixed_header(self, first, size):
        """MQTT 3.1.1, 2.2.3: seven bits of the remaining length a byte, lowest first."""
        head = self._head
        head[0] = first
        used = 1
        while True:
            head[used] = size & 0x7F | (0x80 if size > 0x7F else 0)
            used += 1
            size >>= 7
            if not size:
                break
        self.sock.write(head, used)

    def _checked(self, call, *args):
        """call(*args), with umqtt.simple's own errors turned into a CameraError."""
        try:
            return call(*args)
        except (AssertionError, IndexError, TypeError, ValueError) as error:
            raise self._closing(CameraError("protocol", repr(error)))
        except CameraError as error:
            raise self._closing(error)

    def _closing(self, error):
        self.close()
        return error


def _ignore(topic, message):
    pass


def _nobody(name):
    pass
