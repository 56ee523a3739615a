"""Maintenance: the application does not start, so that no watchdog bites while files are copied."""

from camera import state

# The name of the state file: any text in it, until it is removed.
NAME = "maintenance"
# What `anchorcam deploy` writes: for one reset, and not if the power is cut instead.
ONCE = "once"


def is_asked_for(after_power_up):
    """True when the application must not start now. What was for this start alone is used up."""
    text = state.recall(NAME)
    if text != ONCE:
        return bool(text)
    state.forget(NAME)
    return not after_power_up
