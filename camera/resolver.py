"""Names to addresses, bounded: asked over UDP of the network's own server.

Not getaddrinfo: lwIP's waits up to 14 s, in which no picture is taken and no watchdog fed.
"""

import os
import select
import socket
import time

from camera import dns, waiting
from camera.errors import CameraError
from camera.rules import split_server

_PORT = 53
# RFC 6762, 6.7: a query from another port than 5353 is answered as plain DNS would.
_MDNS = "224.0.0.251:5353"
_REPEAT_MS = 1000
_KEPT_MAX = 8


class Resolver:
    """link: a link.Link, which knows the server; limit_s: for one look-up."""

    def __init__(self, link, limit_s):
        self._link = link
        self._limit_ms = int(limit_s * 1000)
        self._kept = {}

    def resolve(self, host):
        """The address of host, "a.b.c.d". Raises CameraError("dns")."""
        if dns.is_address(host):
            return host
        server = _MDNS if host.endswith(".local") else self._link.dns_server()
        try:
            address = _look_up(host, server, self._limit_ms)
        except OSError as error:
            # The last good one will do: TLS proves who answers there.
            if host in self._kept:
                return self._kept[host]
            raise CameraError("dns", "%s, asked of %s: %s" % (host, server, error))
        except dns.NoAddress as error:
            raise CameraError("dns", "%s, asked of %s: %s" % (host, server, error))
        if len(self._kept) < _KEPT_MAX or host in self._kept:
            self._kept[host] = address
        return address


def _look_up(host, server, limit_ms):
    """The address. Raises OSError when the server does not answer, NoAddress when it does."""
    name, port = split_server(server, _PORT)
    # A dotted address: nothing is looked up.
    where = socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_DGRAM)[0][-1]
    asked = dns.query(host, os.urandom(2))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        started = time.ticks_ms()
        sent = 0
        while True:
            waiting.turn()
            spent = time.ticks_diff(time.ticks_ms(), started)
            if spent >= limit_ms:
                raise OSError("no answer in %d ms" % limit_ms)
            if spent >= sent * _REPEAT_MS:
                sock.sendto(asked, where)
                sent += 1
            for _ in poll.ipoll(waiting.slice_ms(min(limit_ms, sent * _REPEAT_MS) - spent)):
                address = dns.read_answer(sock.recv(512), asked)
                if address is not None:
                    return address
    finally:
        sock.close()
