"""The snapshots themselves: a file for each below the data folder, never written again.

To sync each file before its message is acknowledged would cost ten times as much as all the rest.
So a batch goes to the end of a journal first, which is synced once; the files follow unsynced,
and the journal goes when the kernel has them on disk. After a power cut the journal makes good
whatever they lack.
"""

import ctypes
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from host_tools.watch.evidence import SNAPSHOT_MAX, check

# No folder gets more entries than a person can list.
_PER_FOLDER = 1000
# Allocated at once: to sync a file that grows takes twice as long.
JOURNAL_BYTES = 32 * 1024 * 1024
# Lengths of the name and of the content that follow.
_HEAD = struct.Struct("<4sII")
_MAGIC = b"JPG1"
_NAME_MAX = 200


class Images:
    """The files of one data folder, which only this process writes to.

    They are written in a thread of their own, in order. Methods, and futures, raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        """Bring the files to what the journal of the last time says."""
        self.folder = folder
        self._journal = folder / "images.journal"
        self._old = folder / "images.journal.old"
        self._handle = -1
        self._end = 0
        self._settling: threading.Thread | None = None
        self._writer = ThreadPoolExecutor(1, "images")
        for path in (self._old, self._journal):
            self._recover(path)

    def close(self) -> None:
        """Leave no journal, if that can be."""
        self._writer.shutdown()
        if self._settling:
            self._settling.join()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._settle(self._old)
        self._settle(self._journal)

    def write(self, files: Mapping[str, bytes]) -> Future[None]:
        """Begin to keep each (name(): content), after what was begun before.

        A file that is there already is of a message that was never acknowledged: it is
        written anew.
        """
        return self._writer.submit(self._write, files)

    def sync(self) -> Future[None]:
        """When this has its result, what was written before is there after a power cut too."""
        return self._writer.submit(self._sync)

    def has(self, name: str, size: int) -> bool:
        """Whether this file is there, whole."""
        try:
            return os.stat(f"{self.folder}/{name}").st_size == size
        except FileNotFoundError:
            return False

    def remove(self, names: Iterable[str]) -> None:
        """Delete these, and the folders that are empty then; nothing may be being written."""
        folders = set()
        for name in names:
            path = self.folder / name
            path.unlink(missing_ok=True)
            folders |= {path.parent, path.parent.parent}
        for folder in sorted(folders, reverse=True):
            try:
                folder.rmdir()
            except OSError:
                pass  # there are others in it

    def show(self, camera: str, name: str) -> None:
        """Make this file the camera's latest.jpg."""
        path = self.latest(camera)
        temporary = path.with_name(".latest.tmp")
        temporary.unlink(missing_ok=True)
        os.link(self.folder / name, temporary)
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink()
            raise

    def latest(self, camera: str) -> Path:
        """Where a viewer finds the camera's newest snapshot, whatever happens to the others."""
        return self.folder / camera / "latest.jpg"

    def _write(self, files: Mapping[str, bytes]) -> None:
        pieces = []
        for name, content in files.items():
            encoded = name.encode()
            pieces += [_HEAD.pack(_MAGIC, len(encoded), len(content)) + encoded, content]
        self._append(pieces)
        for name, content in files.items():
            _write(f"{self.folder}/{name}", content)

    def _sync(self) -> None:
        if self._handle >= 0:
            _sync_data(self._handle)

    def _append(self, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces))
        if self._handle >= 0 and self._end + size > JOURNAL_BYTES and not self._is_settling():
            self._begin_settling()
        if self._handle < 0:
            self._open()
        # After a failure the same place is written to again.
        # In one call: between calls this thread has to wait for those that judge and read.
        if _write_together(self._handle, pieces, self._end) < size:
            _write_at(self._handle, b"".join(pieces), self._end)
        self._end += size

    def _open(self) -> None:
        handle = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, JOURNAL_BYTES)
            os.fsync(handle)
            _sync_folder(self.folder)
        except BaseException:
            os.close(handle)
            raise
        self._handle, self._end = handle, 0

    def _is_settling(self) -> bool:
        return self._settling is not None and self._settling.is_alive()

    def _begin_settling(self) -> None:
        """Have the kernel write the files, in a thread of its own, and then drop the journal."""
        if self._old.exists():
            # The last time it could not: that would be the only copy.
            self._settle(self._old)
        os.replace(self._journal, self._old)
        os.close(self._handle)
        self._handle = -1
        self._settling = threading.Thread(target=self._try_to_settle, name="images", daemon=True)
        self._settling.start()

    def _try_to_settle(self) -> None:
        try:
            self._settle(self._old)
        except OSError:
            pass  # the journal stays, and the next that is full meets the same error

    def _settle(self, journal: Path) -> None:
        if journal.exists():
            _sync_all(self.folder)
            journal.unlink()

    def _recover(self, journal: Path) -> None:
        if not journal.exists():
            return
        for name, content in _records(journal):
            path = self.folder / name
            if not path.exists() or path.read_bytes() != content:
                _write(os.fspath(path), content)
        self._settle(journal)


def name(camera: str, boot: int, seq: int) -> str:
    """The path of a snapshot's file below the data folder."""
    first = seq // _PER_FOLDER * _PER_FOLDER
    return f"{camera}/boot-{boot}/{first}-{first + _PER_FOLDER - 1}/{seq}.jpg"


def _records(journal: Path) -> Iterator[tuple[str, bytes]]:
    """What is whole in a journal; its end may be torn."""
    with journal.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, name_size, size = _HEAD.unpack(head)
            if magic != _MAGIC or name_size > _NAME_MAX or size > SNAPSHOT_MAX:
                return
            encoded, content = file.read(name_size), file.read(size)
            try:
                path = encoded.decode("ascii")
            except UnicodeDecodeError:
                return
            arrival = check(path.partition("/")[0], content)
            # The stamp has a digest, so the record needs none.
            if arrival.fault or arrival.identity is None:
                return
            if path != name(path.partition("/")[0], *arrival.identity):
                return
            yield path, content


def _write(path: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        handle = os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = os.open(path, flags, 0o600)
    try:
        _write_at(handle, content, 0)
    finally:
        os.close(handle)


def _write_together(handle: int, pieces: list[bytes], offset: int) -> int:
    """Write what can be written at once there; returns how much it was."""
    # Not on every system, and never more than IOV_MAX pieces.
    return os.pwritev(handle, pieces, offset) if hasattr(os, "pwritev") else 0


def _write_at(handle: int, content: bytes, offset: int) -> int:
    """Write all of it there; returns the offset after it."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(handle, rest, offset)
        rest, offset = rest[written:], offset + written
    return offset


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_data(handle: int) -> None:
    # macOS has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(handle)


def _sync_all(folder: Path) -> None:
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
