"""`anchorcam fleet`: as many simulated cameras as are asked for, and how the broker bears it."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from broker.accounts import Accounts, read_password
from broker.errors import UserError
from host_tools.config import CONFIG, ConfigFile, SecretsFile, secrets_of
from host_tools.fleet.camera import Target
from host_tools.fleet.run import Report, run
from host_tools.watch import options

# The head of a JFIF file; what follows is nothing that a viewer could show.
_HEAD = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")


def fleet(
    config: ConfigFile = CONFIG,
    cameras: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 10,
    rate: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Snapshots a second of each; 0: as fast as they are acknowledged."
        ),
    ] = 1.0,
    size: Annotated[
        int, typer.Option(min=64, max=1 << 20, help="Bytes of a frame, its stamp comes on top.")
    ] = 30_000,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="For how long.")] = 10.0,
    secrets: SecretsFile = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The test broker's data folder: accounts that are missing are made."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port, instead of the one in CONFIG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Simulate cameras fleet-1, fleet-2, ... with accounts of these names, over real TLS.

    Exit code 1 unless all stay connected and every snapshot is acknowledged.
    """
    path = secrets_of(config, secrets)
    chosen = options.load(config, Path(), secrets=path, port=port)
    names = [f"fleet-{number}" for number in range(1, cameras + 1)]
    if data is not None:
        Accounts(data / "accounts.json").ensure(dict.fromkeys(names, "camera"), path)
    passwords = {name: _password(path, name) for name in names}
    frame = frame_of(size)
    target = Target(
        chosen.host, chosen.port, chosen.prefix, rate, frame, hashlib.sha256(frame).digest()
    )
    shown = Console(stderr=True)
    with shown.status(f"connecting {cameras} cameras") as status:
        report = run(
            target,
            chosen.anchor,
            passwords,
            seconds,
            lambda connect_s: status.update(f"publishing for {seconds:g} s"),
        )
    if as_json:
        print(json.dumps({**asdict(report), "rate": round(report.rate, 1)}))
    else:
        Console().print(_table(report))
    if report.held < cameras or report.unacknowledged:
        raise typer.Exit(1)


def _password(secrets: Path, name: str) -> str:
    try:
        return read_password(secrets, name)
    except UserError as error:
        raise UserError(
            f"{error}; of the test broker --data makes the accounts that are missing", exit_code=2
        ) from None


def frame_of(size: int) -> bytes:
    """A frame of so many bytes: a JPEG's head, and noise."""
    return _HEAD + os.urandom(size - len(_HEAD))


def _table(report: Report) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("cameras held", f"{report.held} of {report.cameras}"),
        *((f"  {trouble}", str(count)) for trouble, count in report.troubles.items()),
        ("connected in", f"{report.connect_s:.1f} s"),
        ("snapshots acknowledged", f"{report.acknowledged:,}"),
        ("  a second", f"{report.rate:,.1f}"),
        ("not acknowledged", f"{report.unacknowledged:,}"),
        ("from PUBLISH to PUBACK", ""),
        ("  half within", _ms(report.p50_s)),
        ("  95 % within", _ms(report.p95_s)),
        ("  99 % within", _ms(report.p99_s)),
        ("  all within", _ms(report.most_s)),
    ):
        table.add_row(name, value)
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
