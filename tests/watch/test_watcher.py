"""The watcher's process and a real broker: what comes is proven, recorded, and never lost."""

import resource
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from camera import topics
from host_tools.watch.schema import FILE
from tests.brokers import BrokerProcess, running_broker, wait_for
from tests.watch.cameras import flipped, health, jpeg, nonsense_stamp, stamped, state
from tests.watch.conftest import (
    Publisher,
    Watch,
    publishing,
    use_certificates,
    write_settings,
)


def recorded(data: Path, camera: str) -> dict[int, str]:
    """seq -> verdict in the ledger."""
    with sqlite3.connect(f"file:{data / FILE}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT seq, verdict FROM snapshots WHERE camera = ?", (camera,))
        return dict(rows.fetchall())


def test_twenty_good_snapshots(watch: Watch, config: Path, publisher: Publisher) -> None:
    watcher = watch(config, "--expect", "20", "--timeout", "30").connected()
    publisher.send(state("online"), kind=topics.STATE, retain=True)
    publisher.send(*(stamped(publisher.camera, seq) for seq in range(1, 21)))
    ended = watcher.end(None)
    assert ended.status == 0
    assert ended.errors == f"20 snapshots verified, of {publisher.camera}\n"
    events = watcher.snapshots(publisher.camera)
    assert [(event["seq"], event["verdict"]) for event in events] == [
        (seq, "delivered") for seq in range(1, 21)
    ]
    assert Path(events[-1]["file"]).read_bytes()[:2] == b"\xff\xd8"
    assert watcher.event(event="state", camera=publisher.camera)["state"] == "online"


