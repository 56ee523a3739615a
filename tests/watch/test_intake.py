"""From a message to its verdict, file and row: everything but the network."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.errors import UserError
from host_tools.watch.batch import Batch
from host_tools.watch.cameras import CAMERAS_MAX
from host_tools.watch.evidence import REPORT_MAX, SNAPSHOT_MAX, check, refused
from host_tools.watch.ledger import Ledger
from host_tools.watch.schema import FILE
from host_tools.watch.verdicts import Verdict
from tests.watch.cameras import flipped, health, jpeg, nonsense_stamp, stamped, state
from tests.watch.desk import Desk


def test_a_delivered_snapshot_is_kept_as_received(desk: Desk) -> None:
    sent = stamped("cam1", 1)
    event = json.loads(desk.give(sent).as_json())
    assert desk.latest == sent
    assert event["verdict"] == "delivered"
    assert (event["camera"], event["boot"], event["seq"]) == ("cam1", 1, 1)
    assert event["size"] == len(sent)
    assert 0 <= event["latency_ms"] < 5000
    assert event["file"] == str(desk.folder / "cam1/boot-1/0-999/1.jpg")
    assert "reason" not in event


REFUSED = {
    "flipped": (flipped(stamped("cam1", 2)), Verdict.CORRUPT, "SHA-256"),
    "truncated": (stamped("cam1", 2)[:-100], Verdict.CORRUPT, "its stamp says"),
    "another camera's": (stamped("cam1", 2, stamp_of="cam2"), Verdict.CORRUPT, "another camera"),
    "nonsense": (nonsense_stamp(), Verdict.CORRUPT, "not a camera id"),
    "path in the id": (
        nonsense_stamp(stamped("cam1", 2)[34:].split(b"}")[0].replace(b"cam1", b"../x") + b"}"),
        Verdict.CORRUPT,
        "camera id",
    ),
    "JSON bomb": (nonsense_stamp(b"[" * 60_000), Verdict.CORRUPT, "not JSON"),
    "not UTF-8": (nonsense_stamp(b"\xff\xfe"), Verdict.CORRUPT, "not JSON"),
    "no stamp": (jpeg(2), Verdict.UNVERIFIABLE, "no stamp"),
    "empty": (b"", Verdict.UNVERIFIABLE, "no stamp"),
    "not a JPEG": (b"hello", Verdict.UNVERIFIABLE, "JPEG"),
    "too long": (stamped("cam1", 2, original=jpeg(2, SNAPSHOT_MAX)), Verdict.UNVERIFIABLE, "limit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_snapshot_never_replaces_one(desk: Desk, name: str) -> None:
    payload, verdict, reason = REFUSED[name]
    good = stamped("cam1", 1)
    desk.give(good)
    event = desk.give(payload)
    assert event.fields["verdict"] == verdict
    assert reason in event.text
    assert "\n" not in event.text
    assert desk.latest == good
    assert desk.count(verdict) == 1
    assert desk.count(Verdict.DELIVERED) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(payload=st.binary(max_size=300) | st.integers(0, 3000).map(lambda at: _cut(at)))
def test_no_payload_raises(desk: Desk, payload: bytes) -> None:
    desk.give(payload)
    desk.intake.health("cam1", payload, retained=False)
    desk.intake.state("cam1", payload)
    desk.intake.tick()


def _cut(at: int) -> bytes:
    return stamped("cam1", 1)[:at] + b"\0" + stamped("cam1", 1)[at + 1 :]


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * REPORT_MAX,
        b"{" * (REPORT_MAX + 1),
        b"\xff",
        b"[]",
        b"",
        b'{"state":"on"}',
        b"\x1b[2J",
        b'{"boot":' + b"9" * 9000 + b"}",
    ],
)
def test_a_report_that_is_none_is_one_printable_line(desk: Desk, payload: bytes) -> None:
    desk.intake.state("cam1", payload)
    assert "ignored a state message" in desk.events[-1].text
    assert desk.events[-1].text.isprintable()


def test_health_fields_are_optional_and_checked(desk: Desk) -> None:
    hostile = {"clock": "\x1b[31mred", "anchor": 7, "last_error": "x" * 500, "clock_age_s": 1e999}
    desk.intake.health("cam1", health(True, -1, **hostile), retained=False)  # type: ignore[arg-type]
    (camera,) = desk.intake.view()
    assert camera.health.clock == "?[31mred"
    assert (camera.health.anchor, camera.health.clock_age_s) == (None, None)
    assert len(camera.health.last_error or "") == 40


def test_retained_health_is_no_evidence(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    desk.intake.health("cam1", health(1, 50), retained=True)
    desk.intake.tick()
    assert desk.count(Verdict.MISSING) == 0


def test_missing_then_late_and_both_are_told(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    desk.intake.health("cam1", health(1, 3), retained=False)
    desk.intake.tick()
    told = json.loads(desk.events[-1].as_json())
    assert (told["event"], told["verdict"]) == ("missing", "missing")
    assert (told["seq"], told["to"], told["count"]) == (2, 3, 2)
    late = desk.give(stamped("cam1", 2))
    assert late.fields["verdict"] == Verdict.REORDERED
    assert desk.count(Verdict.MISSING) == 1


def test_an_old_snapshot_does_not_replace_the_newest(desk: Desk) -> None:
    desk.give(stamped("cam1", 3))
    desk.give(stamped("cam1", 2))
    assert desk.latest[: 1 << 20] != stamped("cam1", 2)
    assert b'"seq":3' in desk.latest


def test_a_restart_remembers_and_counts_nothing_twice(desk: Desk) -> None:
    for seq in (1, 2, 4):
        desk.give(stamped("cam1", seq))
    desk.intake.tick()
    again = desk.again()
    assert (again.count(Verdict.DELIVERED), again.count(Verdict.MISSING)) == (3, 1)
    assert again.give(stamped("cam1", 2)).fields["verdict"] == Verdict.DUPLICATE
    assert again.give(stamped("cam1", 3)).fields["verdict"] == Verdict.REORDERED
    assert again.count(Verdict.MISSING) == 0
    again.close()
    with sqlite3.connect(again.folder / FILE) as db:
        rows = db.execute("SELECT boot, seq, verdict FROM snapshots ORDER BY id").fetchall()
    assert [row[:2] for row in rows] == [(1, 1), (1, 2), (1, 4), (1, 3)]


def test_two_different_snapshots_with_one_identity_are_told_apart(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    event = desk.give(stamped("cam1", 1, original=jpeg(99)))
    assert event.fields["verdict"] == Verdict.UNVERIFIABLE
    assert "two cameras" in event.text


def test_when_the_file_cannot_be_written_nothing_has_happened(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    blocked = desk.folder / "cam1/boot-2"
    blocked.touch()
    before = len(desk.events)
    with pytest.raises(OSError, match="Not a directory"):
        desk.give(stamped("cam1", 1, boot=2))
    assert len(desk.events) == before
    assert desk.count(Verdict.DELIVERED) == 1
    blocked.unlink()
    assert desk.give(stamped("cam1", 1, boot=2)).fields["verdict"] == Verdict.DELIVERED


def test_when_the_ledger_cannot_be_written_nothing_has_happened(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    other = sqlite3.connect(desk.folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="locked"):
        desk.give(stamped("cam1", 2))
    other.execute("ROLLBACK")
    other.close()
    assert desk.give(stamped("cam1", 2)).fields["verdict"] == Verdict.DELIVERED


def test_states_and_stale_wills(desk: Desk) -> None:
    for word, conn in (("online", 1), ("online", 2), ("offline", 1), ("online", 2)):
        desk.intake.state("cam1", state(word, 1, conn))
    assert [event.fields["conn"] for event in desk.events] == [1, 2]
    assert desk.intake.view()[0].online
    desk.intake.state("cam1", state("offline", 1, 2))
    assert desk.intake.view()[0].online is False


def test_the_number_of_cameras_is_bounded(desk: Desk) -> None:
    for number in range(CAMERAS_MAX + 5):
        desk.intake.state(f"x{number}", state("online"))
    assert len(desk.intake.view()) == CAMERAS_MAX
    assert "are being watched already" in desk.events[-1].text


def test_one_folder_is_for_one_watcher(desk: Desk) -> None:
    with pytest.raises(UserError, match="another watcher"):
        Ledger(desk.folder)


@pytest.mark.parametrize("what", [b"this is not a database, by any means" * 100, None])
def test_a_ledger_that_is_none_is_one_line(tmp_path: Path, what: bytes | None) -> None:
    if what:
        (tmp_path / FILE).write_bytes(what)
    else:
        (tmp_path / FILE).mkdir()
    with pytest.raises(UserError, match="move it away") as caught:
        Ledger(tmp_path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("state", ["no JSON", "{}", "[]", '{"newest": 1}', "[" * 100_000])
def test_a_damaged_ledger_is_one_line(desk: Desk, state: str) -> None:
    desk.give(stamped("cam1", 1))
    desk.ledger.write(Batch(tracks={"cam1": state}))
    with pytest.raises(UserError, match=r"is damaged: .*; move it away") as caught:
        desk.again()
    assert caught.value.exit_code == 2


def test_a_ledger_of_before_the_spool_is_one_line(desk: Desk) -> None:
    # As the watcher that knew only a count of drops wrote it.
    state = {
        **{"v": 1, "newest": [1, 3], "arrived": {"delivered": 2}, "origin": 1, "floor": 0},
        **{"settled": {"missing": 0, "dropped-by-camera": 0}, "damaged": []},
        "boots": {"1": [1, 3, 3, 0, 0, [[2, 2, False]]]},
    }
    desk.give(stamped("cam1", 1))
    desk.ledger.write(Batch(tracks={"cam1": json.dumps(state)}))
    with pytest.raises(UserError, match=r"its layout is 1, not 2; move it away") as caught:
        desk.again()
    assert caught.value.exit_code == 2


def test_a_ledger_without_its_tables_is_one_line(desk: Desk) -> None:
    with contextlib.closing(sqlite3.connect(desk.folder / FILE)) as other:
        other.execute("DROP TABLE cameras")
    with pytest.raises(UserError, match=r"is damaged: .*no such table"):
        desk.again()


def test_over_the_limit_is_not_even_looked_at() -> None:
    payload = stamped("cam1", 1, original=jpeg(1, SNAPSHOT_MAX))
    assert check("cam1", payload) == refused(len(payload))
