"""`python -m tests.bench.growth`: does a watcher's memory grow with what it has seen?

Prints its resident memory after each tenth of the snapshots. Exit code 1 if from the second tenth
on it grows by more than 32 MiB.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from host_tools.watch.records import Records
from host_tools.watch.schema import location
from tests.bench.watcher import mosquitto, publish_all, watching
from tests.brokers import wait_for
from tests.watch.conftest import write_settings

MOST_MIB = 32.0
_PARTS = 10


def measure(count: int, folder: Path, size: int = 30_000) -> list[float]:
    """The resident memory in MiB after each tenth of `count` snapshots. folder: an empty one."""
    found, part = [], count // _PARTS
    with mosquitto(folder, cameras=1) as endpoint:
        config = write_settings(folder / "watcher", endpoint)
        with (
            watching(config, "--keep-images", "100MB") as pid,
            Records(location(config.parent / "data")) as records,
        ):
            for number in range(_PARTS):
                publish_all(endpoint, 1, number * part, part, size)
                end = (number + 1) * part
                wait_for(lambda end=end: records.last_id() >= end, "the ledger", 300)
                found.append(_resident(pid))
    return found


def growth(found: list[float]) -> float:
    """In MiB, once everything that is filled at all is full."""
    return max(found[1:]) - found[1]


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="snapshots")
    parser.add_argument("--size", type=int, default=30_000, help="bytes of each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.count, Path(folder), arguments.size)
    print("resident, MiB: " + " ".join(f"{each:.0f}" for each in found))
    print(f"grown by {growth(found):.1f} MiB over {arguments.count} snapshots")
    return 0 if growth(found) <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(_main())
