"""Stand-in for the firmware's network: a link that takes its time (runs under MicroPython)."""

import os
import time

STA_IF = 0

_UP_AFTER_MS = 200


def _is_away():
    try:
        os.stat(os.getenv("VIRTUAL_CAMERA_NO_LINK"))
    except OSError:
        return False
    return True


class _Interface:
    def __init__(self):
        self._active = False
        self._asked_at = None

    def active(self, flag=None):
        if flag is None:
            return self._active
        self._active = flag
        if not flag:
            self._asked_at = None

    def ifconfig(self):
        # A liberty: a camera's own is an address without a port.
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", os.getenv("VIRTUAL_CAMERA_DNS"))

    def isconnected(self):
        if self._asked_at is None or _is_away():
            return False
        return time.ticks_diff(time.ticks_ms(), self._asked_at) >= _UP_AFTER_MS


class WLAN(_Interface):
    def __init__(self, mode=STA_IF):
        super().__init__()

    def connect(self, ssid, key=None, security=-1):
        if not self._active:
            raise OSError("STA must be active")
        self._asked_at = time.ticks_ms()

    def disconnect(self):
        self._asked_at = None

    def scan(self):
        # (ssid, bssid, channel, RSSI, security, hidden)
        names = () if _is_away() else ("test", "anchorcam-demo")
        return [(name.encode(), bytes(6), 6, -55, 4, False) for name in names]

    def status(self, what=None):
        if what == "rssi":
            return -55
        return 3 if self.isconnected() else 1


class LAN(_Interface):
    def active(self, flag=None):
        if flag:
            self._asked_at = time.ticks_ms()
        return super().active(flag)
