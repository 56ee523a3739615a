"""What can be read of a ledger while its watcher writes it, and what earlier versions left."""

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.errors import UserError
from host_tools.watch import entries, schema
from host_tools.watch.entries import Gap, Snapshot
from host_tools.watch.records import Records, reports
from host_tools.watch.schema import FILE, location
from host_tools.watch.verdicts import Verdict
from tests.watch.cameras import flipped, health, jpeg, stamped, state
from tests.watch.desk import Desk


@pytest.fixture(
    params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.xdist_group("postgresql"))]
)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """The same statements must do on both."""
    is_sqlite = request.param == "SQLite"
    desk = Desk(tmp_path, None if is_sqlite else request.getfixturevalue("database"))
    yield desk
    desk.close()


@pytest.fixture
def reader(desk: Desk) -> Iterator[Records]:
    with Records(desk.url) as reader:
        yield reader


def cells(strip: list[Snapshot | Gap]) -> list[object]:
    """A strip in short: the seq of a snapshot, (first, last, place) of a gap."""
    return [
        each.seq if isinstance(each, Snapshot) else (each.first, each.last, each.place)
        for each in strip
    ]


def test_a_camera_with_its_counts_newest_snapshot_and_reports(desk: Desk, reader: Records) -> None:
    desk.intake.state("cam1", state("online", 3, 1))
    for seq in (1, 2, 2, 4, 3):
        desk.give(stamped("cam1", seq, boot=3))
    desk.intake.health("cam1", health(3, 4, heap_free=1000, rssi=-61, spooled=2), retained=False)
    desk.intake.state("cam2", state("offline", 1, 1))
    first, second = reader.cameras()
    assert reader.camera("cam2") == second
    assert (first.name, first.online, first.boot, first.conn) == ("cam1", True, 3, 1)
    assert first.birth == {"state": "online", "boot": 3, "conn": 1}
    assert first.health
    assert (first.health["rssi"], first.health["spooled"]) == (-61, 2)
    assert first.counts[Verdict.DELIVERED] == 3
    assert first.counts[Verdict.DUPLICATE] == 1
    assert first.newest
    assert (first.newest.boot, first.newest.seq, first.newest.id) == (3, 4, 3)
    assert (desk.folder / str(first.newest.image)).read_bytes() == stamped(
        "cam1", 4, boot=3, ts=first.newest.sent_ms
    )
    assert (second.online, second.birth, second.health, second.newest) == (False, None, None, None)
    assert reports(desk.url) == {
        "cam1": (first.birth, first.health),
        "cam2": (None, None),
    }


def test_the_last_birth_is_kept_when_the_camera_goes(desk: Desk, reader: Records) -> None:
    birth = {"state": "online", "boot": 1, "conn": 1, "anchors": ["a.der", "b.der"]}
    desk.intake.state("cam1", json.dumps(birth).encode())
    desk.intake.state("cam1", state("offline", 1, 1))
    (camera,) = reader.cameras()
    assert (camera.online, camera.birth) == (False, birth)


def test_snapshots_after_an_id_come_once_and_in_the_order_of_arrival(
    desk: Desk, reader: Records
) -> None:
    for camera, seq in (("cam1", 1), ("cam2", 7), ("cam1", 3), ("cam1", 2), ("cam1", 3)):
        desk.give(stamped(camera, seq), camera)
    first = reader.after(0, limit=2)
    rest = reader.after(first[-1].id)
    assert [(each.camera, each.seq) for each in first + rest] == [
        *(("cam1", 1), ("cam2", 7), ("cam1", 3), ("cam1", 2))
    ]
    assert reader.last_id() == rest[-1].id
    assert reader.after(rest[-1].id) == []
    assert [each.seq for each in reader.after(0, camera="cam1")] == [1, 3, 2]
    assert rest[-1].verdict == "reordered"


