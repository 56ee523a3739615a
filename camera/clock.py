"""The clock: SNTP over several servers, checked; TLS is not tried before it is believed.

Not the firmware's ntptime: that believes any UDP packet, knows whole seconds only,
and its port is fixed. (SNTP client: RFC 4330, section 5; RFC 5905.)
"""

import os
import select
import socket
import struct
import time

import machine

from camera import log, state, waiting
from camera.errors import CameraError
from camera.rules import split_server

# 2026-11-01, when this was written: no time before it can be true.
FLOOR_S = 1793491200
# From 1900-01-01 to 1970-01-01; RFC 5905, section 6.
_NTP_TO_UNIX_S = 2208988800
# The 32 bits of NTP seconds wrap on 2036-02-07. Before the floor is after the wrap.
_NTP_ERA_S = 1 << 32
# From a failed resync to the next: asking takes seconds in which nothing is published.
_RETRY_MS = 600000
_DAY_S = 86400
_PORT = 123
# Name of the state file.
_KEPT = "time"


class Clock:
    """Unix time that can be believed, or none.

    clock_settings: the section clock; limit_s: for each server's answer; resolver: a
    resolver.Resolver. source: who gave
    the time; refused: answers before the floor; step_ms: of the last answer against what was
    believed before; steps: how many of them were over the limit.
    """

    def __init__(self, clock_settings, limit_s, uptime, resolver):
        self._resolver = resolver
        self._servers = list(clock_settings["servers"])
        self._limit_ms = int(limit_s * 1000)
        self._resync_ms = clock_settings["resync_s"] * 1000
        self._step_ms = int(clock_settings["step_s"] * 1000)
        self._uptime = uptime
        self._offset_ms = None  # Unix time less uptime
        self._synced_at_ms = 0
        self._due_ms = 0
        self.source = None
        self.refused = 0
        self.step_ms = None
        self.steps = 0
        self._floor_s = max(FLOOR_S, _kept_s())

    def unix_ms(self):
        """Unix time in ms, None while the clock is not believed."""
        return None if self._offset_ms is None else self._uptime.ms() + self._offset_ms

    def age_s(self):
        """Seconds since the last good answer, None before the first."""
        if self._offset_ms is None:
            return None
        return (self._uptime.ms() - self._synced_at_ms) // 1000

    def due(self):
        """True before the first good answer, resync_s after it, and then now and again."""
        return self._offset_ms is None or self._uptime.ms() >= self._due_ms

    def sync(self):
        """Ask each server in turn until one gives a time that can be believed; set the RTC.

        Raises CameraError("clock_unset") when none does. A clock that was believed
        before goes on being believed.
        """
        why = ""
        for server in self._servers:
            waiting.turn()
            try:
                unix_ms = self._ask(server)
            except (CameraError, OSError, ValueError) as error:
                why += "%s: %s; " % (server, error)
                continue
            if unix_ms // 1000 < self._floor_s:
                self.refused += 1
                why += "%s: its time is before one that was right already; " % server
                continue
            now = self._uptime.ms()
            self._note_step(unix_ms - now, server)
            self._offset_ms = unix_ms - now
            self._synced_at_ms = now
            self._due_ms = now + self._resync_ms
            self.source = server
            _set_rtc(unix_ms // 1000)
            return
        self._due_ms = self._uptime.ms() + min(self._resync_ms, _RETRY_MS)
        raise CameraError("clock_unset", why[:-2])

    def doubt(self):
        """A certificate is not valid now, says mbedTLS: ask again, another server first."""
        self._servers.append(self._servers.pop(0))
        self._due_ms = self._uptime.ms()

    def proved(self):
        """A broker's certificates were valid now, so no later time is before this one.

        On flash, at most once a day. (Not before: one lie of a clock server would lock the
        camera out for good.)
        """
        now_s = self.unix_ms() // 1000
        if now_s < self._floor_s + _DAY_S:
            return
        self._floor_s = now_s
        try:
            state.keep(_KEPT, str(now_s))
        except OSError as error:
            log.line("the time cannot be kept: %s" % error)

    def _note_step(self, offset_ms, server):
        if self._offset_ms is None:
            return
        self.step_ms = offset_ms - self._offset_ms
        if abs(self.step_ms) > self._step_ms:
            self.steps += 1
            log.line("the clock steps by %d ms, says %s" % (self.step_ms, server))

    def _ask(self, server):
        """Unix time in ms from one server. Raises OSError or ValueError."""
        host, port = split_server(server, _PORT)
        # A dotted address: nothing is looked up.
        address = self._resolver.resolve(host)
        where = socket.getaddrinfo(address, port, socket.AF_INET, socket.SOCK_DGRAM)[0][-1]
        request = bytearray(48)
        request[0] = 0x23  # version 4, mode 3 (client)
        # The transmit timestamp comes back as the originate timestamp: random bytes there
        # let nobody answer who has not seen the request.
        request[40:48] = os.urandom(8)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sent_at = time.ticks_ms()
            sock.sendto(request, where)
            answer = self._receive(sock, sent_at, request)
            delay_ms = time.ticks_diff(time.ticks_ms(), sent_at)
        finally:
            sock.close()
        seconds, fraction = struct.unpack_from("!II", answer, 40)
        if seconds < FLOOR_S + _NTP_TO_UNIX_S - (1 << 31):
            seconds += _NTP_ERA_S
        unix_ms = (seconds - _NTP_TO_UNIX_S) * 1000 + (fraction * 1000 >> 32)
        return unix_ms + delay_ms // 2

    def _receive(self, sock, sent_at, request):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        while True:
            left = self._limit_ms - time.ticks_diff(time.ticks_ms(), sent_at)
            if left <= 0:
                raise OSError("no answer in %d ms" % self._limit_ms)
            waiting.turn()
            if not poll.poll(waiting.slice_ms(left)):
                continue
            answer = sock.recv(48)
            # Another's packet, late or forged, is no answer: go on waiting.
            if len(answer) == 48 and answer[24:32] == request[40:48]:
                break
        mode = answer[0] & 7
        leap = answer[0] >> 6
        stratum = answer[1]
        if mode != 4 or leap == 3 or not 1 <= stratum <= 15:
            raise ValueError("it says itself that its time is not to be used")
        return answer


def _kept_s():
    try:
        return int(state.recall(_KEPT))
    except ValueError:
        return 0


def _set_rtc(unix_s):
    # The port's own epoch is 2000 on STM32, 1970 on the others.
    epoch = 946684800 if time.gmtime(0)[0] == 2000 else 0
    year, month, day, hour, minute, second, weekday = time.gmtime(unix_s - epoch)[:7]
    machine.RTC().datetime((year, month, day, weekday + 1, hour, minute, second, 0))
