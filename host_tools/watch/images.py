"""The snapshots themselves: a file for each below the data folder, never written again."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from host_tools.watch import disk
from host_tools.watch.evidence import check
from host_tools.watch.journal import Journal

# No folder gets more entries than a person can list.
_PER_FOLDER = 1000


class Images:
    """The files of one data folder, which only this process writes to.

    They are written in a thread of their own, in order. Methods, and futures, raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        """Bring the files to what the journal of the last time says."""
        self.folder = folder
        self._journal = Journal(folder)
        for records in self._journal.left():
            for name, content in records:
                if not _is_whole(name, content):
                    break
                self._make_good(name, content)
        self._journal.settle()
        self._writer = ThreadPoolExecutor(1, "images")
        # Apart: to sync takes as long as to write ten files.
        self._safe = ThreadPoolExecutor(1, "journal")

    def close(self) -> None:
        """Leave nothing in the journal, if that can be."""
        self._writer.shutdown()
        self._safe.shutdown()
        self._journal.settle()

    def write(self, files: Mapping[str, bytes]) -> Future[None]:
        """Begin to write each (name(): content), after what was begun before.

        A file that is there already is of a message that was never acknowledged: it is
        written anew.
        """
        return self._writer.submit(self._write, files)

    def secure(self, files: Mapping[str, bytes]) -> tuple[Future[None], Future[None]]:
        """What has its result when there is room for these, and what when they are safe.

        Safe: what write() wrote is there after a power cut, too.
        """
        append, sync = self._journal.append, self._journal.sync
        return self._safe.submit(append, files), self._safe.submit(sync)

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
        for name, content in files.items():
            _write(f"{self.folder}/{name}", content)

    def _make_good(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if not path.exists() or path.read_bytes() != content:
            _write(os.fspath(path), content)


def name(camera: str, boot: int, seq: int) -> str:
    """The path of a snapshot's file below the data folder."""
    first = seq // _PER_FOLDER * _PER_FOLDER
    return f"{camera}/boot-{boot}/{first}-{first + _PER_FOLDER - 1}/{seq}.jpg"


def _is_whole(path: str, content: bytes) -> bool:
    """Whether this is a snapshot and its file's name; the stamp has a digest."""
    camera = path.partition("/")[0]
    arrival = check(camera, content)
    return not arrival.fault and bool(arrival.identity and path == name(camera, *arrival.identity))


def _write(path: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        handle = os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = os.open(path, flags, 0o600)
    try:
        if os.write(handle, content) < len(content):
            # As it ends here when a disk is full: the second try says why.
            disk.write_at(handle, [content], 0)
    finally:
        os.close(handle)
