"""What goes on while something waits: the watchdog is fed, and what is due meanwhile is done.

Whatever waits does so in slices of slice_ms(), with turn() before each. Nothing else in
this package may wait.
"""

from camera import watchdog

_SLICE_MS = 1000


def _nothing():
    pass


def _no_hurry():
    return _SLICE_MS


_work = _nothing
_due_in_ms = _no_hurry


def meanwhile(work, due_in_ms):
    """Set what is done while something waits.

    work(): called in each turn, raises nothing; due_in_ms(): how long until it has something
    to do.
    """
    global _work, _due_in_ms
    _work = work
    _due_in_ms = due_in_ms


def turn():
    """One turn: to be called before each slice of a wait, and between bounded steps."""
    watchdog.feed()
    _work()


def slice_ms(left_ms):
    """How long to wait until the next turn when left_ms of a limit are left, at least 0."""
    return max(min(left_ms, _due_in_ms(), _SLICE_MS), 0)
