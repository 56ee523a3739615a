"""What the camera says of its spool: what it holds, and what it gave up, against a naive model."""

import random
from dataclasses import dataclass, field

import pytest

from host_tools.watch.track import BOOTS_MAX, GAPS_MAX, Track
from host_tools.watch.verdicts import Dropped, Missing, Verdict

REORDER_S = 10.0


@pytest.fixture
def track() -> Track:
    track = Track(REORDER_S)
    track.snapshot(1, 1, 0)
    return track


def test_the_time_begins_when_health_says_that_it_is_held_no_more(track: Track) -> None:
    # Nobody looked in between: the watcher's disk was full.
    track.health(1, 1, 0, held=(1, 2))
    track.snapshot(1, 9, 0)
    track.health(1, 9, 100)
    assert track.tick(100 + REORDER_S - 1) == []
    assert track.tick(100 + REORDER_S) == [Missing(1, 2, 8)]


def test_what_is_let_go_bit_by_bit_has_its_own_time(track: Track) -> None:
    track.health(1, 1, 0, held=(1, 2))
    track.snapshot(1, 9, 0)
    track.health(1, 4, 100, held=(1, 5))
    assert track.tick(100 + REORDER_S) == [Missing(1, 2, 4)]
    assert track.tick(1e6) == []


def test_a_dropped_snapshot_may_have_been_called_missing(track: Track) -> None:
    track.health(1, 5, 0)
    assert track.tick(REORDER_S) == [Missing(1, 2, 5)]
    track.health(1, 5, 20, drops=[Dropped(1, 3, 4, "damaged")])
    assert track.tick(20) == [Dropped(1, 3, 4, "damaged")]
    counts = track.counts()
    assert (counts[Verdict.MISSING], counts[Verdict.DROPPED]) == (2, 2)


def test_drops_are_told_in_order(track: Track) -> None:
    drops = [Dropped(1, 8, 9, "full"), Dropped(1, 4, 4, "damaged"), Dropped(1, 2, 3, "full")]
    track.snapshot(1, 6, 0)
    track.health(1, 9, 0, drops=[*drops, Dropped(1, 2, 9, "refused")])
    told = track.tick(0)
    assert told == sorted(told)
    assert sum(each.last - each.first + 1 for each in told) == 7


def test_drops_of_a_boot_that_is_yet_to_come_are_nonsense(track: Track) -> None:
    far = [Dropped(1000 + boot, 1, 5, "full") for boot in range(BOOTS_MAX + 1)]
    track.health(1, 1, 0, drops=far)
    assert track.tick(1e9) == []
    assert track.snapshot(1, 2, 0).verdict is Verdict.DELIVERED


def test_what_is_held_is_the_last_to_be_settled(track: Track) -> None:
    track.health(1, 1, 0, held=(1, 2))
    track.snapshot(1, 100, 0)
    first = 101
    drops = [Dropped(1, first + 2 * n, first + 2 * n, "full") for n in range(GAPS_MAX + 50)]
    for drop in drops:
        track.snapshot(1, drop.first + 1, 0)
        track.health(1, 1, 0, held=(1, 2), drops=[drop])
    assert [each for each in track.tick(1e6) if isinstance(each, Missing)] == []
    assert track.counts()[Verdict.DROPPED] == len(drops)
    assert track.snapshot(1, 50, 1e6).verdict is Verdict.REORDERED


@pytest.mark.parametrize("step", [-1, 1])
def test_a_hold_that_moves_for_ever_costs_nothing(track: Track, step: int) -> None:
    track.snapshot(1, 1_000_000, 0)
    for number in range(3 * GAPS_MAX):
        track.health(2, 0, number / 1000, held=(1, 500_000 + step * number))
        track.tick(number / 1000)
    assert len(track.dump()) < 20_000


