"""Does a watcher's memory grow with what it has seen? Its memory, by tenths."""

from collections.abc import Iterator
from pathlib import Path

from host_tools.watch.records import Records
from host_tools.watch.schema import location
from tests.bench.lab import Lab
from tests.bench.rows import Row
from tests.bench.watcher import mosquitto, publish_all, watching
from tests.brokers import wait_for
from tests.watch.conftest import write_settings

MOST_MIB = 32.0
_COUNT, _SIZE = 100_000, 3000
_PARTS = 10


def measure(lab: Lab) -> Iterator[Row]:
    """Over a hundred thousand snapshots."""
    folder = lab.folder / "growth"
    folder.mkdir()
    found = resident(_COUNT, folder, _SIZE)
    what = f"watcher's memory over {_COUNT:,} snapshots, more than after {_COUNT // _PARTS:,}"
    how = "MiB: " + ", ".join(f"{each:.0f}" for each in found)
    yield Row("growth", what, growth(found), "MiB", how, most=MOST_MIB)


def resident(count: int, folder: Path, size: int) -> list[float]:
    """The memory in MiB after each tenth of `count` snapshots, of all the watcher's processes.

    folder: an empty one.
    """
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
                found.append(sum(map(_resident, processes(pid))))
    return found


def growth(found: list[float]) -> float:
    """In MiB, once everything that is filled at all is full."""
    return max(found[1:]) - found[1]


def processes(pid: int) -> list[int]:
    """This process and its children."""
    children = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *map(int, " ".join(children).split())]


def _resident(pid: int) -> float:
    """What two share counts half for each."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no Pss")
