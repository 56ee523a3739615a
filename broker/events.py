"""What the broker tells while it runs: readable lines on stderr, or JSON lines on stdout."""

import json
import sys
import time
from typing import Protocol, TextIO


class Emit(Protocol):
    """Told of each event: its name, and what belongs to it."""

    def __call__(self, event: str, **fields: object) -> None: ...


def emit_json(event: str, **fields: object) -> None:
    """One line of JSON on stdout."""
    _print(json.dumps({"event": event, **fields}), sys.stdout)


def emit_line(event: str, **fields: object) -> None:
    """One line for people on stderr: the time, the event, and its fields in words."""
    words = [_WORDS.get(name, name + " {}").format(value) for name, value in fields.items()]
    line = f"{time.strftime('%H:%M:%S')} {event:<10} {' '.join(words)}"
    # A client chooses its id and its topics: nothing of it may reach the terminal as control.
    _print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line), sys.stderr)


def _print(line: str, stream: TextIO) -> None:
    try:
        print(line, file=stream, flush=True)
    except OSError:
        # Nobody listens any more, or the log's disk is full. Cameras still want to be served.
        pass


_WORDS = {
    "client": "{}",
    "account": "(account {})",
    "address": "from {}",
    "listener": "on {}",
    "tls": "with {}",
    "reason": "- {}",
    "connected_s": "(after {} s)",
}
