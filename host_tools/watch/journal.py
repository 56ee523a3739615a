"""What makes it safe to acknowledge snapshots whose files are not on disk yet.

To sync each file before its message is acknowledged would cost ten times as much as all the rest.
So what is stored together goes into a journal in one piece, which is synced once; the files follow
unsynced, and the journal is used anew when the kernel has them on disk. After a power cut the
journal makes good whatever they lack.
"""

import os
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from broker.files import sync_folder
from host_tools.watch import disk
from host_tools.watch.disk import Payload
from host_tools.watch.evidence import SNAPSHOT_MAX

# Allocated at once: to sync a file that grows takes longer.
JOURNAL_BYTES = 32 * 1024 * 1024
# Lengths of the name and of the content that follow.
_HEAD = struct.Struct("<4sII")
_MAGIC = b"JPG1"
_NAME_MAX = 200
# Behind the last record: what is there of the journal's former use is none.
_END = bytes(_HEAD.size)


class Journal:
    """The journal of one data folder. Its files take turns, and are kept: to sync a place that
    was written before takes half as long (measured).

    number: how many were begun. For one thread. Methods raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / "images.journal"
        self._old = folder / "images.journal.old"
        self._spare = folder / "images.journal.spare"
        self.number = 0
        self._handle = -1
        self._end = 0
        self._settling: threading.Thread | None = None

    def left(self) -> Iterator[Iterator[tuple[str, bytes]]]:
        """The (name, content) in each file that was left, the oldest first.

        Behind what is whole there may be anything: the caller is to stop at what is none of his.
        """
        for path in (self._old, self._current):
            if path.exists():
                yield _records(path)

    def is_full(self) -> bool:
        """Whether it is time for begin_anew()."""
        settling = self._settling is not None and self._settling.is_alive()
        return self._end >= JOURNAL_BYTES and not settling

    def append(self, files: Mapping[str, Payload]) -> Sequence[tuple[str, int, int]]:
        """Add these (name: content) to it; the (name, offset, size) of each content in it."""
        if self._handle < 0:
            self._open()
        pieces: list[Payload] = []
        places, at = [], self._end
        for name, content in files.items():
            encoded = name.encode()
            pieces += [_HEAD.pack(_MAGIC, len(encoded), len(content)) + encoded, content]
            at += len(pieces[-2])
            places.append((name, at, len(content)))
            at += len(content)
        # After a failure the same place is written to again.
        disk.write_at(self._handle, [*pieces, _END], self._end)
        self._end = at
        return places

    def sync(self) -> None:
        """When this returns what was appended is safe."""
        if self._handle >= 0:
            disk.sync_data(self._handle)

    def begin_anew(self) -> None:
        """To be called when all that is in it is in files, too.

        A thread has the kernel bring them to the disk, and frees the journal then. Until that is
        done they are safe in it.
        """
        self.sync()
        # If it could not the last time, that would be the only copy.
        self._settle(self._old)
        os.replace(self._current, self._old)
        self._hang_up()
        self._settling = threading.Thread(target=self._try_to_settle, name="journal", daemon=True)
        self._settling.start()

    def settle(self) -> None:
        """See to it that the files are on disk: then nothing is left."""
        if self._settling:
            self._settling.join()
        self._hang_up()
        self._settle(self._old)
        if self._current.exists():
            os.replace(self._current, self._old)
            self._settle(self._old)

    def _open(self) -> None:
        if not self._current.exists() and self._spare.exists():
            os.replace(self._spare, self._current)
        handle = os.open(self._current, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, JOURNAL_BYTES)
            os.fsync(handle)
            sync_folder(self._folder)
        except BaseException:
            os.close(handle)
            raise
        self._handle, self._end = handle, 0
        self.number += 1

    def _hang_up(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle, self._end = -1, 0

    def _try_to_settle(self) -> None:
        try:
            self._settle(self._old)
        except OSError:
            pass  # the journal stays, and the next that is full meets the same error

    def _settle(self, path: Path) -> None:
        if not path.exists():
            return
        disk.sync_all(self._folder)
        handle = os.open(path, os.O_WRONLY)
        try:
            # Else what retention has deleted since would be back after a power cut.
            disk.write_at(handle, [_END], 0)
            os.ftruncate(handle, JOURNAL_BYTES)
            disk.sync_data(handle)
        finally:
            os.close(handle)
        os.replace(path, self._spare)


def _records(path: Path) -> Iterator[tuple[str, bytes]]:
    """What is whole; the end may be torn."""
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, name_size, size = _HEAD.unpack(head)
            if magic != _MAGIC or name_size > _NAME_MAX or size > SNAPSHOT_MAX:
                return
            encoded, content = file.read(name_size), file.read(size)
            try:
                yield encoded.decode("ascii"), content
            except UnicodeDecodeError:
                return
