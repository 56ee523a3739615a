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

_SLICE_MS = 1000
_IPPROTO_TCP = 6
# lwIP's is not POSIX's 1 but 0x40 (extmod/modlwip.c); the Unix port does not name it.
_TCP_NODELAY = getattr(socket, "TCP_NODELAY", 1)


class Transport:
    """A verified connection to a broker. Raises CameraError, and is of no use after that.

    anchor: an anchors.Anchor; limits: the section limits_s of the settings.
    """

    def __init__(self, host, port, anchor, limits):
        self._write_ms = int(limits["write"] * 1000)
        self._reply_ms = int(limits["reply"] * 1000)
        self._out = bytearray(RECORD_BYTES)
        self._out_view = memoryview(self._out)
        self._out_used = 0
        self._raw = _connect(host, port, limits["connect"])
        try:
            anchor.begin()
            self._tls = anchor.context.wrap_socket(
                self._raw, server_hostname=host, do_handshake_on_connect=False
            )
        except Exception as error:
            self._raw.close()
            raise anchors.reason(error)
        self._readable = select.poll()
        self._readable.register(self._raw, select.POLLIN)
        # A record can be in mbedTLS's buffer already, where the socket's poll sees nothing.
        self._incoming = select.poll()
        self._incoming.register(self._tls, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._raw, select.POLLOUT)
        self.heard_at = time.ticks_ms()

    def handshake(self, limit_s):
        """Send what was written so far; mbedTLS shakes hands inside that first write."""
        either = select.poll()
        # Not the socket but the TLS object: it knows in which direction it waits.
        either.register(self._tls, select.POLLOUT)
        try:
            self._send(self._out_view[: self._out_used], int(limit_s * 1000), either)
        except (ValueError, OSError, MemoryError) as error:
            self.close()
            raise _closed_or(error, anchors.reason)
        self._out_used = 0
        self.heard_at = time.ticks_ms()

    def write(self, data, size=None):
        """Take data (bytes-like), or its first size bytes, to be sent with flush().

        What fills the record buffer is sent at once.
        """
        length = len(data) if size is None else size
        room = RECORD_BYTES - self._out_used
        if length < room:
            self._out[self._out_used : self._out_used + length] = (
                data if length == len(data) else memoryview(data)[:length]
            )
            self._out_used += length
            return
        view = memoryview(data)
        self._out[self._out_used :] = view[:room]
        self._out_used = RECORD_BYTES
        self.flush()
        if length - room >= RECORD_BYTES:
            self._send_all(view[room:length])
        else:
            self.write(view[room:length])

    def flush(self):
        """Send what was written; within limits_s.write."""
        if self._out_used:
            self._send_all(self._out_view[: self._out_used])
            self._out_used = 0

    def read(self, size):
        """Exactly size bytes, within limits_s.reply.

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
        view = memoryview(data)
        started = time.ticks_ms()
        got = 0
        while got < size:
            at = got % READ_MAX_BYTES
            try:
                count = self._tls.readinto(view[at : at + size - got])
            except (OSError, ValueError) as error:
                self.close()
                raise _closed_or(error, _lost)
            if count:
                got += count
                if time.ticks_diff(time.ticks_ms(), started) > self._reply_ms:
                    self._late(self._reply_ms)
            elif count == 0:
                self.close()
                raise CameraError("broker_closed")
            else:
                self._wait(self._readable, started, self._reply_ms)
        self.heard_at = time.ticks_ms()
        return data

    def wait_readable(self, limit_ms):
        """True when a read would find something, waiting at most limit_ms for it."""
        self.flush()
        return bool(self._incoming.poll(limit_ms))

    def setblocking(self, flag):
        """umqtt.simple calls this; it would discard the limits."""

    def close(self):
        """Close, whatever state it is in."""
        for sock in (self._tls, self._raw):
            try:
                sock.close()
            except OSError:
                pass

    def _send_all(self, view):
        try:
            self._send(view, self._write_ms, self._writable)
        except (OSError, ValueError) as error:
            self.close()
            raise _closed_or(error, _lost)

    def _send(self, view, limit_ms, poll):
        started = time.ticks_ms()
        sent = 0
        while sent < len(view):
            # After a write that would block mbedTLS must be given the same bytes again.
            # One record at a time: MicroPython's write() goes on until the socket takes no
            # more, and lwIP's may wait 10 s for memory inside each (extmod/modlwip.c).
            count = self._tls.write(view[sent : sent + RECORD_BYTES])
            waiting.turn()
            if count:
                sent += count
                if sent < len(view) and time.ticks_diff(time.ticks_ms(), started) >= limit_ms:
                    self._late(limit_ms)
            else:
                self._wait(poll, started, limit_ms)

    def _wait(self, poll, started, limit_ms):
        left = limit_ms - time.ticks_diff(time.ticks_ms(), started)
        if left <= 0:
            self._late(limit_ms)
        waiting.turn()
        poll.poll(min(left, _SLICE_MS))

    def _late(self, limit_ms):
        self.close()
        raise CameraError("timeout", "%d ms" % limit_ms)


def _connect(host, port, limit_s):
    waiting.turn()
    try:
        # AF_INET: lwIP's sockets on the camera are IPv4.
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][-1]
    except (OSError, IndexError) as error:
        raise CameraError("dns", "%s: %s" % (host, error))
    waiting.turn()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Before connect(): of a connection that was reset since, lwIP dereferences NULL here.
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        # One call, so that a time-out is a sound limit; from here on nothing blocks.
        sock.settimeout(limit_s)
        sock.connect(address)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        code = "timeout" if error.errno in _TIMEOUTS else "refused"
        raise CameraError(code, "%s:%d: %s" % (host, port, error))
    return sock


# ETIMEDOUT (Linux, lwIP), and what the Unix port gives instead: EINPROGRESS, EAGAIN.
_TIMEOUTS = (110, 116, 115, 11)
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
