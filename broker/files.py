"""Files written whole or not at all, and never readable by others for a moment."""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make the folder path, parents as the umask says; one that exists is left as it is.

    Raises OSError, NotADirectoryError when a file is in the way.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=mode, exist_ok=True)
    except FileExistsError as error:
        # "File exists" would be no explanation.
        raise NotADirectoryError(
            errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename
        ) from error


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock file path; False, at once, when another process has it and not wait.

    The kernel releases it with the process, so a crash leaves no stale lock. Raises OSError.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write data to path: a new file beside it, created with mode, fsync, rename.

    After a crash at any point path holds the old bytes or the new ones. Raises OSError,
    leaving no temporary file behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    # os.open and not open: the mode is there from the first moment, whatever the umask adds.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            # A umask may have taken away what others are meant to read; it cannot have added.
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The rename itself is durable only once the directory is.
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names in this folder are on disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