@dataclass
class Naive:
    """Every snapshot by itself: absent has (fate, since) of each that was sent and has not come."""

    reorder_s: float
    absent: dict[tuple[int, int], tuple[Verdict | None, float]] = field(default_factory=dict)
    top: dict[int, int] = field(default_factory=dict)
    high: dict[int, int] = field(default_factory=dict)
    held: tuple[int, int] | None = None
    arrived: dict[Verdict, int] = field(default_factory=dict)
    news: set[tuple[Verdict, int, int]] = field(default_factory=set)

    def arrive(self, boot: int, seq: int, now: float) -> Verdict:
        self.sent(boot, seq, now)
        fate = self.absent.pop((boot, seq), (Verdict.DUPLICATE, 0))[0]
        if fate is Verdict.DUPLICATE:
            verdict = fate
        else:
            in_order = fate is None and seq > self.high.get(boot, 0)
            verdict = Verdict.DELIVERED if in_order else Verdict.REORDERED
            self.high[boot] = max(self.high.get(boot, 0), seq)
        self.arrived[verdict] = self.arrived.get(verdict, 0) + 1
        return verdict

    def sent(self, boot: int, top: int, now: float) -> None:
        for seq in range(self.top.get(boot, 0) + 1, top + 1):
            self.absent[boot, seq] = (None, now)
        self.top[boot] = max(self.top.get(boot, 0), top)

    def health(
        self, boot: int, seq: int, now: float, held: tuple[int, int] | None, drops: list[Dropped]
    ) -> None:
        self.wait_again(now)
        self.held = held
        self.sent(boot, seq, now)
        for drop in drops:
            if drop.boot > boot:
                continue
            self.sent(drop.boot, drop.last, now)
            for each in range(drop.first, drop.last + 1):
                if self.absent.get((drop.boot, each), (Verdict.DROPPED, 0))[0] != Verdict.DROPPED:
                    self.absent[drop.boot, each] = (Verdict.DROPPED, now)
                    self.news.add((Verdict.DROPPED, drop.boot, each))

    def wait_again(self, now: float) -> None:
        for identity, (fate, _) in self.absent.items():
            if fate is None and self.is_held(identity):
                self.absent[identity] = (None, now)

    def is_held(self, identity: tuple[int, int]) -> bool:
        return self.held is not None and identity >= self.held

    def tick(self, now: float) -> set[tuple[Verdict, int, int]]:
        for identity, (fate, since) in self.absent.items():
            if self.is_held(identity):
                continue
            if fate is None and now - since >= self.reorder_s:
                self.absent[identity] = (Verdict.MISSING, since)
                self.news.add((Verdict.MISSING, *identity))
        news, self.news = self.news, set()
        return news

    def reload(self, now: float) -> None:
        for identity, (fate, _) in self.absent.items():
            if fate is None:
                self.absent[identity] = (None, now)

    def counts(self) -> dict[Verdict, int]:
        counts = dict.fromkeys(Verdict, 0) | self.arrived
        for fate, _ in self.absent.values():
            if fate is not None:
                counts[fate] += 1
        return counts


def told(track: Track, now: float) -> list[tuple[Verdict, int, int]]:
    """Each snapshot in the news; one that is told twice is there twice."""
    return [
        (Verdict.MISSING if isinstance(each, Missing) else Verdict.DROPPED, each.boot, seq)
        for each in track.tick(now)
        for seq in range(each.first, each.last + 1)
    ]


@pytest.mark.parametrize("reorder_s", [0.0, REORDER_S])
@pytest.mark.parametrize("seed", range(40))
def test_each_verdict_each_event_and_each_count_is_the_naive_models(
    seed: int, reorder_s: float
) -> None:
    chance = random.Random(seed)
    # Watching begins with the first snapshot of the first boot, so that nothing is unknown.
    track, model, now = Track(reorder_s), Naive(reorder_s), 0.0
    track.snapshot(1, 1, now)
    model.arrive(1, 1, now)
    known: list[Dropped] = []

    def identity() -> tuple[int, int]:
        return chance.randint(1, 3), chance.randint(1, 30)

    for _ in range(150):
        now += chance.choice([0.0, 0.5, 3.0, 11.0])
        boot, seq = identity()
        match chance.choice(["snapshot"] * 4 + ["health"] * 3 + ["reload"]):
            case "snapshot":
                assert track.snapshot(boot, seq, now).verdict == model.arrive(boot, seq, now)
            case "health":
                held = chance.choice([None, identity(), identity()])
                at, first = identity()
                last = first + chance.randint(0, 4)
                known.append(Dropped(at, first, last, chance.choice(["full", "damaged"])))
                drops = chance.sample(known, min(len(known), 3))
                track.health(boot, seq // 3, now, held=held, drops=drops)
                model.health(boot, seq // 3, now, held, drops)
            case "reload":
                # An intake has told everything before it dumps for the last time.
                assert sorted(told(track, now)) == sorted(model.tick(now))
                track = Track.load(track.dump(), reorder_s, now)
                model.reload(now)
        assert track.counts() == model.counts()
        if chance.random() < 0.6:
            assert sorted(told(track, now)) == sorted(model.tick(now))
            assert track.counts() == model.counts()
