"""What health says of the camera's spool, from the message to the counts and the events."""

import json
import sqlite3

import pytest

from host_tools.watch.evidence import DROPS_MAX
from host_tools.watch.schema import FILE
from host_tools.watch.verdicts import Verdict
from tests.watch.cameras import health, stamped
from tests.watch.desk import Desk

NO_DROPS = [
    *(None, 7, "drops", {"1": 1}, [7], [[]], [[1, 2, 3]], [[1, 2, 3, "full", 0]]),
    *([[True, 2, 3, "full"]], [[1, 2.5, 3, "full"]], [["1", 2, 3, "full"]], [[1, 3, 2, "full"]]),
    *([[0, 2, 3, "full"]], [[1, 0, 3, "full"]], [[1, 2, 2**32, "full"]], [[1, -2, 3, "full"]]),
    *([[1, 2, 3, ""]], [[1, 2, 3, None]], [[1, 2, 3, ["full"]]], [[9, 2, 3, "full"]]),
]


@pytest.mark.parametrize("drops", NO_DROPS, ids=repr)
def test_drops_that_are_none_are_ignored_one_by_one(desk: Desk, drops: object) -> None:
    desk.give(stamped("cam1", 1))
    drops = [*drops, [1, 4, 5, "full"]] if isinstance(drops, list) else drops
    desk.intake.health("cam1", health(1, 0, drops=drops, spool_from=[1, 1]), retained=False)
    desk.intake.tick()
    assert desk.count(Verdict.DROPPED) == (2 if isinstance(drops, list) else 0)
    assert desk.count(Verdict.MISSING) == 0


def test_no_more_drops_are_read_than_a_camera_tells(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    drops = [[1, seq, seq, "full"] for seq in range(2, 2 + DROPS_MAX + 9)]
    desk.intake.health("cam1", health(1, 0, drops=drops), retained=False)
    assert desk.count(Verdict.DROPPED) == DROPS_MAX


@pytest.mark.parametrize(
    "spool_from", [None, 3, "1,3", [1], [1, 3, 5], [0, 3], [1, -3], [1, True], [1, 2**32], [[], {}]]
)
def test_a_hold_that_is_none_holds_nothing(desk: Desk, spool_from: object) -> None:
    desk.give(stamped("cam1", 1))
    payload = health(1, 3, spool_from=spool_from, spooled="many")
    desk.intake.health("cam1", payload, retained=False)
    desk.intake.tick()
    assert desk.count(Verdict.MISSING) == 2
    assert desk.intake.view()[0].health.spooled == 0


def test_what_is_held_is_not_missing_not_even_after_a_restart(desk: Desk) -> None:
    desk.intake.health("cam1", health(1, 0, spool_from=[1, 1], spooled=3), retained=False)
    desk.give(stamped("cam1", 5))
    again = desk.again()
    again.intake.tick()
    assert again.count(Verdict.MISSING) == 0
    again.intake.health("cam1", health(1, 5), retained=False)
    again.intake.tick()
    assert again.count(Verdict.MISSING) == 4
    again.ledger.close()


def test_drops_are_told_once_and_with_their_reason(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    report = health(1, 6, drops=[[1, 2, 5, "full"], [1, 6, 6, "a word of next year's"]])
    for _ in range(3):
        desk.intake.health("cam1", report, retained=False)
        desk.intake.tick()
    first, second = (json.loads(each.as_json()) for each in desk.events if each.kind == "dropped")
    assert (first["verdict"], first["reason"]) == ("dropped-by-camera", "full")
    assert (first["boot"], first["seq"], first["to"], first["count"]) == (1, 2, 5, 4)
    assert first["text"] == ("cam1 boot 1 seq 2 to 5 (4): dropped-by-camera, its spool was full")
    assert second["text"] == "cam1 boot 1 seq 6: dropped-by-camera, a word of next year's"
    late = desk.give(stamped("cam1", 3))
    assert late.fields["verdict"] == Verdict.REORDERED
    assert late.fields["reason"] == "late: the camera had called it dropped"
    again = desk.again()
    again.intake.health("cam1", report, retained=False)
    again.intake.tick()
    assert (again.events, again.count(Verdict.DROPPED)) == ([], 4)
    again.ledger.close()


def test_drops_are_told_even_if_nothing_can_be_stored_after_them(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    report = health(1, 3, drops=[[1, 2, 3, "full"]])
    other = sqlite3.connect(desk.folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="locked"):
        desk.intake.health("cam1", report, retained=False)
    assert [each.kind for each in desk.events] == ["snapshot"]
    other.execute("ROLLBACK")
    desk.intake.health("cam1", report, retained=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="locked"):
        desk.give(stamped("cam1", 4))
    other.execute("ROLLBACK")
    other.close()
    desk.intake.tick()
    assert [each.kind for each in desk.events] == ["snapshot", "dropped"]
