"""MicroPython's REPL, friendly and raw, as a host sees it (shared/runtime/pyexec.c). Pure."""

from collections.abc import Callable

_CTRL_A, _CTRL_B, _CTRL_C, _CTRL_D, _CTRL_E = 1, 2, 3, 4, 5
_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n>"
_SOFT_REBOOT = b"MPY: soft reboot\r\n"
# As MICROPY_REPL_STDIN_BUFFER_MAX makes it.
_WINDOW_BYTES = 128
_RAW, _FRIENDLY, _SOFT_RESET = "r", "f", "s"


class Repl:
    """The prompt of a camera.

    is_busy: a program runs; is_raw: another program has the prompt, and what is printed is the
    answer to that. banner: what the friendly
    REPL begins with. say(bytes): to the host; request(kind, code): to
    firmware/prompt.py; interrupt(): what Ctrl-C does while a program runs.
    """

    def __init__(
        self,
        banner: str,
        say: Callable[[bytes], None],
        request: Callable[[str, bytes], None],
        interrupt: Callable[[], None],
    ) -> None:
        self._banner = banner.encode() + b"\r\n>>> "
        self._say = say
        self._request = request
        self._interrupt = interrupt
        self.restart()

    def restart(self) -> None:
        """The camera has been switched on or reset; its program runs."""
        self.is_busy = True
        self.is_raw = False
        self._is_fresh = True
        # Typed while a program ran.
        self._ahead = bytearray()
        self._line = bytearray()
        # While code is pasted: how many bytes more until the host is told to go on.
        self._window: int | None = None

    def idle(self) -> None:
        """The program has ended: show a prompt, and take what was typed ahead."""
        self.is_busy = False
        if self._is_fresh:
            self._say(_RAW_BANNER if self.is_raw else self._banner)
        else:
            self._say(b">" if self.is_raw else b">>> ")
        self._is_fresh = False
        ahead, self._ahead = self._ahead, bytearray()
        self.take(bytes(ahead))

    def take(self, data: bytes) -> None:
        """Bytes from the host."""
        for byte in data:
            if not self.is_busy:
                self._take(byte)
            elif byte == _CTRL_C:
                self._ahead.clear()
                self._interrupt()
            else:
                self._ahead.append(byte)

    def _take(self, byte: int) -> None:
        if self._window is not None:
            self._take_pasted(byte)
        elif self.is_raw:
            self._take_raw(byte)
        else:
            self._take_friendly(byte)

    def _take_friendly(self, byte: int) -> None:
        if byte == _CTRL_A:
            self.is_raw = True
            self._line.clear()
            self._say(b"\r\n" + _RAW_BANNER)
        elif byte == _CTRL_B:
            self._line.clear()
            self._say(b"\r\n" + self._banner)
        elif byte == _CTRL_C:
            self._line.clear()
            self._say(b"\r\n>>> ")
        elif byte == _CTRL_D and not self._line:
            self._soft_reset()
        elif byte == ord("\r"):
            self._say(b"\r\n")
            if self._line.strip():
                self._run(_FRIENDLY)
            else:
                self._line.clear()
                self._say(b">>> ")
        elif byte >= ord(" "):
            self._line.append(byte)
            self._say(bytes((byte,)))

    def _take_raw(self, byte: int) -> None:
        if byte == _CTRL_A:
            if self._line == bytes((_CTRL_E, ord("A"))):
                self._line.clear()
                self._window = _WINDOW_BYTES
                # Twice the window: a host never waits while this end has something to read.
                self._say(b"R\x01" + _WINDOW_BYTES.to_bytes(2, "little") + b"\x01")
            else:
                self._line.clear()
                self._say(_RAW_BANNER)
        elif byte == _CTRL_B:
            self.is_raw = False
            self._line.clear()
            self._say(b"\r\n" + self._banner)
        elif byte == _CTRL_C:
            self._line.clear()
        elif byte == _CTRL_D:
            self._say(b"OK")
            if self._line:
                self._run(_RAW)
            else:
                self._soft_reset()
        else:
            self._line.append(byte)

    def _take_pasted(self, byte: int) -> None:
        assert self._window is not None
        if byte == _CTRL_D:
            self._window = None
            self._say(b"\x04")
            self._run(_RAW)
        elif byte == _CTRL_C:
            self._window = None
            self._line.clear()
            self._say(b"\x04\x04KeyboardInterrupt: \r\n\x04>")
        else:
            self._line.append(byte)
            self._window -= 1
            if self._window == 0:
                self._window = _WINDOW_BYTES
                self._say(b"\x01")

    def _run(self, kind: str) -> None:
        code, self._line = bytes(self._line), bytearray()
        self.is_busy = True
        self._request(kind, code)

    def _soft_reset(self) -> None:
        self._say(b"\r\n" + _SOFT_REBOOT)
        self.is_busy = True
        self._is_fresh = True
        self._request(_SOFT_RESET, b"")
