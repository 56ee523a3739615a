"""The TLS socket that umqtt.simple is given: every read and write bounded in time.

The socket never blocks: each wait is a poll with what is left of a limit, cut into
slices between which the watchdog is fed. Writes are gathered into whole TLS records
(umqtt.simple writes each packet in four or five pieces, which Nagle's algorithm and
delayed acknowledgement turn into 40 ms each; measured).

RAM: the 4 KiB of the record buffer, besides what mbedTLS takes.
"""

import select
import socket
import time

from camera import anchors, waiting
from camera.errors import CameraError

# The camera's mbedTLS sends records of at most 4 KiB (MBEDTLS_SSL_OUT_CONTENT_LEN).
RECORD_BYTES = 4096
# More than the longest packet that a camera has a use for, which is a command.
READ_MAX_BYTES = 4096

# So few bytes are copied one by one: a slice costs more heap than time.
_BY_BYTE = 16
_IPPROTO_TCP = 6
# lwIP's is not POSIX's 1 but 0x40 (extmod/modlwip.c); the Unix port does not name it.
_TCP_NODELAY = getattr(socket, "TCP_NODELAY", 1)


class Transport:
    """A verified connection to a broker. Raises CameraError, and is of no use after that.

    address: where the host is, "a.b.c.d"; anchor: an anchors.Anchor; limits: the section
    limits_s of the settings; pins: see Anchor.begin(). answer_ms: the limit of a read, for the
    reader to set.
    """

    def __init__(self, host, address, port, anchor, limits, pins=()):
        anchor.begin(pins)
        self._anchor = anchor
        self.answer_ms = int(limits["connack"] * 1000)
        self._write_ms = int(limits["write"] * 1000)
        self._out = bytearray(RECORD_BYTES)
        self._out_view = memoryview(self._out)
        self._out_used = 0
        self._first = bytearray(1)  # what peek() found
        self._has_first = False
        self._raw = _connect(address, port, int(limits["connect"] * 1000))
        try:
            self._tls = anchor.context.wrap_socket(
                self._raw, server_hostname=host, do_handshake_on_connect=False
            )
        except Exception as error:
            self._raw.close()
            raise anchors.reason(error)
        self._readable = select.poll()
        self._readable.register(self._raw, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._raw, select.POLLOUT)
        self.heard_at = time.ticks_ms()

    def handshake(self, limit_s):
        """Send what was written so far; mbedTLS shakes hands inside that first write."""
        either = select.poll()
        # Not the socket but the TLS object: it knows in which direction it waits.
        either.register(self._tls, select.POLLOUT)
        try:
            self._send(self._out, 0, self._out_used, int(limit_s * 1000), either)
        except (ValueError, OSError, MemoryError) as error:
            self.close()
            # The one that the pins' check has ended: mbedTLS has no words for that.
            if self._anchor.leaf and not self._anchor.is_pinned:
                raise CameraError("pin_mismatch", "its digest begins with " + self._anchor.leaf)
            raise _closed_or(error, anchors.reason)
        if not self._anchor.is_pinned:
            self.close()
            raise CameraError("pin_mismatch", "the firmware did not show the certificate")
        self._out_used = 0
        self.heard_at = time.ticks_ms()

    def write(self, data, size=None):
        """Take data (bytes-like), or its first size bytes, to be sent with flush().

        It goes out in whole records: what completes one is copied behind what is there, the
        rest is sent from where it is.
        """
        left = len(data) if size is None else size
        room = RECORD_BYTES - self._out_used
        if left <= room:
            self._keep(data, left)
            return
        self._keep(data[:room], room)
        self.flush()
        self._send_all(data, room, left - room)

    def write_file(self, file, size):
        """As write(), the next size bytes of a file. Raises OSError too."""
        while size:
            if self._out_used == RECORD_BYTES:
                self.flush()
            end = min(self._out_used + size, RECORD_BYTES)
            count = file.readinto(self._out_view[self._out_used : end])
            if not count:
                self.close()
                raise CameraError("spool", "a file became shorter while it was sent")
            self._out_used += count
            size -= count

    def _keep(self, data, size):
        out, at = self._out, self._out_used
        self._out_used = at + size
        if size > _BY_BYTE and size == len(data):
            out[at : at + size] = data
        else:
            for index in range(size):
                out[at] = data[index]
                at += 1

    def flush(self):
        """Send what was written; within limits_s.write."""
        if self._out_used:
            self._send_all(self._out, 0, self._out_used)
            self._out_used = 0

    def read(self, size):
        """Exactly size bytes, within answer_ms.

        Of more than READ_MAX_BYTES only so many are kept, which ones is not said: who can
        use no more looks at the length. (Refusing them would end the connection, and a
        retained message is there again on the next.)
        """
        self.flush()
        # A PUBLISH that ends inside its topic, in umqtt.simple's arithmetic.
        if size < 0:
            self.close()
            raise CameraError("protocol", "%d bytes at once" % size)
        data = bytearray(min(size, READ_MAX_BYTES))
        started = time.ticks_ms()
        got = 0
        if self._has_first and size:
            self._has_first = False
            data[0] = self._first[0]
            got = 1
        while got < size:
            at = got % READ_MAX_BYTES
            # Views cost heap; an answer comes whole.
            count = self._take(memoryview(data)[at : at + size - got] if got else data)
            if count is None:
                self._wait(self._readable, started, self.answer_ms)
            else:
                got += count
                if time.ticks_diff(time.ticks_ms(), started) > self.answer_ms:
                    self._late(self.answer_ms)
        self.heard_at = time.ticks_ms()
        return data

    def peek(self, limit_ms):
        """The byte that a read would find first, waiting at most limit_ms for it, or None."""
        self.flush()
        # A record can be in mbedTLS's buffer already, where the socket's poll sees nothing; and
        # the Unix port looks at a TLS object that is polled only once a millisecond.
        if not self._has_first and self._take(self._first) is None:
            for _ in self._readable.ipoll(limit_ms):
                break
            else:
                return None
            if self._take(self._first) is None:
                return None
        self._has_first = True
        return self._first[0]

    def skip(self):
        """Read the byte that peek() gave."""
        self._has_first = False

    def _take(self, buffer):
        """Read into the buffer what is there; the count, or None when nothing is."""
        try:
            count = self._tls.readinto(buffer)
        except (OSError, ValueError) as error:
            self.close()
            raise _closed_or(error, _lost)
        if count == 0:
            self.close()
            raise CameraError("broker_closed")
        return count

    def setblocking(self, flag):
        """umqtt.simple calls this; it would discard the limits."""

    def close(self):
        """Close, whatever state it is in."""
        for sock in (self._tls, self._raw):
            try:
                sock.close()
            except OSError:
                pass

    def _send_all(self, data, at, size):
        try:
            self._send(data, at, size, self._write_ms, self._writable)
        except (OSError, ValueError) as error:
            self.close()
            raise _closed_or(error, _lost)

    def _send(self, data, at, size, limit_ms, poll):
        started = time.ticks_ms()
        write = self._tls.write
        end = at + size
        while at < end:
            waiting.turn()
            # After a write that would block mbedTLS must be given the same bytes again.
            # One record at a time: MicroPython's write() goes on until the socket takes no
            # more, and lwIP's may wait 10 s for memory inside each (extmod/modlwip.c).
            # With offset and length, for a slice would cost heap for each record.
            count = write(data, at, min(end - at, RECORD_BYTES))
            if count:
                at += count
                if at < end and time.ticks_diff(time.ticks_ms(), started) >= limit_ms:
                    self._late(limit_ms)
            else:
                self._wait(poll, started, limit_ms)

    def _wait(self, poll, started, limit_ms):
        left = limit_ms - time.ticks_diff(time.ticks_ms(), started)
        if left <= 0:
            self._late(limit_ms)
        waiting.turn()
        for _ in poll.ipoll(waiting.slice_ms(left)):
            return

    def _late(self, limit_ms):
        self.close()
        raise CameraError("timeout", "%d ms" % limit_ms)


