"""Lines on the serial console, one per event, each with the time since the program began."""

import time

_start = time.ticks_ms()


def line(text):
    """Print "[seconds] text"."""
    ms = time.ticks_diff(time.ticks_ms(), _start)
    print("[%6d.%03d] %s" % (ms // 1000, ms % 1000, text))
