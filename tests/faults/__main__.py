"""`make faults`: the campaign on the terminal. Exit code 1 when anything is lost uncounted."""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from broker.authority import Authority
from host_tools.deploy import umqtt
from host_tools.virtual_camera import micropython
from tests.broker.local import NAMES
from tests.faults import campaign
from tests.faults.campaign import Report


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=campaign.__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--faults", type=int, default=150)
    parser.add_argument("--window", type=int, default=1, help="of snapshots in flight")
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    given = parser.parse_args()
    shown = Console(stderr=True)
    shown.print(f"seed {given.seed}, {given.faults} faults")
    folder = Path(tempfile.mkdtemp(prefix="anchorcam-faults-"))
    try:
        data = folder / "data"
        data.mkdir(mode=0o700)
        Authority(data / "authority", NAMES).ensure()
        with Progress(console=shown, transient=True) as bar:
            task = bar.add_task("faults", total=given.faults)
            report = campaign.run(
                given.seed,
                given.faults,
                folder,
                micropython.find(),
                umqtt.find(),
                data,
                given.window,
                lambda done, name: bar.update(task, completed=done, description=f"{name:20}"),
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(json.dumps(report.as_json()))
    else:
        Console().print(_table(report))
    if report.findings.wrong:
        for line in report.log[-50:] + report.console[-100:] + report.findings.wrong:
            print(line, file=sys.stderr)
        print(f"seed {report.seed}: {len(report.findings.wrong)} findings", file=sys.stderr)
        return 1
    return 0


def _table(report: Report) -> Table:
    found = report.findings
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("seed", report.seed),
        ("faults", sum(report.faults.values())),
        ("", _list(report.faults)),
        ("power-ups", found.boots),
        ("connections lost or refused", sum(report.failures.values())),
        ("", _list(report.failures)),
        ("snapshots taken", found.captured),
        ("delivered", found.delivered),
        ("dropped and counted", found.dropped),
        ("", _list(found.reasons)),
        ("in RAM at a power cut", found.in_ram),
        ("lost without being counted", len(found.wrong)),
        ("duplicates, known as such", found.duplicates),
        ("late, after a newer one", found.reordered),
        ("minutes", f"{report.seconds / 60:.1f}"),
    ):
        table.add_row(str(name), str(value))
    return table


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
