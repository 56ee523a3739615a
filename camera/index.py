"""The index of a spool: which snapshots are on it, oldest first, without a look at the card.

RAM: 12 bytes for each entry that there may be.
"""

from array import array


class Index:
    """Entries in a ring, each a (boot, seq) and the size of its file, as many as `most`.

    in_flight: the (boot, seq) that were sent and wait for their PUBACK. count, bytes: of all
    that is there.
    """

    def __init__(self, most, in_flight):
        self.count = 0
        self.bytes = 0
        self._most = most
        self._in_flight = in_flight
        # Size 0: no longer there. Three, for a heap in small pieces.
        self._boots = array("I", bytes(4 * most))
        self._seqs = array("I", bytes(4 * most))
        self._sizes = array("I", bytes(4 * most))
        self._head = 0
        self._used = 0

    def add(self, boot, seq, size):
        """Another one, the newest; there must be fewer than `most`."""
        if self._used == self._most:
            self._close_gaps()
        at = self._at(self._used)
        self._boots[at] = boot
        self._seqs[at] = seq
        self._sizes[at] = size
        self._used += 1
        self.count += 1
        self.bytes += size

    def remove(self, identity):
        """It is no longer there; False when it was not."""
        at = self._find(identity)
        if at is None:
            return False
        self.count -= 1
        self.bytes -= self._sizes[at]
        self._sizes[at] = 0
        self._to_first()
        return True

    def size(self, identity):
        """The size of one that is there."""
        return self._sizes[self._find(identity)]

    def first(self):
        """The (boot, seq) of the oldest, or None."""
        if not self._to_first():
            return None
        return self._boots[self._head], self._seqs[self._head]

    def first_of(self, boot):
        """The (boot, seq) of the oldest of this boot, or None."""
        for index in range(self._used):
            at = self._at(index)
            if self._boots[at] == boot and self._sizes[at]:
                return boot, self._seqs[at]
        return None

    def waiting(self):
        """The (boot, seq) of the oldest that is not in flight, or None."""
        for index in range(self._used):
            at = self._at(index)
            if self._sizes[at]:
                identity = (self._boots[at], self._seqs[at])
                if identity not in self._in_flight:
                    return identity
        return None

    def oldest(self, count):
        """[(boot, seq), ...] of the oldest that are not in flight, at most so many."""
        found = []
        for index in range(self._used):
            at = self._at(index)
            identity = (self._boots[at], self._seqs[at])
            if self._sizes[at] and identity not in self._in_flight:
                found.append(identity)
                if len(found) == count:
                    break
        return found

    def _close_gaps(self):
        """Of what is gone behind one that is still there: room in the ring."""
        kept = 0
        for index in range(self._used):
            at, to = self._at(index), self._at(kept)
            size = self._sizes[at]
            if size:
                self._sizes[at] = 0
                self._boots[to], self._seqs[to] = self._boots[at], self._seqs[at]
                self._sizes[to] = size
                kept += 1
        self._used = kept

    def _to_first(self):
        """Move the head to the oldest that is there; False when there is none."""
        while self._used and not self._sizes[self._head]:
            self._head = (self._head + 1) % self._most
            self._used -= 1
        return self._used > 0

    def _find(self, identity):
        """Where in the ring this one is, or None."""
        boot, seq = identity
        for index in range(self._used):
            at = self._at(index)
            if self._boots[at] == boot and self._seqs[at] == seq and self._sizes[at]:
                return at
        return None

    def _at(self, index):
        return (self._head + index) % self._most