def test_a_strip_has_gaps_where_they_are_and_says_where_each_was_lost(
    desk: Desk, reader: Records
) -> None:
    for seq in (1, 2, 9, 14):
        desk.give(stamped("cam1", seq))
    desk.intake.health("cam1", health(1, 11, drops=[[1, 5, 6, "full"]]), retained=False)
    desk.intake.tick()
    assert cells(reader.strip("cam1")) == [
        *(1, 2, (3, 4, entries.AFTER_PUBACK), (5, 6, entries.NEVER_SENT)),
        *((7, 8, entries.AFTER_PUBACK), 9, (10, 11, entries.AFTER_PUBACK)),
        *((12, 13, entries.UNKNOWN), 14),
    ]
    assert cells(reader.strip("cam1", limit=2)) == [
        *(9, (10, 11, entries.AFTER_PUBACK), (12, 13, entries.UNKNOWN), 14)
    ]


def test_a_late_arrival_leaves_its_gap_and_the_history_keeps_both(
    desk: Desk, reader: Records
) -> None:
    for seq in (1, 5):
        desk.give(stamped("cam1", seq))
    desk.intake.tick()
    desk.give(stamped("cam1", 3))
    desk.intake.health("cam1", health(1, 5, drops=[[1, 4, 4, "damaged"]]), retained=False)
    assert [(gap.first, gap.last, gap.verdict) for gap in reader.gaps()] == [
        *((2, 2, "missing"), (4, 4, "dropped-by-camera"))
    ]
    changes = [(each.first, each.last, each.was, each.verdict) for each in reader.history()[::-1]]
    assert changes == [
        (2, 4, None, "missing"),
        (3, 3, "missing", "reordered"),
        (4, 4, "missing", "dropped-by-camera"),
    ]


def test_what_came_damaged_is_a_fault_and_no_gap(desk: Desk, reader: Records) -> None:
    desk.give(stamped("cam1", 1))
    desk.give(stamped("cam1", 3))
    desk.intake.tick()
    desk.give(flipped(stamped("cam1", 2)))
    desk.give(jpeg(7))
    assert reader.gaps() == []
    unproven, damaged = reader.faults()
    assert (damaged.boot, damaged.seq, damaged.verdict) == (1, 2, "corrupt")
    assert (unproven.boot, unproven.seq, unproven.verdict) == (None, None, "unverifiable")
    assert "SHA-256" in damaged.reason


def test_images_newest_first_and_page_by_page(desk: Desk, reader: Records) -> None:
    for boot, seq in ((1, 1), (1, 2), (2, 1)):
        desk.give(stamped("cam1", seq, boot=boot))
    newest = reader.images("cam1", limit=2)
    assert [(each.boot, each.seq) for each in newest] == [(2, 1), (1, 2)]
    rest = reader.images("cam1", before=(newest[-1].boot, newest[-1].seq))
    assert [(each.boot, each.seq) for each in rest] == [(1, 1)]
    found = reader.snapshot("cam1", 1, 2)
    assert found == newest[1]
    assert b'"seq":2' in (desk.folder / str(newest[1].image)).read_bytes()


def test_health_and_latency_over_time(desk: Desk, reader: Records) -> None:
    for seq in range(1, 11):
        desk.give(stamped("cam1", seq))
    desk.intake.health("cam1", health(1, 10, heap_free=123, reconnects=4), retained=False)
    (sample,) = reader.samples("cam1", since_ms=0)
    assert (sample.boot, sample.heap_free, sample.reconnects, sample.rssi) == (1, 123, 4, None)
    assert sample.latency_ms is not None
    assert reader.samples("cam1", since_ms=sample.at_ms + 1) == []
    assert len(reader.latencies("cam1", 0)) == 10
    assert 2 <= len(reader.latencies("cam1", 0, most=5)) <= 5


def test_hostile_reports_are_read_as_plain_data(desk: Desk, reader: Records) -> None:
    hostile = b'{"boot":1,"seq":1,"x":1e999,"y":NaN,"z":%s,"s":"\\ud800\\u0000<b>"}' % (
        b"[" * 400 + b"]" * 400
    )
    desk.intake.health("cam1", hostile, retained=False)
    (camera,) = reader.cameras()
    assert camera.health
    assert json.dumps(camera.health, allow_nan=False)
    assert (camera.health["x"], camera.health["s"]) == (None, "\ud800\0<b>")


