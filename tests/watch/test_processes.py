"""A watcher is three processes: each may be killed, and none outlives it."""

import os
import signal
from pathlib import Path

import pytest

from tests.bench.growth import processes
from tests.brokers import wait_for
from tests.watch.cameras import stamped
from tests.watch.conftest import Publisher, Watch, WatchProcess


def child(watcher: WatchProcess, word: str) -> int:
    """The process with this word in its command line."""
    for pid in processes(watcher.process.pid)[1:]:
        if word in Path(f"/proc/{pid}/cmdline").read_text():
            return pid
    raise AssertionError(f"no {word}")


@pytest.mark.parametrize("word", ["receiver", "filer"])
def test_killed_it_is_started_again_and_nothing_is_lost(
    watch: Watch, config: Path, publisher: Publisher, word: str
) -> None:
    camera = publisher.camera
    watcher = watch(config).connected()
    for seq in (1, 2, 3):
        publisher.send(stamped(camera, seq))
        watcher.wait_snapshots(camera, seq, verdict="delivered")
        before = child(watcher, word)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda before=before: not _runs(before), "its end")
    publisher.send(stamped(camera, 4))
    found = watcher.wait_snapshots(camera, 4, verdict="delivered")
    assert all(Path(each["file"]).stat().st_size == each["size"] for each in found)
    assert watcher.end().status == 0
    assert watcher.snapshots(camera, verdict="delivered") == found, "and each once"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_none_outlives_the_watcher(watch: Watch, config: Path, number: int) -> None:
    watcher = watch(config).connected()
    of = processes(watcher.process.pid)
    assert len(of) == 3
    watcher.end(number)
    wait_for(lambda: not any(map(_runs, of)), "the end of all")


def test_what_stops_all_at_once_is_left_to_the_watcher(
    watch: Watch, config: Path, publisher: Publisher
) -> None:
    # Ctrl-C, and systemd.
    watcher = watch(config).connected()
    for pid in processes(watcher.process.pid)[1:]:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    publisher.send(stamped(publisher.camera, 1))
    watcher.wait_snapshots(publisher.camera, 1, verdict="delivered")
    assert watcher.end(signal.SIGINT).status == 0


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
