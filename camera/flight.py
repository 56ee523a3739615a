"""What is on its way to a broker: which snapshots, and where each is until its PUBACK comes.

The newest is in the frame buffer. When that is needed for the next, a snapshot that was sent
is copied to RAM, if the window and the heap allow, or else is put on the spool.

RAM: as many copies as the window has, in a quarter at most of the heap that is free at boot;
none with a window of 1.
"""

import gc

_WINDOW_MOST = 4
# So much free heap for each snapshot in flight: 1 is all that a board without external RAM gets.
_HEAP_FOR_EACH = 512 * 1024
# How often a snapshot is sent in vain. One that a broker ends the connection for, such as one
# over its limit, must not keep all others back for ever.
_SEND_TRIES = 5


class Flight:
    """The snapshots of one route that were sent and not acknowledged, at most a window of them.

    Each goes by its identity, (boot, seq). window: how many, None for as many as the heap
    allows; shares: how many routes share the heap. in_flight: in the order of sending.
    """

    def __init__(self, window, shares):
        gc.collect()
        free = gc.mem_free()
        self.in_flight = []
        self._window = window or max(min(free // _HEAP_FOR_EACH, _WINDOW_MOST), 1)
        self._left = free // 4 // shares  # bytes that buffers may still take
        self._copies = []  # (identity, size, buffer), oldest first
        self._spare = []  # buffers that are free again: a new one each time tears the heap
        self._suspects = {}  # identity: how often the broker left when it was sent alone

    def has_room(self):
        """True when one more may be sent, if may_send() says which."""
        return len(self.in_flight) < self._window

    def may_send(self, identity):
        """False for one that must wait: what a broker may have left for is sent alone."""
        if not self.in_flight:
            return True
        return not self._suspects or (
            identity not in self._suspects and self.in_flight[0] not in self._suspects
        )

    def landed(self, identity):
        """The broker has acknowledged it."""
        if identity in self.in_flight:
            self.in_flight.remove(identity)
        self._suspects.pop(identity, None)

    def lost(self, broker_left):
        """The connection is gone; the one to give up, or None."""
        refused = None
        if broker_left and self.in_flight:
            alone = len(self.in_flight) == 1
            self._suspects = {
                identity: self._suspects.get(identity, 0) + alone for identity in self.in_flight
            }
            if alone and self._suspects[self.in_flight[0]] >= _SEND_TRIES:
                refused = self.in_flight[0]
                self._suspects = {}
        self.in_flight.clear()
        return refused

    # Copies.

    def copy(self, identity, parts):
        """Copy a snapshot that was sent to RAM; False when there is no room."""
        if self._window == 1:
            return False
        size = 0
        for part in parts:
            size += len(part)
        buffer = self._buffer(size)
        if buffer is None:
            return False
        at = 0
        for part in parts:
            buffer[at : at + len(part)] = part
            at += len(part)
        self._copies.append((identity, size, buffer))
        return True

    def drop_copy(self, identity):
        """Forget the copy of this snapshot; False when there is none."""
        for copy in self._copies:
            if copy[0] == identity:
                self._copies.remove(copy)
                self._spare.append(copy[2])
                return True
        return False

    def oldest_copy(self):
        """The ((boot, seq), parts) of the oldest copy, or None."""
        if not self._copies:
            return None
        identity, size, buffer = self._copies[0]
        return identity, (memoryview(buffer)[:size],)

    def _buffer(self, size):
        for buffer in self._spare:
            if len(buffer) >= size:
                self._spare.remove(buffer)
                return buffer
        # Frames differ in size: with some room to spare the next one fits too.
        size += size // 4
        while self._spare and self._left < size:
            self._left += len(self._spare.pop())
        if self._left < size:
            return None
        try:
            buffer = bytearray(size)
        except MemoryError:
            return None
        self._left -= size
        return buffer