def shake_hands(host, address, port, anchor, limits, pins=()):
    """Connect, verify and leave again; see Transport. Raises CameraError."""
    transport = Transport(host, address, port, anchor, limits, pins)
    # MQTT 3.1.1, 3.14: goodbye. mbedTLS shakes hands inside the first write.
    transport.write(b"\xe0\x00")
    transport.handshake(limits["handshake"])
    transport.close()


def _connect(address, port, limit_ms):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Before connect(): of a connection that was reset since, lwIP dereferences NULL here.
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        sock.setblocking(False)
        try:
            sock.connect(socket.getaddrinfo(address, port)[0][-1])
        except OSError as error:
            if error.errno not in _IN_PROGRESS:
                raise
        _await_connected(sock, limit_ms)
    except OSError as error:
        sock.close()
        raise CameraError("refused", "%s:%d: %s" % (address, port, error))
    except CameraError:
        sock.close()
        raise
    return sock


def _await_connected(sock, limit_ms):
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    started = time.ticks_ms()
    while True:
        waiting.turn()
        left = limit_ms - time.ticks_diff(time.ticks_ms(), started)
        if left <= 0:
            raise CameraError("timeout", "no TCP connection in %d ms" % limit_ms)
        for _, event in poll.ipoll(waiting.slice_ms(left)):
            if event & (select.POLLERR | select.POLLHUP):
                raise OSError("nothing listens there, or it cannot be reached")
            return


# EINPROGRESS (Linux, lwIP; newlib).
_IN_PROGRESS = (115, 119)
# ECONNRESET, EPIPE, ENOTCONN, ECONNABORTED (Linux, lwIP; two each, for mimxrt has newlib's
# numbers), MBEDTLS_ERR_SSL_CONN_EOF: the other side went away, which says nothing of
# certificates.
_CLOSED = (104, 32, 107, 128, 103, 113, 0x7280)


def _closed_or(error, otherwise):
    # Out of an established connection the errno comes negated (measured, 1.25).
    if isinstance(error, OSError) and abs(error.errno) in _CLOSED:
        return CameraError("broker_closed", str(error))
    return otherwise(error)


def _lost(error):
    # ENOMEM (lwIP), negated.
    no_memory = isinstance(error, OSError) and error.errno == -12
    return CameraError("memory" if no_memory else "tls", str(error))
