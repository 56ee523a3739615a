"""The camera's end of its prompt: runs the code that serial.py on the host took in.

Requests on stdin: a kind and a length, "r 12\n", then so many bytes of code. "r" is of the raw
REPL: after what it prints come 0x04, its traceback, 0x04. "f" is a line at the friendly prompt.
"s" is a soft reset. A NUL on stdout says that the camera waits at its prompt. Runs under
MicroPython.
"""

import array
import os
import sys

import ffi
import machine
import uctypes

_IDLE = b"\0"
_END = b"\x04"

_names = {"__name__": "__main__"}


def serve():
    """For ever."""
    while True:
        try:
            sys.stdout.buffer.write(_IDLE)
            _serve_one()
        except KeyboardInterrupt:  # it came too late for what it was meant for
            pass


def _serve_one():
    request = sys.stdin.buffer.readline()
    if not request:  # the host is gone
        sys.exit(0)
    kind, size = request.split()
    text = sys.stdin.buffer.read(int(size))
    if kind == b"s":
        _soft_reset()
    error = _run(text, "exec" if kind == b"r" else "single")
    if kind == b"r":
        sys.stdout.buffer.write(_END)
    if error is not None:
        sys.print_exception(error)
    if kind == b"r":
        sys.stdout.buffer.write(_END)


def _run(text, kind):
    try:
        exec(compile(text, "<stdin>", kind), _names)  # noqa: S102
    except SystemExit:
        return None
    except BaseException as error:
        return error
    return None


def _soft_reset():
    # A new program in the same process: RAM is empty, the watchdog goes on counting.
    os.putenv("VIRTUAL_CAMERA_RESET_CAUSE", str(machine.SOFT_RESET))
    with open("/proc/self/cmdline", "rb") as file:
        words = [word + b"\0" for word in file.read().split(b"\0")[:-1]]
    addresses = array.array("L", [uctypes.addressof(word) for word in words] + [0])
    ffi.open(None).func("i", "execv", "sP")(words[0][:-1].decode(), addresses)
