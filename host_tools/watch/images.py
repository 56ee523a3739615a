"""The snapshots themselves: a file for each below the data folder, never written again."""

import os
from collections.abc import Mapping
from pathlib import Path

# No folder gets more entries than a person can list.
_PER_FOLDER = 1000


class Images:
    """The files of one data folder. Methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, files: Mapping[str, bytes]) -> None:
        """Write each (name(): content); all are on disk when this returns.

        A file that is there already is of a message that was never acknowledged, and so was
        not recorded: it is written anew.
        """
        folders = set()
        for name, content in files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for folder in folders:
            _sync_folder(folder)

    def show(self, camera: str, name: str) -> None:
        """Make this file the camera's latest.jpg."""
        path = self.latest(camera)
        temporary = path.with_name(".latest.tmp")
        temporary.unlink(missing_ok=True)
        os.link(self._folder / name, temporary)
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink()
            raise

    def latest(self, camera: str) -> Path:
        """Where a viewer finds the camera's newest snapshot, whatever happens to the others."""
        return self._folder / camera / "latest.jpg"


def name(camera: str, boot: int, seq: int) -> str:
    """The path of a snapshot's file below the data folder."""
    first = seq // _PER_FOLDER * _PER_FOLDER
    return f"{camera}/boot-{boot}/{first}-{first + _PER_FOLDER - 1}/{seq}.jpg"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
