"""Ctrl-C for a program in MicroPython's Unix port, at a moment when it can bear it.

The port raises KeyboardInterrupt inside its signal handler: one that comes while a lock of its
heap is held leaves it held for ever (measured: 1 of about 30 interrupted imports). A camera
looks for Ctrl-C between two bytecodes. So the process is stopped, and gets its signal where it
waits for time or for a socket.
"""

import os
import platform
import signal
import time
from collections.abc import Callable
from pathlib import Path

# poll, select, nanosleep, clock_nanosleep, ppoll, pselect6 (Linux, by machine).
_WAITS = {
    "x86_64": {7, 23, 35, 230, 270, 271},
    "aarch64": {72, 73, 101, 115},
}
_WAIT_S = 3.0
_LOOK_S = 0.003


def interrupt(pid: int, is_needed: Callable[[], bool]) -> None:
    """Send SIGINT as soon as the process waits, in a few seconds in any case.

    is_needed: asked again and again; False: it has ended by itself.
    """
    waits = _WAITS.get(platform.machine(), set())
    end = time.monotonic() + (_WAIT_S if waits and Path("/proc/self/syscall").exists() else 0)
    try:
        while is_needed():
            os.kill(pid, signal.SIGSTOP)
            try:
                if time.monotonic() >= end or _syscall(pid) in waits:
                    os.kill(pid, signal.SIGINT)
                    return
            finally:
                os.kill(pid, signal.SIGCONT)
            time.sleep(_LOOK_S)
    except OSError:  # it has ended
        return


def _syscall(pid: int) -> int:
    """The number of the system call in which the stopped process is; -1: none."""
    folder = Path(f"/proc/{pid}")
    while (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
        time.sleep(0.0005)
    first = (folder / "syscall").read_text().split()[0]
    return int(first) if first.lstrip("-").isdigit() else -1
