"""What is let go of, and what never is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.errors import UserError
from host_tools.watch import retention, schema
from host_tools.watch.ledger import LedgerError
from host_tools.watch.records import Records
from host_tools.watch.retention import Keep
from host_tools.watch.verdicts import Verdict
from tests.watch.cameras import flipped, health, stamped
from tests.watch.desk import Desk

SIZE = len(stamped("cam1", 10))


@pytest.fixture(
    params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.xdist_group("postgresql"))]
)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    is_sqlite = request.param == "SQLite"
    desk = Desk(tmp_path, None if is_sqlite else request.getfixturevalue("database"))
    yield desk
    desk.close()


def keeping(desk: Desk, images: Keep, rows: Keep = Keep()) -> Desk:  # noqa: B008
    """The same after a restart with these limits."""
    desk.close()
    desk.open(images, rows)
    return desk


def age(desk: Desk, up_to: int, seconds: float) -> None:
    """Make everything up to this snapshot older."""
    engine = schema.connect(desk.url, "write")
    with engine.begin() as db:
        for table, moment in (
            *(("snapshots", "received_ms"), ("faults", "received_ms"), ("gaps", "noted_ms")),
            *(("history", "at_ms"), ("samples", "at_ms")),
        ):
            db.exec_driver_sql(
                f"UPDATE {table} SET {moment} = {moment} - {round(seconds * 1000)}"  # noqa: S608
                f" WHERE id <= {up_to}"
            )
    engine.dispose()


def kept(desk: Desk) -> list[int]:
    """The seqs whose files the ledger says are kept; each is there, and no other is."""
    with Records(desk.url) as records:
        rows = records.images("cam1")[::-1]
        there = sorted(path.name for path in desk.folder.glob("cam1/boot-*/*/*.jpg"))
        assert sorted(os.path.basename(str(row.image)) for row in rows) == there
    return [row.seq for row in rows]


def test_the_oldest_files_go_when_there_are_too_many(desk: Desk) -> None:
    keeping(desk, Keep(bytes=3 * SIZE))
    for seq in range(1, 8):
        desk.give(stamped("cam1", seq))
    desk.intake.tick()
    assert kept(desk) == [5, 6, 7]
    # The restarted one counts what is there.
    keeping(desk, Keep(bytes=2 * SIZE)).intake.tick()
    assert kept(desk) == [6, 7]
    with Records(desk.url) as records:
        assert [row.seq for row in records.after(0)] == list(range(1, 8))
    assert b'"seq":7' in desk.latest


def test_old_files_go_and_empty_folders_with_them(desk: Desk) -> None:
    for seq in (1, 2):
        desk.give(stamped("cam1", seq))
    desk.give(stamped("cam1", 1, boot=2))
    age(desk, up_to=2, seconds=7200)
    keeping(desk, Keep(seconds=3600)).intake.tick()
    assert kept(desk) == [1]
    assert not (desk.folder / "cam1/boot-1").exists()


def test_a_file_that_is_gone_already_is_no_trouble(desk: Desk) -> None:
    for seq in (1, 2):
        desk.give(stamped("cam1", seq))
    (desk.folder / "cam1/boot-1/0-999/1.jpg").unlink()
    keeping(desk, Keep(bytes=SIZE)).intake.tick()
    assert kept(desk) == [2]


def test_old_rows_of_every_kind_go(desk: Desk) -> None:
    for seq in (1, 3):
        desk.give(stamped("cam1", seq))
    desk.intake.tick()
    desk.give(flipped(stamped("cam1", 4)))
    desk.intake.health("cam1", health(1, 3), retained=False)
    age(desk, up_to=1000, seconds=7200)
    desk.give(stamped("cam1", 5))
    keeping(desk, Keep(), Keep(seconds=3600)).intake.tick()
    with Records(desk.url) as records:
        assert [row.seq for row in records.after(0)] == [5]
        assert records.faults() == records.samples("cam1", 0) == []
        # The one of seq 4, which is new.
        assert [(gap.first, gap.last) for gap in records.gaps()] in ([], [(4, 4)])
        (camera,) = records.cameras()
    assert camera.counts[Verdict.DELIVERED] == 3
    assert kept(desk) == [5]
    # It is still known that it was here.
    assert desk.give(stamped("cam1", 3)).fields["verdict"] == Verdict.DUPLICATE


def test_too_many_rows_are_let_go_of_but_none_with_a_file(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seq in range(1, 11):
        desk.give(stamped("cam1", seq))
    few = Keep(bytes=4 * retention.ROW_BYTES)
    keeping(desk, Keep(bytes=6 * SIZE), few).intake.tick()
    assert kept(desk) == [5, 6, 7, 8, 9, 10]
    with Records(desk.url) as records:
        assert [row.seq for row in records.after(0)] == [5, 6, 7, 8, 9, 10]


def test_a_duplicate_brings_back_no_file_that_was_let_go_of(desk: Desk) -> None:
    keeping(desk, Keep(bytes=SIZE))
    snapshots = [stamped("cam1", seq) for seq in (1, 2)]
    for each in snapshots:
        desk.give(each)
    desk.intake.tick()
    desk.give(snapshots[0])
    assert kept(desk) == [2]


def test_what_could_not_be_recorded_is_not_let_go_of(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping(desk, Keep(bytes=0))

    def fail(_batch: object) -> None:
        raise LedgerError("no")

    with monkeypatch.context() as patched:
        patched.setattr(desk.ledger, "write", fail)
        with pytest.raises(LedgerError):
            desk.give(stamped("cam1", 1))
        desk.intake.tick()
        assert (desk.folder / "cam1/boot-1/0-999/1.jpg").exists()
    assert desk.give(stamped("cam1", 1)).fields["verdict"] == Verdict.DELIVERED
    desk.intake.tick()
    assert kept(desk) == []


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("30d", Keep(30 * 86400)),
        ("12h", Keep(12 * 3600)),
        ("500MB", Keep(bytes=500_000_000)),
        ("30d,10GB", Keep(30 * 86400, 10_000_000_000)),
        ("all", Keep()),
    ],
)
def test_limits_in_words(text: str, keep: Keep) -> None:
    assert Keep.parse(text, "--keep-images") == keep


@pytest.mark.parametrize(
    "text", ["", "30", "d", "30d10GB", "10GB,30d", "1w", "-1d", "30d,", ",1GB"]
)
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--keep-images cannot be") as caught:
        Keep.parse(text, "--keep-images")
    assert caught.value.exit_code == 2


def test_defaults_are_limits() -> None:
    assert Keep.parse(retention.IMAGES, "").bytes
    assert Keep.parse(retention.ROWS, "").seconds
