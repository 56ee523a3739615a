"""`anchorcam report`: a table, JSON or an HTML file of what a ledger says of delivery."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.errors import UserError
from broker.files import write_atomic
from host_tools.watch import report_html
from host_tools.watch.command import DATA, LedgerUrl
from host_tools.watch.entries import Gap
from host_tools.watch.evidence import printable
from host_tools.watch.records import Records
from host_tools.watch.report import (
    PERCENTILES,
    By,
    Period,
    Report,
    make,
    moment,
    parse_time,
    percent,
)
from host_tools.watch.schema import location

# More lines of losses than this are for --json and --html.
_GAPS_SHOWN = 20
_FILE_COLUMNS = 160


def report(
    data: Annotated[Path, typer.Option(help="The watcher's data folder.")] = DATA,
    ledger: LedgerUrl = None,
    camera: Annotated[str | None, typer.Option(help="This camera only.")] = None,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="From then on: 90m, 24h, 7d ago, or a date.")
    ] = "7d",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Until then.", show_default="now")
    ] = None,
    by: Annotated[By, typer.Option(help="One line for each hour, day or week.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots into FILE.")
    ] = None,
    least: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, metavar="PERCENT", help="Exit code 1 if a camera has less than this."
        ),
    ] = None,
) -> None:
    """Say what arrived, what was lost and where, and how long it took."""
    now = time.time()
    begin_ms = parse_time(since, now)
    end_ms = round(now * 1000) if until is None else parse_time(until, now)
    if begin_ms >= end_ms:
        raise UserError("--since is not before --until; swap them", exit_code=2)
    with Records(location(data, ledger)) as records:
        made = make(records, begin_ms, end_ms, by, camera)
    if html:
        _write(html, report_html.page(made))
    elif as_json:
        print(json.dumps(_plain(made)))
    else:
        _show(made)
    if least is not None:
        _judge(made, least)


def _write(path: Path, page: str) -> None:
    try:
        write_atomic(path, page.encode(), mode=0o644)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name another file") from error
    print(f"{path}: written")


def _judge(made: Report, least: float) -> None:
    """Raises UserError (exit code 1) when a camera has less, or nobody sent anything."""
    if not any(period.completeness is not None for period in made.periods):
        raise UserError("no camera sent anything in this time; check --since and the cameras")
    for period in made.periods:
        if period.completeness is not None and 100 * period.completeness < least:
            raise UserError(
                f"{period.camera} is {percent(period.completeness)} complete, less than "
                f"{least:g} %; the table or --html says what was lost and where"
            )


def _plain(made: Report) -> dict[str, Any]:
    return {
        "from": moment(made.begin_ms),
        "to": moment(made.end_ms),
        "periods": [
            {
                **asdict(period),
                "arrived": period.arrived,
                "completeness": period.completeness,
                "latency": {f"p{each}": value for each, value in period.latency.items()},
            }
            for period in made.periods
        ],
        "gaps": [asdict(gap) | {"count": gap.size} for gap in made.gaps],
        "gaps_left_out": made.gaps_left_out,
    }


def _show(made: Report) -> None:
    # Nobody folds what goes into a file.
    console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("camera", no_wrap=True)
    table.add_column("from", no_wrap=True)
    for name in ("arrived", "complete", "reord", "miss", "drop", "corr", "unver"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in PERCENTILES:
        table.add_column("max ms*" if each == 100 else f"p{each}", justify="right", no_wrap=True)
    for period in made.periods:
        table.add_row(*_cells(period))
    if not made.periods:
        table.add_row(Text("no camera is in this ledger", "dim"))
    console.print(table)
    for gap in made.gaps[-_GAPS_SHOWN:]:
        console.print(Text(_line(gap), "yellow"), soft_wrap=True)
    left_out = made.gaps_left_out + max(0, len(made.gaps) - _GAPS_SHOWN)
    if left_out:
        console.print(Text(f"{left_out} earlier losses: see --json or --html", "dim"))
    console.print(Text("* latency, with the error of the camera's clock in it", "dim"))


def _cells(period: Period) -> list[Text]:
    def count(number: int, style: str) -> Text:
        return Text(str(number), style if number else "dim")

    is_complete = not (period.missing or period.dropped)
    return [
        Text(period.camera, "bold"),
        Text(time.strftime("%m-%d %H:%M", time.localtime(period.begin_ms / 1000))),
        Text(str(period.arrived)),
        Text(percent(period.completeness), "green" if is_complete else "bold red"),
        count(period.reordered, "yellow"),
        count(period.missing, "bold red"),
        count(period.dropped, "yellow"),
        count(period.corrupt, "bold red"),
        count(period.unverifiable, "bold red"),
        *(Text(str(period.latency.get(each, "-"))) for each in PERCENTILES),
    ]


def _line(gap: Gap) -> str:
    which = f"seq {gap.first}" + (f" to {gap.last} ({gap.size})" if gap.size > 1 else "")
    reason = f", {printable(gap.reason, 40)}" if gap.reason else ""
    at = time.strftime("%m-%d %H:%M:%S", time.localtime(gap.noted_ms / 1000))
    return f"{at} {gap.camera} boot {gap.boot} {which}: {gap.verdict}{reason}; lost: {gap.place}"
