"""A watcher that shows what it sees: a live table on a terminal, NDJSON everywhere else."""

import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live

from broker.errors import UserError
from host_tools.watch import outcome
from host_tools.watch.events import Event
from host_tools.watch.options import Options
from host_tools.watch.recorded import recorded
from host_tools.watch.subscriber import Watcher
from host_tools.watch.table import FOOTER, render

_LOOK_S = 0.1
_PICTURE_COLUMNS = 120


def interrupted() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set, from now on, instead of ending the program."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


@contextmanager
def shown(
    options: Options,
    stop: threading.Event,
    *,
    camera: str | None = None,
    ndjson: bool = False,
    since_ms: int | None = None,
    footer: Callable[[], Sequence[str]] = lambda: FOOTER,
) -> Iterator[Watcher]:
    """A running watcher, shown for the length of the block.

    camera: show only this one; ndjson: also on a terminal; since_ms: in NDJSON first what the
    ledger has from then on (Unix time in ms); footer: lines under the table;
    stop is set when nobody reads the NDJSON any longer. Raises UserError at the end when it
    could not be written.
    """
    # Not console.is_terminal: FORCE_COLOR makes that true of a pipe.
    if ndjson or not sys.stdout.isatty():
        printer = _Printer(camera, stop)
        if since_ms is not None:
            for event in recorded(options, since_ms):
                printer.tell([event])
        with Watcher(options, printer.tell) as watcher:
            yield watcher
        if printer.failure:
            raise UserError(printer.failure)
        return
    if since_ms is not None:
        raise UserError(
            "--since is for --ndjson; what was before is in anchorcam report", exit_code=2
        )
    console = Console()
    with (
        Watcher(options) as watcher,
        Live(
            console=console,
            get_renderable=lambda: render(watcher.view(camera), console.width, footer()),
        ),
    ):
        yield watcher


def wait(
    watcher: Watcher,
    stop: threading.Event,
    expect: int | None,
    timeout: float | None,
    camera: str | None = None,
) -> None:
    """Until stop is set, `expect` snapshots were verified, or `timeout` seconds are over.

    Raises UserError when the watcher has ended by itself.
    """
    end = time.monotonic() + (math.inf if timeout is None else timeout)
    while not stop.wait(_LOOK_S) and time.monotonic() < end:
        if not watcher.is_running():
            raise UserError(watcher.view().trouble)
        if expect is not None and outcome.verified(watcher.view(camera)) >= expect:
            return


def conclude(watcher: Watcher, expect: int | None, camera: str | None = None) -> None:
    """Say what was verified, if a number was expected. Raises UserError when it was not."""
    if expect is not None:
        # Not on stdout: that is one JSON object per line, to the end.
        print(outcome.conclude(watcher.view(camera), expect), file=sys.stderr)


def save_picture(watcher: Watcher, footer: Sequence[str], path: Path) -> None:
    """Write the table as it is now as an SVG picture."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=_PICTURE_COLUMNS, file=nowhere, force_terminal=True)
        console.print(render(watcher.view(), console.width, footer))
    svg = console.export_svg(title="anchorcam", unique_id="anchorcam")
    # rich lets the viewer fetch a font from the network; any monospaced one will do.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))


class _Printer:
    """Events of one camera, or of all, as NDJSON on stdout."""

    def __init__(self, camera: str | None, stop: threading.Event) -> None:
        self._camera = camera
        self._stop = stop
        self.failure = ""

    def tell(self, events: Sequence[Event]) -> None:
        lines = [
            event.as_json() + "\n"
            for event in events
            if not self._camera or event.camera in (None, self._camera)
        ]
        rest = memoryview("".join(lines).encode())
        try:
            # Not with write() of sys.stdout: without a buffer (PYTHONUNBUFFERED) that forgets
            # what a signal has kept it from writing.
            while rest:
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
        except OSError as error:
            # A closed pipe is no failure: whoever was reading has had enough.
            if not isinstance(error, BrokenPipeError):
                self.failure = (
                    f"stopped, stdout cannot be written: {error.strerror}; "
                    "make room where it goes and start again, nothing is lost"
                )
            # The interpreter would complain when it flushes stdout at its end, so what is
            # left goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stop.set()
