"""Stand-in for the firmware's machine, with a camera's traps (runs under MicroPython).

The clock stands at 2000-01-01 after a power-up and is set by RTC alone: libfaketime reads
its offset from real time in the file that RTC.datetime() rewrites, so mbedTLS sees the
same wrong time. The watchdog is the kernel's interval timer: it kills the process.
"""

import array
import os
import time

import ffi

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = range(1, 6)

# board.py knows this exit status as a hard reset.
_HARD_RESET_STATUS = 75
_ITIMER_REAL = 0

_libc = ffi.open(None)
_setitimer = _libc.func("i", "setitimer", "iPP")
_exit = _libc.func("v", "_exit", "i")


def reset():
    _exit(_HARD_RESET_STATUS)


def reset_cause():
    return int(os.getenv("VIRTUAL_CAMERA_RESET_CAUSE"))


def unique_id():
    return os.getenv("VIRTUAL_CAMERA_UNIQUE_ID").encode()


class WDT:
    def __init__(self, id=0, timeout=5000):
        # STM32: the counter ends at 32 s.
        if not 1 <= timeout <= 32000:
            raise ValueError("timeout out of range")
        # Tests cannot wait for half a minute.
        timeout = min(timeout, int(os.getenv("VIRTUAL_CAMERA_WATCHDOG_MOST_MS") or timeout))
        self._timer = array.array("l", (0, 0, timeout // 1000, timeout % 1000 * 1000))
        self.feed()

    def feed(self):
        _setitimer(_ITIMER_REAL, self._timer, None)


class RTC:
    def datetime(self, value=None):
        if value is None:
            year, month, day, hour, minute, second, weekday = time.gmtime()[:7]
            return (year, month, day, weekday + 1, hour, minute, second, 0)
        year, month, day, _, hour, minute, second, _ = value
        target = time.mktime((year, month, day, hour, minute, second, 0, 0))
        path = os.getenv("FAKETIME_TIMESTAMP_FILE")
        with open(path) as file:
            offset = int(file.read())
        offset += target - time.time()
        with open(path + ".new", "w") as file:
            file.write("%+d" % offset)
        os.rename(path + ".new", path)


class LED:
    def __init__(self, name):
        self._on = False

    def on(self):
        self._on = True

    def off(self):
        self._on = False

    def toggle(self):
        self._on = not self._on
