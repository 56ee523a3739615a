"""Writes snapshots out of the journal into files of their own, for the watcher that started it.

A process of its own: a thread would wait four times per file for those that read and judge.
`python filer.py FOLDER` takes on stdin one line of JSON for each order and answers it on stdout:

    [N, [["NAME", OFFSET, SIZE], …]]    write these files out of the N-th images.journal
    null, or [ERRNO, "TEXT", "NAME"]    they are written, or what went wrong with which

It says null when it begins, and ends with its stdin. Until then no other works in this folder, so
that none writes behind the back of a watcher that was started after one that was killed.
"""

import errno
import fcntl
import json
import os
import signal
import sys


def main() -> None:
    """Raises OSError when the folder cannot be used."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are for the watcher, which ends this.
        signal.signal(number, signal.SIG_IGN)
    os.chdir(sys.argv[1])
    lock = os.open("filer.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _answer(None)
    journal, last = -1, 0
    for line in sys.stdin.buffer:
        which, files = json.loads(line)
        name = "images.journal"
        try:
            if which != last:
                if journal >= 0:
                    os.close(journal)
                journal, last = -1, 0
                journal, last = os.open(name, os.O_RDONLY), which
            for name, offset, size in files:
                content = os.pread(journal, size, offset)
                if len(content) < size:
                    raise OSError(errno.EIO, "the journal ends before its end")
                write(name, content)
        except OSError as error:
            _answer([error.errno, error.strerror, name])
        else:
            _answer(None)


def _answer(answer: object) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def write(name: str, content: bytes) -> None:
    """Make this the content of a file, its folder too. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        handle = os.open(name, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        handle = os.open(name, flags, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
