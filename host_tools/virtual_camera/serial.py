"""The virtual camera's serial port: a pty, with the traps of USB.

It vanishes with a reset and comes back, and what nobody reads is lost.
"""

import os
import pty
import select
import subprocess
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

from host_tools.virtual_camera import interrupting
from host_tools.virtual_camera.repl import Repl

# firmware/prompt.py prints it when it waits.
_IDLE = b"\0"
_LOOK_S = 0.05
# A host that has the port open and reads nothing for so long loses output.
_STUCK_S = 2.0


class SerialPort:
    """A serial port at `path`, a symbolic link, as long as a process of the camera is attached.

    banner: what the friendly REPL says first; bytes_per_s: of a slow link, 0 for as fast as
    it goes.
    """

    def __init__(self, path: Path, banner: str, bytes_per_s: int = 0) -> None:
        self.path = path
        self._bytes_per_s = bytes_per_s
        self._pty: _Pty | None = None
        self._process: subprocess.Popen[bytes] | None = None
        # The host's bytes and the camera's come in different threads.
        self._lock = threading.Lock()
        self._repl = Repl(banner, self._say, self._request, self._interrupt)

    def attach(self, process: subprocess.Popen[bytes]) -> None:
        """The camera's process has started: the port appears."""
        with self._lock:
            self._process = process
            self._repl.restart()
        self._pty = _Pty(self.path, self._from_host, self._bytes_per_s)

    def detach(self) -> None:
        """The camera's process has ended: the port vanishes."""
        if self._pty is not None:
            self._pty.close()
            self._pty = None

    def from_camera(self, data: bytes) -> bytes:
        """Pass on what the process has printed; what of it is for a console's log comes back."""
        log = b""
        with self._lock:
            while data:
                printed, idle, data = data.partition(_IDLE)
                self._say(printed.replace(b"\n", b"\r\n"))
                if not self._repl.is_raw:
                    log += printed
                if idle:
                    self._repl.idle()
        return log

    def _from_host(self, data: bytes) -> None:
        with self._lock:
            self._repl.take(data)

    def _say(self, data: bytes) -> None:
        if self._pty is not None and data:
            self._pty.write(data)

    def _request(self, kind: str, code: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{kind} {len(code)}\n".encode() + code)
            self._process.stdin.flush()
        except OSError:  # it was killed; nobody answers
            pass

    def _interrupt(self) -> None:
        assert self._process is not None
        process = self._process

        def is_needed() -> bool:
            return self._repl.is_busy and process is self._process and process.returncode is None

        # Not here: meanwhile it must be able to print.
        threading.Thread(
            target=interrupting.interrupt, args=(process.pid, is_needed), daemon=True
        ).start()


class _Pty:
    def __init__(self, path: Path, take: Callable[[bytes], None], bytes_per_s: int) -> None:
        self._path = path
        self._take = take
        self._bytes_per_s = bytes_per_s
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        name = os.ttyname(slave)
        # From now on the kernel says (POLLHUP) whether a host has the port open.
        os.close(slave)
        os.set_blocking(self._master, False)
        self._is_open = True
        self._thread = threading.Thread(target=self._serve, name="serial", daemon=True)
        self._thread.start()
        path.unlink(missing_ok=True)
        path.symlink_to(name)

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._is_open = False
        self._thread.join()
        os.close(self._master)

    def write(self, data: bytes) -> None:
        end = time.monotonic() + _STUCK_S
        while data and self._has_host() and time.monotonic() < end:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                time.sleep(0.002)
            except OSError:  # the host closed it just now
                return

    def _has_host(self) -> bool:
        return self._is_open and not self._poll(0) & select.POLLHUP

    def _poll(self, seconds: float) -> int:
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        ready = poller.poll(seconds * 1000)
        return ready[0][1] if ready else 0

    def _serve(self) -> None:
        while self._is_open:
            state = self._poll(_LOOK_S)
            if not state & select.POLLIN:
                if state & select.POLLHUP:
                    time.sleep(_LOOK_S)
                continue
            try:
                data = os.read(self._master, 256)
            except OSError:  # nobody has it open
                continue
            if self._bytes_per_s:
                time.sleep(len(data) / self._bytes_per_s)
            self._take(data)
