"""Memory that two processes share: the one puts payloads in, the other looks at them."""

import mmap
import os
import tempfile
from collections import deque

# Whatever is put in costs that much more, so that their number is bounded, too.
_EACH = 512


def make(size: int) -> int:
    """So many bytes of memory, as a file descriptor to be inherited. Raises OSError."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("anchorcam")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle


def open_memory(handle: int) -> memoryview:
    """All of it; the descriptor is closed."""
    view = memoryview(mmap.mmap(handle, 0))
    os.close(handle)
    return view


class Ring:
    """The memory for the one who puts in, round and round.

    memory: of size() bytes; most: bytes from which on no more should be put in.
    """

    def __init__(self, memory: memoryview, most: int) -> None:
        self._memory = memory
        self._most = most
        self._head = 0
        self._used = 0
        self._taken: deque[int] = deque()

    @staticmethod
    def size(most: int, longest: int) -> int:
        """The bytes of memory that it needs when no payload is longer.

        Whoever has asked has_room() puts in one more, or some short ones that came together, and
        may have to leave the end unused.
        """
        return most + 3 * longest

    def has_room(self) -> bool:
        """Whether there is room for one more, however long."""
        return self._used < self._most

    def put(self, payload: bytes | memoryview) -> int:
        """Copy it in; the offset where it is."""
        cost = len(payload) + _EACH
        if not self._taken:
            # What is used least often is not touched at all.
            self._head = 0
        if self._head + len(payload) > len(self._memory):
            cost += len(self._memory) - self._head
            self._head = 0
        offset = self._head
        self._head += len(payload)
        self._memory[offset : self._head] = payload
        self._taken.append(cost)
        self._used += cost
        return offset

    def free(self) -> None:
        """The oldest is no longer needed."""
        self._used -= self._taken.popleft()
