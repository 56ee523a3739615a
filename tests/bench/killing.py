"""`python -m tests.bench.killing`: a watcher killed again and again loses nothing, counts once.

kill -9 of any of its processes at random moments while a camera publishes through mosquitto. Exit
code 1 if a snapshot is lost, counted twice, or not what was sent.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from host_tools.watch.evidence import check
from host_tools.watch.records import Records
from host_tools.watch.schema import location
from host_tools.watch.verdicts import Verdict
from tests.bench.growth import processes
from tests.bench.watcher import mosquitto, publish_all, watching
from tests.brokers import Endpoint
from tests.watch.conftest import write_settings

CAMERA = "cam1"


@dataclass
class Outcome:
    """wrong: every way in which the claim does not hold."""

    sent: int
    kills: int = 0
    rows: int = 0
    duplicates: int = 0  # came again and were known
    wrong: list[str] = field(default_factory=list)


def measure(count: int, folder: Path, seed: int, size: int = 30_000) -> Outcome:
    """Publish `count` snapshots to a watcher that is killed meanwhile. folder: an empty one."""
    chance, outcome = random.Random(seed), Outcome(count)
    with mosquitto(folder, cameras=1) as endpoint:
        config = write_settings(folder / "watcher", endpoint)
        data = config.parent / "data"
        with watching(config):
            pass
        publisher = threading.Thread(target=_publish, args=(endpoint, count, size))
        publisher.start()
        while _rows(data) < count:
            with watching(config) as pid:
                while True:
                    # At any moment of storing: most of them are in the first seconds of a queue.
                    time.sleep(chance.uniform(0, 0.1))
                    outcome.kills += 1
                    victim = chance.choice(processes(pid))
                    if victim == pid:
                        break
                    os.kill(victim, signal.SIGKILL)
        publisher.join()
        _judge(data, outcome)
    return outcome


def _publish(endpoint: Endpoint, count: int, size: int) -> None:
    publish_all(endpoint, 1, 0, count, size)


def _rows(data: Path) -> int:
    with Records(location(data)) as records:
        return sum(records.counts(CAMERA).values())


def _judge(data: Path, outcome: Outcome) -> None:
    with Records(location(data)) as records:
        rows = records.after(0, limit=10 * outcome.sent)
        (camera,) = records.cameras()
        gaps = records.gaps()
    outcome.rows = len(rows)
    outcome.duplicates = camera.counts[Verdict.DUPLICATE]
    seqs = Counter(row.seq for row in rows)
    if lost := [seq for seq in range(1, outcome.sent + 1) if seq not in seqs]:
        outcome.wrong.append(f"lost: {lost}")
    if twice := [seq for seq, times in seqs.items() if times > 1]:
        outcome.wrong.append(f"there twice: {twice}")
    counted = camera.counts[Verdict.DELIVERED] + camera.counts[Verdict.REORDERED]
    if counted != outcome.sent:
        outcome.wrong.append(f"{counted} counted as arrived")
    if gaps or camera.counts[Verdict.MISSING]:
        outcome.wrong.append(f"called missing: {gaps}")
    for row in rows:
        arrival = check(CAMERA, (data / str(row.image)).read_bytes())
        if (arrival.fault, arrival.identity) != (None, (row.boot, row.seq)):
            outcome.wrong.append(f"the file of seq {row.seq}: {arrival.fault}")


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.killing", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="snapshots")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"{arguments.count} snapshots, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(arguments.count, Path(folder), arguments.seed)
    print(
        f"killed {outcome.kills} times: {outcome.rows} rows of {outcome.sent} sent, "
        f"{outcome.duplicates} came again and were known"
    )
    for line in outcome.wrong:
        print(line)
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(_main())
