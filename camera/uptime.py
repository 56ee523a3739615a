"""How long the program has been running."""

import time


class Uptime:
    """Milliseconds since it was made, without the wrap of ticks_ms (12 days on 32 bits).

    ms() must be called at least every 6 days.
    """

    def __init__(self):
        self._last = time.ticks_ms()
        self._ms = 0

    def ms(self):
        now = time.ticks_ms()
        self._ms += time.ticks_diff(now, self._last)
        self._last = now
        return self._ms
