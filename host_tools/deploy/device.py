"""A camera at the end of a serial port: its prompt, its files, its resets. Through mpremote."""

import contextlib
import errno
import io
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from broker.errors import UserError
from host_tools.deploy.ports import Port

# For each answer; the slowest is the erasing of flash.
_ANSWER_S = 15.0
# A board that has been reset is gone for so long at most, and back after so long.
_VANISH_S = 3.0
_RETURN_S = 30.0
_LOOK_S = 0.1
_ATTEMPTS = 3
_CHUNK_BYTES = 1024
# Digests are asked for so many at a time: each answer must come within _ANSWER_S.
_DIGESTS_AT_ONCE = 8

_DIGEST = """
import hashlib, binascii
def _digest(path):
    try:
        file = open(path, 'rb')
    except OSError:
        return None
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(2048))
    with file:
        while True:
            size = file.readinto(buffer)
            if not size:
                return binascii.hexlify(digest.digest()).decode()
            digest.update(buffer[:size])
"""

Progress = Callable[[int], None]


class LostError(UserError):
    """The camera does not answer any more, or its port is gone."""


class Device:
    """A camera whose prompt is used. Every method raises LostError when it goes away.

    port: where it is; it may come back under another name, and is found again.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self._transport: Any = None
        self._has_digest = False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the port. Raises UserError when somebody else has it, or it is not there."""
        self.port.check()
        try:
            self._transport = SerialTransport(self.port.device)
        except TransportError:
            raise UserError(self.port.trouble()) from None
        # mpremote would wait for ever.
        self._transport.serial.timeout = _ANSWER_S
        self._transport.is_pty = False

    def close(self) -> None:
        """Close the port; what the camera does goes on."""
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.close()
            self._transport = None
            self._has_digest = False

    def interrupt(self) -> None:
        """Stop the program with Ctrl-C: the camera is at its prompt, its RAM as it was."""
        for attempt in range(_ATTEMPTS):
            try:
                # It prints what it could not read.
                with self._translated(), contextlib.redirect_stdout(io.StringIO()):
                    self._transport.enter_raw_repl(soft_reset=False, timeout_overall=5)
                return
            except LostError:
                if attempt == _ATTEMPTS - 1:
                    raise LostError(
                        f"the camera on {self.port.device} does not give a MicroPython prompt:"
                        " reset it, and if it was somebody else's board, name the right port with"
                        " --port"
                    ) from None

    def release(self) -> None:
        """Leave the raw prompt for the friendly one."""
        with self._translated():
            self._transport.exit_raw_repl()

    def run(self, code: str, limit_s: float = _ANSWER_S) -> str:
        """What the code prints, each piece within limit_s. Raises OSError for one on the camera."""
        with self._translated():
            self._transport.serial.timeout = limit_s
            try:
                printed: bytes = self._transport.exec(code)
            finally:
                self._transport.serial.timeout = _ANSWER_S
        return printed.decode()

    def ask(self, expression: str) -> Any:
        """The value of an expression, which must have a literal. Raises OSError as run()."""
        with self._translated():
            return self._transport.eval(expression)

    def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
        """The SHA-256 of each file, hexadecimal, as the camera reads it; None: no such file."""
        if not self._has_digest:
            self.run(_DIGEST)
            self._has_digest = True
        found: dict[str, str | None] = {}
        left = list(paths)
        while left:
            some, left = left[:_DIGESTS_AT_ONCE], left[_DIGESTS_AT_ONCE:]
            found.update(zip(some, self.ask(f"[_digest(path) for path in {some!r}]"), strict=True))
        return found

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None when there is none."""
        with self._translated():
            try:
                return bytes(self._transport.fs_readfile(path, chunk_size=_CHUNK_BYTES))
            except FileNotFoundError:
                return None

    def write(self, path: str, data: bytes, progress: Progress = lambda size: None) -> None:
        """Write a file in place. progress: called with the size of each piece. Raises OSError."""
        done = 0

        def tell(written: int, _size: int) -> None:
            nonlocal done
            progress(written - done)
            done = written

        with self._translated():
            self._transport.fs_writefile(path, data, _CHUNK_BYTES, tell)

    def make_folder(self, path: str) -> None:
        """Make a folder unless it is there. Raises OSError."""
        self.run(f"import os\ntry:\n os.mkdir({path!r})\nexcept OSError:\n os.stat({path!r})")

    def names(self, folder: str) -> list[str]:
        """The names in a folder; [] when there is none."""
        with self._translated():
            try:
                return [entry.name for entry in self._transport.fs_listdir(folder)]
            except FileNotFoundError:
                return []

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        self.run(f"import os\ntry:\n os.remove({path!r})\nexcept OSError:\n pass")

    def reset(self) -> None:
        """A hard reset: the port vanishes, comes back and is opened; main.py runs."""
        try:
            with self._translated():
                # So that its answer gets out.
                self._transport.exec_raw_no_follow(
                    "import machine, time\ntime.sleep_ms(100)\nmachine.reset()"
                )
            self._await_vanishing()
        except LostError:  # it was quicker
            pass
        self.close()
        self._reopen()

    def lines(self) -> Iterator[str]:
        """What the camera prints, line by line, over resets; "" when there was nothing."""
        rest = ""
        while True:
            try:
                with self._translated():
                    waiting = self._transport.serial.in_waiting
                    data: bytes = self._transport.serial.read(waiting) if waiting else b""
            except LostError:
                self.close()
                self._reopen()
                continue
            if not data:
                time.sleep(_LOOK_S)
                yield ""
                continue
            *lines, rest = (rest + data.decode(errors="replace")).split("\n")
            for line in lines:
                if line.strip():
                    yield line.rstrip()

    def _await_vanishing(self) -> None:
        end = time.monotonic() + _VANISH_S
        while time.monotonic() < end and Path(self.port.device).exists():
            try:
                self._transport.serial.read(self._transport.serial.in_waiting or 0)
            except OSError:
                return
            time.sleep(_LOOK_S / 5)

    def _reopen(self) -> None:
        end = time.monotonic() + _RETURN_S
        while True:
            found = self.port.found_again()
            if found is not None:
                self.port = found
                try:
                    self.open()
                    return
                except UserError:
                    pass
            if time.monotonic() > end:
                raise LostError(
                    f"the camera did not come back to {self.port.device} within"
                    f" {_RETURN_S:.0f} s after its reset: unplug it, plug it in, deploy again"
                )
            time.sleep(_LOOK_S)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """What goes wrong on the line as LostError, on the camera as OSError or UserError."""
        if self._transport is None:
            raise LostError(f"the port {self.port.device} is closed")
        try:
            yield
        except TransportExecError as error:
            raise _camera_error(error) from None
        # struct.error, IndexError: half an answer.
        except (TransportError, struct.error, IndexError, SyntaxError, ValueError) as error:
            raise LostError(f"the camera on {self.port.device} does not answer: {error}") from None
        except OSError as error:
            # Of the port; those of the camera's files come with the path.
            if error.errno not in (errno.EIO, errno.ENXIO, errno.EBADF, None):
                raise
            raise LostError(
                f"the camera on {self.port.device} is gone: was the cable pulled, or did it reset?"
            ) from None


def _camera_error(error: TransportExecError) -> Exception:
    said = error.error_output.strip().splitlines()
    last = said[-1] if said else "an error without a word"
    if last.startswith("OSError"):
        digits = "".join(letter for letter in last if letter.isdigit())
        return OSError(int(digits) if digits else errno.EIO, last)
    return UserError(f"the camera refused a step of the deploy: {last}")
