"""The snapshots themselves: a file for each below the data folder, never written again."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from host_tools.watch import filer
from host_tools.watch.disk import Payload
from host_tools.watch.evidence import check
from host_tools.watch.filing import Filer
from host_tools.watch.journal import Journal

# No folder gets more entries than a person can list.
_PER_FOLDER = 1000


class Images:
    """The files of one data folder, which this and the process that it starts write to.

    Methods, and futures, raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        """Bring the files to what the journal of the last time says."""
        self.folder = folder
        self._journal = Journal(folder)
        self._filer = Filer(folder)
        try:
            self._recover()
        except BaseException:
            self._filer.close()
            raise
        # One thread for the journal and the filer, that all is done in order.
        self._writer = ThreadPoolExecutor(1, "images")
        self._begun: list[Future[None]] = []
        self._syncing: Future[None] = Future()
        self._is_safe = True
        self._is_doubtful = False

    def close(self) -> None:
        """Leave nothing in the journal, if that can be."""
        self._writer.shutdown()
        self._filer.close()
        self._journal.settle()

    def begin(self, files: Mapping[str, Payload]) -> None:
        """Begin to keep each (name(): content), after what was begun before.

        A file that is there already is of a message that was never acknowledged: it is
        written anew.
        """
        self._is_safe = False
        self._begun.append(self._writer.submit(self._begin, files))

    def finish(self) -> None:
        """Return when what was begun is written; begin to make it safe."""
        if self._is_safe:
            return
        for each in self.settled():
            each.result()
        # What a failed sync did not write the kernel may call written when it is asked again.
        work = self._journal.settle if self._is_doubtful else self._journal.sync
        self._is_doubtful = True
        self._syncing = self._writer.submit(work)

    def secure(self) -> None:
        """Return when all that finish() has finished is safe: there after a power cut, too."""
        if self._is_safe:
            return
        self._syncing.result()
        self._is_doubtful = False
        self._is_safe = True

    def settled(self) -> Iterable[Future[None]]:
        """What was begun, when it is over, well or not."""
        begun = [*self._begun, self._writer.submit(self._filer.finish)]
        self._begun = []
        return wait(begun).done

    def has(self, name: str, content: Payload) -> bool:
        """Whether this file is there, with this content."""
        try:
            return (self.folder / name).read_bytes() == content
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

    def _begin(self, files: Mapping[str, Payload]) -> None:
        if self._journal.is_full():
            self._filer.finish()
            self._journal.begin_anew()
        places = self._journal.append(files)
        self._filer.begin(self._journal.number, places)

    def _recover(self) -> None:
        for records in self._journal.left():
            for name, content in records:
                if not _is_whole(name, content):
                    break
                path = self.folder / name
                if not path.exists() or path.read_bytes() != content:
                    filer.write(os.fspath(path), content)
        self._journal.settle()


def name(camera: str, boot: int, seq: int) -> str:
    """The path of a snapshot's file below the data folder."""
    first = seq // _PER_FOLDER * _PER_FOLDER
    return f"{camera}/boot-{boot}/{first}-{first + _PER_FOLDER - 1}/{seq}.jpg"


def _is_whole(path: str, content: bytes) -> bool:
    """Whether this is a snapshot and its file's name; the stamp has a digest."""
    camera = path.partition("/")[0]
    arrival = check(camera, content)
    return not arrival.fault and bool(arrival.identity and path == name(camera, *arrival.identity))
