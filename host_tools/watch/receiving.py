"""The process that reads from the broker (receiver.py), from the watcher's side."""

import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from host_tools.watch import ring
from host_tools.watch.account import Account
from host_tools.watch.evidence import SNAPSHOT_MAX
from host_tools.watch.failures import Failure
from host_tools.watch.received import News, Received

# The working folder may have a package "camera" of its own.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; from host_tools.watch.receiver import main; main()"
)
# Between two of them.
_AGAIN_S = 1.0
# For it to take leave of the broker.
_LEAVE_S = 2.0


class Receiving:
    """What comes from one broker. most: see Ring; the rest: see Receiver. Raises OSError."""

    def __init__(self, account: Account, name: str, most: int, backoff_s: float) -> None:
        self._setting = (account, name, most, backoff_s)
        self._done = 0
        self._is_asked = True
        self._pipe, self._memory, self._process = self._start()

    def close(self) -> None:
        """Acknowledge what is done, and leave."""
        self._pipe.close()
        try:
            self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            # It looks up a name, or connects: there is nothing to acknowledge.
            self._process.kill()
            self._process.wait()

    def take(self, seconds: float) -> Sequence[News]:
        """What is new, waiting so long for it.

        Raises RuntimeError when the process has failed.
        """
        if not self._is_asked:
            self.done(0)
        try:
            if not self._pipe.poll(seconds):
                return ()
            self._is_asked = False
            news: Sequence[News] = self._pipe.recv()
        except (EOFError, OSError):
            return (self._begin_anew(),)
        return news

    def payload(self, message: Received) -> memoryview:
        """Of a message that is not done."""
        return self._memory[message.offset : message.offset + message.length]

    def done(self, count: int) -> None:
        """So many more messages, the oldest that were taken, can be acknowledged."""
        self._done += count
        self._is_asked = True
        try:
            self._pipe.send(self._done)
        except OSError:
            pass  # take() finds out

    def _begin_anew(self) -> Failure:
        """Start another process; what happened to the one that has ended."""
        if self._process.wait() > 0:
            raise RuntimeError("the process that reads from the broker has failed")
        self._pipe.close()
        time.sleep(_AGAIN_S)
        try:
            self._pipe, self._memory, self._process = self._start()
        except OSError as error:
            what = f"cannot be started: {error.strerror}; trying again"
        else:
            self._done = 0
            self._is_asked = True
            what = "was killed; there is another now"
        return Failure("receiver", f"the process that reads from the broker {what}")

    def _start(self) -> "tuple[Connection, memoryview, subprocess.Popen[bytes]]":
        most = self._setting[2]
        memory = ring.make(ring.Ring.size(most, SNAPSHOT_MAX))
        ours, theirs = Pipe()
        handles = theirs.fileno(), memory
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, handles), *sys.path],
            pass_fds=handles,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # who reads ours waits for the end of all that have it
            process_group=0,  # Ctrl-C is for the watcher
        )
        theirs.close()
        try:
            # Not on the command line: there is a password in it.
            ours.send(self._setting)
        except OSError:
            pass  # it was killed at once: take() finds out
        return ours, ring.open_memory(memory), process
