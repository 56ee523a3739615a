"""`make bench`: every figure with its target, side by side. Exit code 1 when one is missed."""

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import plot
from tests.bench.lab import Lab, open_lab
from tests.bench.rows import Row
from tests.brokers import REPOSITORY

# In the order of the table; each is a module here with measure(lab). The watcher comes first: where
# many files were deleted just now some file systems take ten times as long to make one.
BENCHES = ("watcher", "publish", "window", "wire", "heap", "spool", "connect", "growth", "fleet")
_FILE_WIDTH = 180
RESULTS = REPOSITORY / "bench/results.json"
PLOT = REPOSITORY / "docs/bench.svg"


def main() -> int:
    """Run all of them, or those that are named; only a run of all is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    parser.add_argument("--markdown", action="store_true", help="the tables of the documents")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    shown = Console(stderr=True)
    began = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="anchorcam-bench-") as folder:
        with open_lab(Path(folder)) as lab:
            for name in given.names or BENCHES:
                started = time.monotonic()
                with shown.status(name):
                    rows += _run(name, lab)
                shown.print(f"{name:10} {time.monotonic() - started:5.0f} s")
        about = _about(lab, time.monotonic() - began)
    if not given.names:
        results = {"about": about, "rows": [row.as_json() for row in rows]}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PLOT.write_text(plot.svg(rows))
    if given.json:
        print(json.dumps([row.as_json() for row in rows]))
    elif given.markdown:
        print(_markdown([row for row in rows if row.target]))
        print(_markdown([row for row in rows if not row.target]))
    else:
        # A file has no width of its own: each row is one line there.
        Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(_table(rows))
    missed = [row for row in rows if row.holds is False]
    for row in missed:
        print(f"missed: {row.bench}, {row.what}: {row.figure}, {row.target}", file=sys.stderr)
    return 1 if missed else 0


def _run(name: str, lab: Lab) -> list[Row]:
    return list(importlib.import_module(f"tests.bench.{name}").measure(lab))


def _about(lab: Lab, seconds: float) -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "micropython": lab.runtime.version,
        "mbedtls": lab.runtime.mbedtls,
        "seconds": round(seconds),
    }


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "of", "figure", "target", "", "behind it"):
        table.add_column(name, justify="right" if name == "figure" else "left")
    before = ""
    for row in rows:
        verdict = {True: "[green]holds[/]", False: "[red]MISSED[/]", None: ""}[row.holds]
        bench = "" if row.bench == before else row.bench
        before = row.bench
        table.add_row(bench, row.what, row.figure, row.target, verdict, row.how)
    return table


def _markdown(rows: list[Row]) -> str:
    lines = ["| | figure | target | |", "|---|---|---|---|"]
    for row in rows:
        target = row.target if row.holds is not False else f"**missed:** {row.target}"
        lines.append(f"| {row.what} | {row.figure} | {target} | {row.how} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
