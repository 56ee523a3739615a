"""The verdict machine: by example, and against a plain model for any interleaving."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.watch.track import BOOTS_MAX, DAMAGED_MAX, GAPS_MAX, Track
from host_tools.watch.verdicts import Dropped, Missing, Verdict

REORDER_S = 10.0


def verdict(track: Track, seq: int, now: float = 0, boot: int = 1) -> Verdict:
    return track.snapshot(boot, seq, now).verdict


def count(track: Track, wanted: Verdict) -> int:
    return track.counts()[wanted]


@pytest.fixture
def track() -> Track:
    return Track(REORDER_S)


def test_in_order(track: Track) -> None:
    assert [verdict(track, seq) for seq in (1, 2, 3)] == [Verdict.DELIVERED] * 3
    assert track.tick(1e9) == []
    assert track.newest == (1, 3)


def test_duplicate(track: Track) -> None:
    assert [verdict(track, seq) for seq in (1, 2, 1)][-1] == Verdict.DUPLICATE
    assert count(track, Verdict.DELIVERED) == 2


def test_reordered_within_the_time_is_never_missing(track: Track) -> None:
    assert [verdict(track, seq) for seq in (1, 3, 2)][-1] == Verdict.REORDERED
    assert track.tick(1e9) == []


def test_missing_needs_the_time(track: Track) -> None:
    for seq in (1, 4):
        verdict(track, seq, now=100)
    assert track.tick(109.9) == []
    assert track.tick(110) == [Missing(1, 2, 3)]
    assert track.tick(200) == []
    assert count(track, Verdict.MISSING) == 2


def test_missing_needs_later_evidence(track: Track) -> None:
    verdict(track, 1)
    assert track.tick(1e9) == []


def test_a_late_arrival_is_reordered_and_missing_no_more(track: Track) -> None:
    for seq in (1, 3):
        verdict(track, seq)
    track.tick(REORDER_S)
    assert verdict(track, 2, now=50) == Verdict.REORDERED
    assert count(track, Verdict.MISSING) == 0


def test_the_high_water_mark_reveals_a_lost_tail(track: Track) -> None:
    verdict(track, 1)
    track.health(1, 3, now=0)
    assert track.tick(REORDER_S) == [Missing(1, 2, 3)]
    assert verdict(track, 3, now=20) == Verdict.REORDERED
    assert count(track, Verdict.MISSING) == 1


def test_a_new_boot_is_no_evidence_about_the_old_one(track: Track) -> None:
    verdict(track, 5, boot=1)
    verdict(track, 1, boot=2)
    assert track.tick(1e9) == []


def test_a_later_boot_is_expected_from_its_first(track: Track) -> None:
    verdict(track, 5, boot=1)
    verdict(track, 3, boot=2)
    assert track.tick(REORDER_S) == [Missing(2, 1, 2)]


@pytest.mark.parametrize("by_health", [False, True])
def test_what_was_before_the_watcher_is_unknown(track: Track, by_health: bool) -> None:
    if by_health:
        track.health(7, 99, now=0)
    verdict(track, 100, boot=7)
    assert track.tick(1e9) == []


def test_damage_does_not_count_as_delivered_nor_as_missing(track: Track) -> None:
    verdict(track, 1)
    track.corrupt((1, 2), "broken")
    verdict(track, 4)
    assert track.tick(REORDER_S) == [Missing(1, 3, 3)]
    assert (count(track, Verdict.CORRUPT), count(track, Verdict.MISSING)) == (1, 1)
    assert verdict(track, 2, now=20) == Verdict.REORDERED


def test_a_damaged_stamp_is_no_evidence_of_what_was_sent(track: Track) -> None:
    verdict(track, 1)
    track.corrupt((1, 4_000_000_000), "broken")
    track.corrupt((77, 1), "broken")
    assert verdict(track, 2) == Verdict.DELIVERED
    assert track.tick(1e9) == []


def test_what_the_camera_dropped_is_not_missing(track: Track) -> None:
    verdict(track, 1)
    verdict(track, 5)
    for _ in range(2):
        track.health(1, 5, now=0, drops=[Dropped(1, 2, 3, "full")])
    assert track.tick(REORDER_S) == [Dropped(1, 2, 3, "full"), Missing(1, 4, 4)]
    track.health(1, 5, now=20, drops=[Dropped(1, 2, 4, "full")])
    assert track.tick(1e9) == [Dropped(1, 4, 4, "full")]
    assert (count(track, Verdict.MISSING), count(track, Verdict.DROPPED)) == (0, 3)


def test_what_was_called_dropped_and_comes_all_the_same(track: Track) -> None:
    verdict(track, 1)
    track.health(1, 5, now=0, drops=[Dropped(1, 1, 5, "full")])
    assert count(track, Verdict.DROPPED) == 4
    assert verdict(track, 3) == Verdict.REORDERED
    assert verdict(track, 3) == Verdict.DUPLICATE
    assert count(track, Verdict.DROPPED) == 3


def test_drops_before_the_first_snapshot_that_arrives(track: Track) -> None:
    track.health(1, 9, now=0, drops=[Dropped(1, 1, 9, "full")])
    assert verdict(track, 10) == Verdict.DELIVERED
    assert track.tick(1e9) == [Dropped(1, 1, 9, "full")]


def test_drops_of_before_the_watcher_are_not_its_business(track: Track) -> None:
    track.health(5, 99, now=0, drops=[Dropped(5, 10, 20, "full"), Dropped(4, 1, 9, "full")])
    assert verdict(track, 100, boot=5) == Verdict.DELIVERED
    assert track.tick(1e9) == []
    assert count(track, Verdict.DROPPED) == 0


def test_what_the_camera_still_holds_is_not_missing(track: Track) -> None:
    track.health(1, 0, now=0, held=(1, 3))
    for seq in (1, 9):
        verdict(track, seq)
    verdict(track, 4, boot=2)
    assert track.tick(1e6) == [Missing(1, 2, 2)]
    track = Track.load(track.dump(), REORDER_S, 1e6)
    assert track.tick(2e6) == []
    # It says that nothing is held any more: the time begins.
    track.health(1, 9, now=2e6, held=None)
    assert track.tick(2e6 + REORDER_S - 1) == []
    assert track.tick(2e6 + REORDER_S) == [Missing(1, 3, 8), Missing(2, 1, 3)]


def test_memory_is_bounded(track: Track) -> None:
    boot_count, gap_count = BOOTS_MAX + 3, GAPS_MAX + 50
    for boot in range(1, boot_count + 1):
        for index in range(gap_count):
            verdict(track, 2 + 2 * index, boot=boot)
    for seq in range(1, 3 * DAMAGED_MAX):
        track.corrupt((boot_count, seq), "broken")
    assert len(track.dump()) < 300_000
    # Every odd seq is missing, except what is unknown (the first) and what came damaged.
    news = track.tick(1e9)
    assert sum(each.last - each.first + 1 for each in news) >= boot_count * gap_count - 1000
    assert verdict(track, 1, boot=1) == Verdict.UNVERIFIABLE


def test_extreme_numbers_cost_nothing(track: Track) -> None:
    verdict(track, 1)
    verdict(track, 0xFFFFFFFF)
    track.health(0xFFFFFFFF, 0xFFFFFFFF, now=0, drops=[Dropped(0xFFFFFFFF, 1, 0xFFFFFFFF, "full")])
    track.tick(REORDER_S)
    assert verdict(track, 0x7FFFFFFF, now=20) == Verdict.REORDERED
    assert count(track, Verdict.MISSING) == 0xFFFFFFFF - 3
    assert len(track.dump()) < 1000


# An event: ("snapshot" | "corrupt" | "health", boot, seq, dropped).
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["snapshot", "snapshot", "snapshot", "corrupt", "health"]),
        st.integers(1, 3),
        st.integers(1, 12),
        st.integers(0, 3),
    ),
    max_size=40,
)


@dataclass
class Model:
    """What the counts must be in the end: sets, no order, no time."""

    arrived: set[tuple[int, int]] = field(default_factory=set)
    damaged: set[tuple[int, int]] = field(default_factory=set)
    arrivals: int = 0
    damages: int = 0
    sent: dict[int, int] = field(default_factory=dict)
    dropped: set[tuple[int, int]] = field(default_factory=set)

    def feed(self, event: tuple[str, int, int, int]) -> None:
        kind, boot, seq, dropped = event
        if kind == "corrupt":
            self.damages += 1
            self.damaged.add((boot, seq))
            return
        self.sent[boot] = max(self.sent.get(boot, 0), seq)
        if kind == "snapshot":
            self.arrivals += 1
            self.arrived.add((boot, seq))
        else:
            self.dropped |= {(boot, each) for each in range(seq - dropped + 1, seq + 1) if each > 0}

    def counts(self) -> tuple[int, ...]:
        missing = 0
        for boot, top in self.sent.items():
            here = self.arrived | self.damaged | self.dropped
            missing += sum(1 for seq in range(1, top + 1) if (boot, seq) not in here)
        duplicates = self.arrivals - len(self.arrived)
        dropped = len(self.dropped - self.arrived)
        return len(self.arrived), duplicates, self.damages, missing, dropped


def health(track: Track, event: tuple[str, int, int, int], now: float, **held: Any) -> None:
    _, boot, seq, dropped = event
    drops = [Dropped(boot, max(seq - dropped + 1, 1), seq, "full")] if dropped else []
    track.health(boot, seq, now, drops=drops, **held)


@given(events=EVENTS, data=st.data())
def test_any_interleaving_ends_in_the_same_counts(
    events: list[tuple[str, int, int, int]], data: st.DataObject
) -> None:
    # Watching begins with the first snapshot of the first boot, so that nothing is unknown.
    events = [("snapshot", 1, 1, 0), *events]
    order = [events[0], *data.draw(st.permutations(events[1:]))]
    track, model, now = Track(REORDER_S), Model(), 0.0
    for kind, boot, seq, dropped in order:
        now += data.draw(st.sampled_from([0.0, 1.0, 6.0, 30.0]))
        match kind:
            case "snapshot":
                track.snapshot(boot, seq, now)
            case "corrupt":
                track.corrupt((boot, seq), "broken")
            case "health":
                held = data.draw(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 12)))
                health(track, (kind, boot, seq, dropped), now, held=held)
        model.feed((kind, boot, seq, dropped))
        if data.draw(st.booleans()):
            track.tick(now)
        if data.draw(st.booleans()):
            track = Track.load(track.dump(), REORDER_S, now)
    track.tick(now)
    track.health(1, 0, now)  # nothing is held any more
    track.tick(now + 1000)
    counts = track.counts()
    assert (
        counts[Verdict.DELIVERED] + counts[Verdict.REORDERED],
        counts[Verdict.DUPLICATE],
        counts[Verdict.CORRUPT],
        counts[Verdict.MISSING],
        counts[Verdict.DROPPED],
    ) == model.counts()


@given(events=EVENTS)
def test_dump_and_load_keep_everything(events: list[tuple[str, int, int, int]]) -> None:
    track = Track(REORDER_S)
    for kind, boot, seq, dropped in events:
        if kind == "health":
            health(track, (kind, boot, seq, dropped), 0)
        else:
            track.snapshot(boot, seq, 0)
    again = Track.load(track.dump(), REORDER_S, 0)
    assert (again.dump(), again.counts(), again.newest) == (
        track.dump(),
        track.counts(),
        track.newest,
    )


@given(st.permutations([1, 2, 3, 4, 5, 5, 5]))
def test_a_fresh_start_in_mid_boot_ends_the_same(order: list[int]) -> None:
    track = Track(REORDER_S)
    for seq in order:
        track.snapshot(9, seq + 100, 0)
    track.tick(1e9)
    assert count(track, Verdict.DELIVERED) + count(track, Verdict.REORDERED) == 5
    assert count(track, Verdict.DUPLICATE) == 2
    assert count(track, Verdict.MISSING) == 0
