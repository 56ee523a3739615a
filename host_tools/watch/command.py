"""`anchorcam watch`: the live table on a terminal, NDJSON for everything else."""

import math
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from broker.errors import UserError
from host_tools.watch import options, outcome
from host_tools.watch.events import Event
from host_tools.watch.subscriber import Watcher
from host_tools.watch.table import render

_LOOK_S = 0.1


def watch(
    config: Annotated[Path, typer.Argument(help="The settings.")] = Path("config.json"),
    expect: Annotated[
        int | None, typer.Option(min=1, help="Stop, exit code 0, after N verified snapshots.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Give up, exit code 1, after so many seconds.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the snapshots and the ledger.")] = Path(
        "data/watch"
    ),
    secrets: Annotated[
        Path | None,
        typer.Option(help="File of the passwords.", show_default="secrets.json beside CONFIG"),
    ] = None,
    ndjson: Annotated[
        bool, typer.Option("--ndjson", help="One JSON object per line, on a terminal too.")
    ] = False,
    camera: Annotated[
        str | None,
        typer.Option(help="Show this camera only; the others are recorded all the same."),
    ] = None,
    reorder: Annotated[
        float, typer.Option(min=0, help="Seconds until an overtaken snapshot counts as missing.")
    ] = 10.0,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port, instead of the one in CONFIG.")
    ] = None,
) -> None:
    """Watch what the cameras send: verify it, record it, show it."""
    if timeout is not None and expect is None:
        raise UserError("--timeout is for --expect; give both", exit_code=2)
    chosen = options.load(config, data, secrets=secrets, port=port, reorder_s=reorder)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    console = Console()
    with ExitStack() as stack:
        # Not console.is_terminal: FORCE_COLOR makes that true of a pipe.
        if ndjson or not sys.stdout.isatty():
            watcher = stack.enter_context(Watcher(chosen, _Printer(camera, stop).tell))
        else:
            watcher = stack.enter_context(Watcher(chosen))
            stack.enter_context(
                Live(
                    console=console,
                    get_renderable=lambda: render(watcher.view(camera), console.width),
                )
            )
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while not stop.wait(_LOOK_S) and time.monotonic() < end:
            if not watcher.is_running():
                raise UserError(watcher.view().trouble)
            if expect is not None and outcome.verified(watcher.view(camera)) >= expect:
                break
    if expect is not None:
        # Not on stdout: that is one JSON object per line, to the end.
        typer.echo(outcome.conclude(watcher.view(camera), expect), err=True)


class _Printer:
    """Events of one camera, or of all, as NDJSON on stdout."""

    def __init__(self, camera: str | None, stop: threading.Event) -> None:
        self._camera = camera
        self._stop = stop

    def tell(self, event: Event) -> None:
        if self._camera and event.camera not in (None, self._camera):
            return
        try:
            print(event.as_json(), flush=True)
        except OSError:
            # Whoever was reading has had enough. The interpreter would complain when it
            # flushes stdout at its end, so what is left goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stop.set()
