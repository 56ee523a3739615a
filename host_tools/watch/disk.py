"""Writing at a place of a file, and knowing it on disk: what differs between systems."""

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path

Payload = bytes | memoryview

_PIECES_MAX = os.sysconf("SC_IOV_MAX")


def write_at(handle: int, pieces: Sequence[Payload], offset: int) -> None:
    """Write all of them there, one behind the other. Raises OSError."""
    written = 0
    # In one call: between two a thread has to wait for the one that judges.
    if len(pieces) <= _PIECES_MAX and hasattr(os, "pwritev"):
        written = os.pwritev(handle, pieces, offset)
    if written < sum(map(len, pieces)):
        rest = memoryview(b"".join(pieces))
        while written < len(rest):
            written += os.pwrite(handle, rest[written:], offset + written)


def sync_data(handle: int) -> None:
    """The content of this file is on disk."""
    # macOS has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(handle)


def sync_all(folder: Path) -> None:
    """Everything written to the file system of this folder so far is on disk."""
    if _syncfs is None:
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(folder))
    finally:
        os.close(handle)


def _find_syncfs() -> Callable[[int], int] | None:
    """Linux's, which waits for one file system and not for every one of the machine."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    return function and (lambda handle: int(function(handle)))


_syncfs = _find_syncfs()
