"""Whatever the order of what happens, the ledger ends with the same rows, gaps and verdicts."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.watch.records import Records
from host_tools.watch.verdicts import Verdict
from tests.watch.cameras import flipped, health, stamped
from tests.watch.desk import Desk

BOOTS, SEQS = 2, 7
# ("snapshot" | "corrupt", boot, seq), ("health", boot, seq, drops), ("restart",), ("again",)
SNAPSHOT = st.tuples(
    st.sampled_from(["snapshot", "snapshot", "snapshot", "corrupt"]),
    st.integers(1, BOOTS),
    st.integers(1, SEQS),
)
HEALTH = st.tuples(
    st.just("health"), st.integers(1, BOOTS), st.integers(0, SEQS), st.integers(0, 3)
)
EVENTS = st.lists(
    SNAPSHOT | HEALTH | st.sampled_from([("restart",), ("again",), ("tick",)]), max_size=25
)


def drops(boot: int, seq: int, count: int) -> list[list[object]]:
    return [[boot, max(seq - count + 1, 1), seq, "full"]] if seq and count else []


@settings(max_examples=40, deadline=None)
@given(events=EVENTS)
def test_rows_and_gaps_are_those_of_a_plain_model(events: Sequence[tuple[object, ...]]) -> None:
    arrived: set[tuple[int, int]] = set()
    damaged: set[tuple[int, int]] = set()
    dropped: set[tuple[int, int]] = set()
    top: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        # Watching begins with the first snapshot of the first boot, so that nothing is unknown.
        given_so_far: list[tuple[object, ...]] = []
        for event in [("snapshot", 1, 1), *events]:
            match event:
                case ("restart",):
                    desk = desk.again()
                case ("again",):
                    # A broker that brings everything once more.
                    for each in given_so_far:
                        give(desk, each)
                case ("tick",):
                    desk.intake.tick()
                case (kind, int(boot), int(seq), *rest):
                    give(desk, event)
                    given_so_far.append(event)
                    if kind == "corrupt":
                        damaged.add((boot, seq))
                        continue
                    top[boot] = max(top.get(boot, 0), seq)
                    if kind == "snapshot":
                        arrived.add((boot, seq))
                    for _, first, last, _ in drops(boot, seq, *rest) if rest else ():
                        dropped |= {(boot, at) for at in range(int(str(first)), int(str(last)) + 1)}
        desk.intake.tick()
        desk.close()
        with Records(desk.url) as records:
            rows = [(row.boot, row.seq) for row in records.after(0)]
            gaps = records.gaps()
            (camera,) = records.cameras()
            images = [(desk.folder / str(row.image)).read_bytes() for row in records.after(0)]
    sent = {(boot, seq) for boot, last in top.items() for seq in range(1, last + 1)}
    lost = {
        verdict: {
            (gap.boot, seq)
            for gap in gaps
            if gap.verdict == verdict
            for seq in range(gap.first, gap.last + 1)
        }
        for verdict in (Verdict.MISSING, Verdict.DROPPED)
    }
    assert sorted(rows) == sorted(arrived)
    assert lost[Verdict.DROPPED] == dropped - arrived
    assert lost[Verdict.MISSING] == sent - arrived - damaged - dropped
    assert camera.counts[Verdict.MISSING] == len(lost[Verdict.MISSING])
    assert camera.counts[Verdict.DROPPED] == len(lost[Verdict.DROPPED])
    assert images == [stamped("cam1", seq, boot=boot, ts=1) for boot, seq in rows]


def give(desk: Desk, event: tuple[object, ...]) -> None:
    match event:
        case ("snapshot", int(boot), int(seq)):
            desk.give(stamped("cam1", seq, boot=boot, ts=1))
        case ("corrupt", int(boot), int(seq)):
            desk.give(flipped(stamped("cam1", seq, boot=boot, ts=1)))
        case ("health", int(boot), int(seq), int(count)):
            payload = health(boot, seq, drops=drops(boot, seq, count))
            desk.intake.health("cam1", payload, retained=False)
