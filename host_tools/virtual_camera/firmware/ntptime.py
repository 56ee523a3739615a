"""Stand-in for the firmware's ntptime: SNTP that believes any answer (runs under MicroPython).

The application does not use it (camera/clock.py says why); users' own scripts do. Its
port is fixed, as the firmware's: board.py can send it to another server.
"""

import os
import socket
import struct
import time as _time

import machine

host = "pool.ntp.org"
timeout = 1

_NTP_TO_UNIX_S = 2208988800


def time():
    name, _, port = (os.getenv("VIRTUAL_CAMERA_NTP") or host + ":123").partition(":")
    address = socket.getaddrinfo(name, int(port), socket.AF_INET, socket.SOCK_DGRAM)[0][-1]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.settimeout(timeout)
        sock.sendto(b"\x23" + bytes(47), address)
        answer = sock.recv(48)
    finally:
        sock.close()
    return struct.unpack_from("!I", answer, 40)[0] - _NTP_TO_UNIX_S


def settime():
    year, month, day, hour, minute, second, weekday = _time.gmtime(time())[:7]
    machine.RTC().datetime((year, month, day, weekday + 1, hour, minute, second, 0))
