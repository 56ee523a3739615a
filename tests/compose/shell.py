"""Commands run quietly: what they print is shown only when they fail."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# More of a failed command's output than this hides the error rather than shows it.
_SHOWN_LINES = 40


class Failure(Exception):
    """A check that did not hold or a command that did not work: what, why, what to do."""


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit_s: float = 60,
    separate: bool = False,
) -> str:
    """The output of the command. Raises Failure when it fails, takes too long or is not there.

    separate: only stdout, for output that is parsed; a tool may put warnings on stderr.
    """
    words = [str(word) for word in command]
    try:
        process = subprocess.Popen(
            words,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if separate else subprocess.STDOUT,
            text=True,
            errors="replace",
            # A group of its own, to be ended as a whole: debootstrap and apt-get are trees.
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Failure(f"cannot run {words[0]}: it is not installed") from error
    with process:
        try:
            output, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            _kill_group(process)
            raise Failure(f"`{' '.join(words)}` did not end within {limit_s:g} s") from error
        except BaseException:
            _kill_group(process)
            raise
    if process.returncode:
        shown = (output + (errors or "")).strip().splitlines()[-_SHOWN_LINES:]
        raise Failure(
            f"`{' '.join(words)}` failed with exit code {process.returncode}:\n  "
            + "\n  ".join(shown or ["(it printed nothing)"])
        )
    return output


def _kill_group(process: "subprocess.Popen[str]") -> None:
    # Its number is the group's. The process was not waited for yet, so it is still its own.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def works(command: Sequence[str | Path], limit_s: float = 30) -> bool:
    """True when the command exists and succeeds."""
    try:
        run(command, limit_s=limit_s)
    except Failure:
        return False
    return True


@contextmanager
def step(title: str) -> Iterator[None]:
    """One line on the terminal: what is done, and how long it took or that it failed."""
    print(f"  {title} ... ", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print("FAILED", flush=True)
        raise
    print(f"ok ({time.monotonic() - started:.1f} s)", flush=True)


def say(text: str) -> None:
    """A line on its own, on stderr with the errors."""
    print(text, file=sys.stderr, flush=True)
