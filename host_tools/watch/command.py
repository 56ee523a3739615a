"""`anchorcam watch`: the live table on a terminal, NDJSON for everything else."""

from pathlib import Path
from typing import Annotated

import typer

from broker.errors import UserError
from host_tools.config import CONFIG, ConfigFile, SecretsFile
from host_tools.watch import display, options

DATA = Path("data/watch")

Expect = Annotated[
    int | None, typer.Option(min=1, help="Stop, exit code 0, after N verified snapshots.")
]
Timeout = Annotated[
    float | None, typer.Option(min=0.1, help="Give up, exit code 1, after so many seconds.")
]

LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="URL",
        help="The ledger's database, postgresql://HOST/NAME (password: PGPASSWORD or .pgpass).",
        show_default="a file in the data folder",
    ),
]


def check_timeout(expect: int | None, timeout: float | None) -> None:
    """Raises UserError (exit code 2) for a --timeout without --expect."""
    if timeout is not None and expect is None:
        raise UserError("--timeout is for --expect; give both", exit_code=2)


def watch(
    config: ConfigFile = CONFIG,
    expect: Expect = None,
    timeout: Timeout = None,
    data: Annotated[Path, typer.Option(help="Folder of the snapshots and the ledger.")] = DATA,
    secrets: SecretsFile = None,
    ledger: LedgerUrl = None,
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
    check_timeout(expect, timeout)
    chosen = options.load(
        config, data, secrets=secrets, port=port, ledger=ledger, reorder_s=reorder
    )
    stop = display.interrupted()
    with display.shown(chosen, stop, camera=camera, ndjson=ndjson) as watcher:
        display.wait(watcher, stop, expect, timeout, camera)
    display.conclude(watcher, expect, camera)
