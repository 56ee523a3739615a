"""The process that writes the snapshots' files (filer.py), from the watcher's side."""

import errno
import json
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from host_tools.watch import filer

# As long as one that a killed watcher left behind may take to finish.
_START_S = 30


class Filer:
    """The one process that writes files in this folder. Methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        """Start it; when this returns nobody else writes there."""
        self._folder = folder
        self._asked = 0  # orders that are not answered
        self._process = self._start()

    def close(self) -> None:
        """Let it finish what it has been given."""
        # It may have ended by itself.
        try:
            self._process.communicate()
        except OSError:
            self._process.wait()

    def begin(self, journal: int, files: Sequence[tuple[str, int, int]]) -> None:
        """Have (name, offset, size) written out of the journal, the so many-th of this run.

        Should the process have ended meanwhile there is another for what is begun after that.
        """
        if self._process.poll() is not None:
            self.finish()
            self._process = self._start()
        assert self._process.stdin
        self._process.stdin.write(json.dumps((journal, files)).encode() + b"\n")
        self._process.stdin.flush()
        self._asked += 1

    def finish(self) -> None:
        """When this returns what was begun is written."""
        assert self._process.stdout
        problem = None
        while self._asked:
            line = self._process.stdout.readline()
            if not line:
                self._process.kill()
                self._process.wait()
                self._asked = 0
                raise OSError(errno.EPIPE, "the process that writes the files was ended")
            self._asked -= 1
            problem = problem or json.loads(line)
        if problem:
            raise OSError(*problem)

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            # Isolated, and without site: it needs nothing, and starts three times as fast.
            [sys.executable, "-I", "-S", filer.__file__, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for the watcher
        )
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], _START_S)
        if ready and process.stdout.readline():
            return process
        process.kill()
        process.wait()
        if ready:
            raise OSError(errno.EIO, "the process that writes the files cannot start")
        text = "the one of a watcher that was killed still writes there, wait for its end"
        raise OSError(errno.EBUSY, text)