def test_killed_in_a_stream_nothing_is_lost_or_counted_twice(
    watch: Watch, config: Path, publisher: Publisher
) -> None:
    camera, total = publisher.camera, 90
    watcher = watch(config).connected()
    sent = 0
    for _ in range(3):
        for _ in range(total // 3):
            sent += 1
            publisher.send(stamped(camera, sent))
        # Somewhere in the middle of what has just been sent, most likely.
        watcher.end(signal.SIGKILL)
        watcher = watch(config)
    wait_for(lambda: len(recorded(watcher.data, camera)) == total, "all of them in the ledger")
    watcher.end()
    assert recorded(watcher.data, camera) == dict.fromkeys(range(1, total + 1), "delivered")


def test_sent_while_no_watcher_was_there(watch: Watch, config: Path, publisher: Publisher) -> None:
    watch(config).connected().end()
    publisher.send(*(stamped(publisher.camera, seq) for seq in range(1, 6)))
    watcher = watch(config)
    watcher.wait_snapshots(publisher.camera, 5, verdict="delivered")
    watcher.end()
    # They were acknowledged, so the broker does not bring them again.
    again = watch(config)
    publisher.send(stamped(publisher.camera, 6))
    again.wait_snapshots(publisher.camera, 1, seq=6)
    assert [event["seq"] for event in again.snapshots(publisher.camera)] == [6]


def test_duplicates_reordering_and_gaps(watch: Watch, config: Path, publisher: Publisher) -> None:
    camera = publisher.camera
    watcher = watch(config, "--reorder", "0.5").connected()
    publisher.send(*(stamped(camera, seq) for seq in (1, 2, 2, 4, 3)))
    assert [event["verdict"] for event in watcher.wait_snapshots(camera, 5)] == [
        *("delivered", "delivered", "duplicate", "delivered", "reordered")
    ]
    publisher.send(health(1, 7), kind=topics.HEALTH)
    missing = watcher.event(event="missing", camera=camera)
    assert (missing["seq"], missing["to"], missing["verdict"]) == (5, 7, "missing")
    publisher.send(stamped(camera, 6))
    assert "missing" in watcher.wait_snapshots(camera, 1, seq=6, verdict="reordered")[0]["reason"]


def test_what_the_camera_dropped_is_told_and_is_no_failure(
    watch: Watch, config: Path, publisher: Publisher
) -> None:
    camera = publisher.camera
    watcher = watch(config, "--reorder", "0.5", "--expect", "2").connected()
    publisher.send(stamped(camera, 1))
    drops = [[1, 2, 4, "full"]]
    for seq in (4, 5):
        publisher.send(health(1, seq, spool_from=[1, 5], drops=drops), kind=topics.HEALTH)
    dropped = watcher.event(event="dropped", camera=camera)
    assert (dropped["seq"], dropped["to"], dropped["reason"]) == (2, 4, "full")
    publisher.send(stamped(camera, 5))
    ended = watcher.end(None)
    assert (ended.status, ended.errors) == (0, f"2 snapshots verified, of {camera}\n")
    assert len(watcher.matching(event="dropped")) == 1
    assert watcher.matching(event="missing") == []


def test_hostile_payloads_are_one_line_each_and_it_goes_on(
    watch: Watch, config: Path, publisher: Publisher
) -> None:
    camera = publisher.camera
    watcher = watch(config).connected()
    hostile = {
        flipped(stamped(camera, 2)): "corrupt",
        stamped(camera, 2)[:-50]: "corrupt",
        stamped(camera, 2, stamp_of="cam99"): "corrupt",
        nonsense_stamp(): "corrupt",
        nonsense_stamp(b"[" * 60_000): "corrupt",
        jpeg(2): "unverifiable",
        b"": "unverifiable",
        bytes(5 * 1024 * 1024): "unverifiable",
    }
    publisher.send(stamped(camera, 1), *hostile)
    publisher.send(b"\xff{", b"[" * 20_000, kind=topics.HEALTH)
    publisher.send(b'{"state":7}', kind=topics.STATE)
    publisher.send(stamped(camera, 2))
    watcher.wait_snapshots(camera, 1, seq=2, verdict="delivered")
    assert [event["verdict"] for event in watcher.snapshots(camera)] == [
        *("delivered", *hostile.values(), "delivered")
    ]
    assert all(event["reason"] for event in watcher.snapshots(camera)[1:-1])
    assert len(watcher.matching(event="note", camera=camera)) == 3
    assert watcher.end().errors == ""


def test_full_disk_pauses_and_loses_nothing(
    watch: Watch, config: Path, publisher: Publisher
) -> None:
    camera = publisher.camera
    watcher = watch(config).connected()
    publisher.send(stamped(camera, 1))
    watcher.wait_snapshots(camera, 1)
    # A disk on which no file can be longer than 2000 bytes: every write beyond fails.
    unlimited = resource.prlimit(watcher.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(watcher.process.pid, resource.RLIMIT_FSIZE, (2000, unlimited[1]))
    publisher.send(*(stamped(camera, seq) for seq in (2, 3)))
    trouble = wait_for(lambda: watcher.matching(event="note"), "a word about the disk")
    publisher.send(stamped(camera, 4))
    resource.prlimit(watcher.process.pid, resource.RLIMIT_FSIZE, unlimited)
    watcher.wait_snapshots(camera, 1, seq=4)
    assert [event["verdict"] for event in watcher.snapshots(camera)] == ["delivered"] * 4
    assert "nothing is acknowledged" in trouble[0]["text"]
    assert [event["text"] for event in watcher.matching(event="note")][1:] == [
        "storing works again; nothing was lost"
    ]


@pytest.fixture
def own_data(tmp_path: Path, made_once: Path) -> Path:
    """A broker's data folder, certificates included."""
    use_certificates(made_once, tmp_path / "broker")
    return tmp_path / "broker"


@pytest.fixture
def own_broker(own_data: Path) -> Iterator[BrokerProcess]:
    with running_broker(own_data, "--camera=cam1") as broker:
        yield broker


def test_payload_over_the_broker_limit_closes_only_the_camera(
    watch: Watch, own_broker: BrokerProcess, tmp_path: Path
) -> None:
    watcher = watch(write_settings(tmp_path / "here", own_broker.endpoint())).connected()
    with publishing(own_broker, "cam1") as publisher:
        publisher.client.publish("cameras/cam1/jpeg", bytes(5 * 1024 * 1024), 0)
        assert "limit" in own_broker.event("disconnect", client="cam1")["reason"]
    with publishing(own_broker, "cam1") as publisher:
        publisher.send(stamped("cam1", 1))
    watcher.wait_snapshots("cam1", 1, verdict="delivered")


def test_broker_restarts(watch: Watch, own_data: Path, tmp_path: Path) -> None:
    first = BrokerProcess(own_data, "--camera=cam1")
    endpoint = first.endpoint()
    watcher = watch(write_settings(tmp_path / "here", endpoint)).connected()
    with publishing(first, "cam1") as publisher:
        publisher.send(stamped("cam1", 1))
        watcher.wait_snapshots("cam1", 1)
    first.stop()
    assert watcher.event(event="connection", connected=False)["reason"] == "broker_closed"
    watcher.event(event="connection", connected=False, reason="refused")
    with running_broker(own_data, "--camera=cam1", f"--port={endpoint.port}") as second:
        wait_for(lambda: len(watcher.matching(connected=True)) == 2, "a second connection")
        assert "no queue" in watcher.event(event="note")["text"]
        with publishing(second, "cam1") as publisher:
            publisher.send(stamped("cam1", 2))
            watcher.wait_snapshots("cam1", 1, seq=2, verdict="delivered")
        assert watcher.end().status == 0
