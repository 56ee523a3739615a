"""What goes on while something waits: the watchdog is fed, and what is due meanwhile is done.

Whatever waits does so in slices of slice_ms(), with turn() before each. Nothing else in
this package may wait (tests/device/test_bounds.py).
"""

import time

from camera import watchdog
from camera.errors import CameraError

_SLICE_MS = 1000


def _nothing():
    pass


def _no_hurry():
    return _SLICE_MS


_work = _nothing
_due_in_ms = _no_hurry
_attempt_started = 0
_attempt_ms = None


def meanwhile(work, due_in_ms):
    """Set what is done while something waits.

    work(): called in each turn, raises nothing; due_in_ms(): how long until it has something
    to do.
    """
    global _work, _due_in_ms
    _work = work
    _due_in_ms = due_in_ms


def limit_attempt(limit_ms):
    """From now on turn() raises when limit_ms are over; None: no longer."""
    global _attempt_started, _attempt_ms
    _attempt_started = time.ticks_ms()
    _attempt_ms = limit_ms


def turn():
    """One turn: to be called before each slice of a wait, and between bounded steps.

    Raises CameraError("timeout") when the whole attempt to connect has taken too long.
    """
    watchdog.feed()
    _work()
    if _attempt_ms is None:
        return
    if time.ticks_diff(time.ticks_ms(), _attempt_started) > _attempt_ms:
        raise CameraError("timeout", "the whole attempt, %d ms" % _attempt_ms)


def sleep(ms):
    """Wait so long."""
    started = time.ticks_ms()
    while True:
        turn()
        left = ms - time.ticks_diff(time.ticks_ms(), started)
        if left <= 0:
            return
        time.sleep_ms(slice_ms(left))


def slice_ms(left_ms):
    """How long to wait until the next turn when left_ms of a limit are left, at least 1."""
    return max(min(left_ms, _due_in_ms(), _SLICE_MS), 1)