def test_reading_waits_for_no_writer_and_cannot_write(desk: Desk, reader: Records) -> None:
    desk.give(stamped("cam1", 1))
    writer = schema.connect(desk.url, "write")
    with writer.begin() as other:
        other.exec_driver_sql("DELETE FROM snapshots")
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(reader.last_id())) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1, 1, 1, 1]
        other.rollback()
    writer.dispose()
    with (
        reader._engine.connect() as db,
        pytest.raises(Exception, match=r"readonly|read-only"),
    ):
        db.exec_driver_sql("DELETE FROM snapshots")


def test_a_ledger_can_be_read_after_its_watcher_has_gone(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    desk.close()
    with Records(desk.url) as reader:
        assert reader.last_id() == 1


def test_no_ledger_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="start a watcher with it first") as caught:
        Records(location(tmp_path))
    assert (caught.value.exit_code, "\n" in str(caught.value)) == (2, False)


# As the watcher of layout 1 made it.
_LAYOUT_1 = """
CREATE TABLE snapshots (
    camera TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL, verdict TEXT NOT NULL,
    size INTEGER NOT NULL, digest BLOB NOT NULL, sent_ms INTEGER, received_ms INTEGER NOT NULL,
    PRIMARY KEY (camera, boot, seq)
) WITHOUT ROWID;
CREATE TABLE cameras (camera TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE watcher (name TEXT NOT NULL);
INSERT INTO watcher VALUES ('0a1b2c3d');
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
"""


def test_a_ledger_of_layout_1_is_brought_over_whole(tmp_path: Path) -> None:
    track = {
        **{"v": 2, "newest": [1, 9], "arrived": {"delivered": 3, "duplicate": 1}, "origin": 1},
        **{"floor": 0, "settled": {"missing": 0, "dropped-by-camera": 0}, "damaged": [[1, 3]]},
        **{"held": None, "boots": {"1": [1, 9, 9, 0, 0, [[2, 4, 1], [6, 7, 2], [8, 8, 0]]]}},
    }
    digest = hashlib.sha256(jpeg(9)).digest()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as old:
        old.executescript(_LAYOUT_1)
        old.execute("INSERT INTO cameras VALUES ('cam1', ?)", (json.dumps(track),))
        for seq in (9, 1, 5):
            row = ("cam1", 1, seq, "delivered", 3000, digest, None, 1_700_000_000_000 + seq)
            old.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        old.commit()
    for _ in range(2):
        desk = Desk(tmp_path)
        assert desk.ledger.name == "0a1b2c3d"
        assert (desk.count(Verdict.DELIVERED), desk.count(Verdict.MISSING)) == (3, 2)
        with Records(location(tmp_path)) as reader:
            assert [(row.seq, row.received_ms, row.image) for row in reader.after(0)] == [
                (seq, 1_700_000_000_000 + seq, None) for seq in (1, 5, 9)
            ]
            assert [(gap.first, gap.last, gap.noted_ms) for gap in reader.gaps()] == [
                (2, 2, 1_700_000_000_005),
                (4, 4, 1_700_000_000_005),
                (6, 7, 1_700_000_000_009),
            ]
        desk.close()
    desk = Desk(tmp_path)
    assert desk.give(stamped("cam1", 4)).fields["verdict"] == Verdict.REORDERED
    assert desk.give(stamped("cam1", 9)).fields["verdict"] == Verdict.DUPLICATE
    desk.close()


def test_a_ledger_of_a_later_version_is_left_alone(desk: Desk) -> None:
    desk.close()
    engine = schema.connect(desk.url, "write")
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE meta SET value = '99' WHERE name = 'schema'")
    engine.dispose()
    with pytest.raises(UserError, match=r"version 99, not 2; (move it away|check --ledger)"):
        desk.again()
    with pytest.raises(UserError, match="version 99, not 2"):
        Records(desk.url)
