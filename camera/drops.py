"""The record of snapshots that this camera gave up, told in health messages until it was heard.

A watcher can then say dropped-by-camera and not missing. On flash, so that a power cut
between the dropping and the telling does not lose the count.
"""

import json

from camera import log, state

# Reasons. The spool had no room: the oldest go first; the flash was written enough for today,
# or there is no spool, or it failed; the file was damaged; no broker takes it.
FULL = "full"
UNSTORED = "unstored"
DAMAGED = "damaged"
REFUSED = "refused"

RANGES_MAX = 64
# A PUBACK for a health message is no delivery of it: it is told this often.
TELL_TIMES = 10
# Writing the record for each snapshot that cannot be stored would wear out the flash.
_KEEP_INTERVAL_MS = 60000


class Drops:
    """The drops of one route. name: of its file in state/."""

    def __init__(self, name):
        self._name = name
        self._ranges = []  # [boot, first, last, reason, times told]
        self._changed = False
        self._kept_at_ms = -_KEEP_INTERVAL_MS
        try:
            for boot, first, last, reason in json.loads(state.recall(name)):
                self._ranges.append([boot, first, last, reason, 0])
        except (ValueError, TypeError):  # none, or damaged
            pass

    def add(self, boot, first, last, reason):
        """Record that seq first to last of this boot were given up; in RAM until keep()."""
        log.line("snapshots %d to %d of boot %d dropped: %s" % (first, last, boot, reason))
        self._changed = True
        for known in self._ranges:
            if known[0] == boot and known[3] == reason and known[2] + 1 == first:
                known[2] = last
                known[4] = 0
                return
        self._ranges.append([boot, first, last, reason, 0])
        # With all told this is as good as any; with none told the oldest is the least news.
        del self._ranges[:-RANGES_MAX]

    def keep(self):
        """Write the record to flash. What cannot be written stays in RAM."""
        self._ranges = [known for known in self._ranges if known[4] < TELL_TIMES]
        try:
            state.keep(self._name, json.dumps([known[:4] for known in self._ranges]))
            self._changed = False
        except OSError as error:
            log.line("the record of drops cannot be written: %s" % error)

    def keep_sometimes(self, now_ms):
        """keep(), if there is news, at most once a minute."""
        if self._changed and now_ms - self._kept_at_ms >= _KEEP_INTERVAL_MS:
            self._kept_at_ms = now_ms
            self.keep()

    def has(self, boot, seq):
        """True when this snapshot was given up."""
        return any(known[0] == boot and known[1] <= seq <= known[2] for known in self._ranges)

    def to_tell(self):
        """[[boot, first, last, reason], ...] for the next health message."""
        return [known[:4] for known in self._ranges if known[4] < TELL_TIMES]

    def told(self):
        """A health message with to_tell() was acknowledged."""
        for known in self._ranges:
            known[4] += 1
