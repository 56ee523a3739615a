"""What became of each snapshot: one state machine per camera, in bounded memory. Pure.

A snapshot is (camera, boot, seq); every seq from 1 up is handed to the network once.
What a watcher knows of one boot is kept as the range of expected seqs and the gaps in it,
so its size depends on the number of gaps and not on the number of snapshots.
"""

import bisect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

# Kept for each camera. Past them the oldest is settled: what is missing of it stays missing.
BOOTS_MAX = 8
GAPS_MAX = 1000
DAMAGED_MAX = 256


class Verdict(StrEnum):
    """The word for a snapshot in the ledger, in NDJSON and in the table."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    REORDERED = "reordered"
    CORRUPT = "corrupt"
    MISSING = "missing"
    DROPPED = "dropped-by-camera"
    UNVERIFIABLE = "unverifiable"


# The verdicts of a snapshot that is here and proven.
VERIFIED = frozenset({Verdict.DELIVERED, Verdict.REORDERED})


class Judgement(NamedTuple):
    """The verdict of one arrival, and why when it is not simply delivered."""

    verdict: Verdict
    reason: str = ""


class Missing(NamedTuple):
    """Snapshots first to last of a boot, both included, now counted as missing."""

    boot: int
    first: int
    last: int


@dataclass
class _Gap:
    first: int
    last: int
    # When later evidence showed it; None once it is counted as missing.
    since: float | None

    @property
    def size(self) -> int:
        return self.last - self.first + 1


@dataclass
class _Boot:
    base: int  # the lowest seq expected; what was before it is unknown
    top: int  # the highest seq known to have been sent; base - 1: none yet
    high: int = 0  # the highest seq that arrived intact; 0: none yet
    dropped: int = 0  # the camera's own count
    settled: int = 0  # missing in gaps that are no longer kept
    gaps: list[_Gap] = field(default_factory=list)  # ascending

    def expect_from(self, seq: int, now: float) -> None:
        """Lower base to seq: what lies between should have come too."""
        if seq < self.base:
            self.gaps.insert(0, _Gap(seq, self.base - 1, now))
            self.base = seq

    def sent_up_to(self, seq: int, now: float) -> None:
        if seq > self.top:
            self.gaps.append(_Gap(self.top + 1, seq, now))
            self.top = seq

    def gap_of(self, seq: int) -> int | None:
        index = bisect.bisect_right(self.gaps, seq, key=lambda gap: gap.first) - 1
        return index if index >= 0 and seq <= self.gaps[index].last else None

    def arrive(self, seq: int, now: float) -> Judgement:
        self.expect_from(seq, now)
        self.sent_up_to(seq, now)
        index = self.gap_of(seq)
        if index is None:
            return Judgement(Verdict.DUPLICATE, "it was here before")
        gap = self.gaps[index]
        self.gaps[index : index + 1] = [
            part
            for part in (_Gap(gap.first, seq - 1, gap.since), _Gap(seq + 1, gap.last, gap.since))
            if part.size
        ]
        after, self.high = self.high, max(self.high, seq)
        if gap.since is None:
            return Judgement(Verdict.REORDERED, "late: it was counted as missing")
        if seq < after:
            return Judgement(Verdict.REORDERED, f"it came after seq {after}")
        return Judgement(Verdict.DELIVERED)

    def dump(self) -> list[Any]:
        gaps = [(gap.first, gap.last, gap.since is None) for gap in self.gaps]
        return [self.base, self.top, self.high, self.dropped, self.settled, gaps]


class Track:
    """The verdicts of one camera.

    Times are seconds of any clock that does not go back. reorder_s: how long a snapshot may
    be overtaken by later ones before it counts as missing.
    """

    def __init__(self, reorder_s: float) -> None:
        self.reorder_s = reorder_s
        # The newest (boot, seq) that arrived intact; (0, 0): none.
        self.newest = (0, 0)
        self._arrived: dict[str, int] = {}
        self._boots: dict[int, _Boot] = {}
        # The boot during which watching began: later ones are expected from seq 1.
        self._origin = 0
        # The highest boot no longer kept, and what the boots no longer kept add to the counts.
        self._floor = 0
        self._settled = {Verdict.MISSING: 0, Verdict.DROPPED: 0}
        # Identities that arrived damaged, oldest first: here in a sense, so not missing.
        self._damaged: dict[tuple[int, int], None] = {}
        self._news: list[Missing] = []

    def snapshot(self, boot: int, seq: int, now: float) -> Judgement:
        """An intact snapshot has arrived."""
        state = self._open(boot, seq, now)
        if state is None:
            return self.unverifiable(f"boot {boot} is too long ago to tell it from a duplicate")
        judgement = state.arrive(seq, now)
        if judgement.verdict in VERIFIED:
            self._damaged.pop((boot, seq), None)
            self.newest = max(self.newest, (boot, seq))
        self._bound(boot, state)
        return self._count(judgement)

    def corrupt(self, identity: tuple[int, int] | None, reason: str) -> Judgement:
        """A damaged snapshot has arrived.

        identity: (boot, seq) if its stamp could be read. It is no evidence of what was sent,
        for the damage may be in the stamp.
        """
        if identity:
            self._damaged.pop(identity, None)
            self._damaged[identity] = None
            if len(self._damaged) > DAMAGED_MAX:
                self._damaged.pop(next(iter(self._damaged)))
        return self._count(Judgement(Verdict.CORRUPT, reason))

    def unverifiable(self, reason: str) -> Judgement:
        """A payload without proof of what it is has arrived."""
        return self._count(Judgement(Verdict.UNVERIFIABLE, reason))

    def health(self, boot: int, seq: int, dropped: int, now: float) -> None:
        """The camera says: seq is the highest handed to the network, 0 none yet.

        dropped: how many snapshots of this boot that had a seq the camera gave up itself.
        """
        state = self._open(boot, seq + 1, now)
        if state is None:
            return
        # It reached us, so what was sent after it should have.
        state.expect_from(seq + 1, now)
        state.sent_up_to(seq, now)
        state.dropped = max(state.dropped, dropped)
        self._bound(boot, state)

    def tick(self, now: float) -> list[Missing]:
        """Count as missing what has been overtaken for too long; returns what is new."""
        for boot, state in self._boots.items():
            for gap in state.gaps:
                if gap.since is not None and now - gap.since >= self.reorder_s:
                    gap.since = None
                    self._announce(boot, gap)
            state.gaps = _joined(state.gaps)
        news, self._news = self._news, []
        return news

    def counts(self) -> dict[Verdict, int]:
        """How many snapshots have each verdict now."""
        counts = {verdict: self._arrived.get(verdict, 0) for verdict in Verdict}
        missing, dropped = self._settled.values()
        for boot, state in self._boots.items():
            missing += self._missing(boot, state)
            dropped += state.dropped
        return counts | {Verdict.MISSING: missing, Verdict.DROPPED: dropped}

    def dump(self) -> str:
        """Everything but the times of pending gaps, as JSON for `load`."""
        return json.dumps(
            {
                "v": 1,
                "newest": self.newest,
                "arrived": self._arrived,
                "origin": self._origin,
                "floor": self._floor,
                "settled": self._settled,
                "damaged": list(self._damaged),
                "boots": {boot: state.dump() for boot, state in self._boots.items()},
            },
            separators=(",", ":"),
        )

    @classmethod
    def load(cls, text: str, reorder_s: float, now: float) -> "Track":
        """The machine that was dumped; the reorder time of its pending gaps starts again.

        Raises ValueError for a text that dump() did not write.
        """
        try:
            return cls._load(json.loads(text), reorder_s, now)
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a state of verdicts ({error!r})") from error

    @classmethod
    def _load(cls, saved: Mapping[str, Any], reorder_s: float, now: float) -> "Track":
        track = cls(reorder_s)
        track.newest = (saved["newest"][0], saved["newest"][1])
        track._arrived = dict(saved["arrived"])
        track._origin = saved["origin"]
        track._floor = saved["floor"]
        track._settled = {Verdict(name): count for name, count in saved["settled"].items()}
        track._damaged = {(boot, seq): None for boot, seq in saved["damaged"]}
        for boot, (*numbers, gaps) in saved["boots"].items():
            state = track._boots[int(boot)] = _Boot(*numbers)
            state.gaps = [_Gap(first, last, None if old else now) for first, last, old in gaps]
        return track

    def _open(self, boot: int, seq: int, now: float) -> _Boot | None:
        """The state of this boot; seq is the first heard of if it is new. None: too old."""
        if boot in self._boots:
            return self._boots[boot]
        if boot <= self._floor:
            return None
        if not self._origin:
            self._origin = boot
        base = 1 if boot > self._origin else seq
        self._boots[boot] = _Boot(base, base - 1)
        if len(self._boots) > BOOTS_MAX:
            self._settle(min(self._boots))
        return self._boots.get(boot)

    def _settle(self, boot: int) -> None:
        state = self._boots[boot]
        for gap in state.gaps:
            self._declare(boot, gap)
        self._settled[Verdict.MISSING] += self._missing(boot, state)
        self._settled[Verdict.DROPPED] += state.dropped
        self._floor = boot
        del self._boots[boot]

    def _bound(self, boot: int, state: _Boot) -> None:
        while len(state.gaps) > GAPS_MAX:
            gap = state.gaps[0]
            self._declare(boot, gap)
            state.settled += _lost(gap, self._damaged_of(boot))
            del state.gaps[0]

    def _missing(self, boot: int, state: _Boot) -> int:
        damaged = self._damaged_of(boot)
        lost = sum(_lost(gap, damaged) for gap in state.gaps if gap.since is None)
        # What the camera dropped itself left a gap too: it is not missing as well.
        return max(0, state.settled + lost - state.dropped)

    def _damaged_of(self, boot: int) -> list[int]:
        """The seqs of this boot that arrived damaged, ascending."""
        return sorted(seq for at, seq in self._damaged if at == boot)

    def _declare(self, boot: int, gap: _Gap) -> None:
        if gap.since is not None:
            gap.since = None
            self._announce(boot, gap)

    def _announce(self, boot: int, gap: _Gap) -> None:
        first = gap.first
        for seq in self._damaged_of(boot):
            if first <= seq <= gap.last:
                if first < seq:
                    self._news.append(Missing(boot, first, seq - 1))
                first = seq + 1
        if first <= gap.last:
            self._news.append(Missing(boot, first, gap.last))

    def _count(self, judgement: Judgement) -> Judgement:
        self._arrived[judgement.verdict] = self._arrived.get(judgement.verdict, 0) + 1
        return judgement


def _lost(gap: _Gap, damaged: list[int]) -> int:
    """How much of the gap did not even arrive damaged; damaged: seqs, ascending."""
    return gap.size - (
        bisect.bisect_right(damaged, gap.last) - bisect.bisect_left(damaged, gap.first)
    )


def _joined(gaps: list[_Gap]) -> list[_Gap]:
    joined: list[_Gap] = []
    for gap in gaps:
        before = joined[-1] if joined else None
        if before and before.last + 1 == gap.first and before.since is gap.since is None:
            before.last = gap.last
        else:
            joined.append(gap)
    return joined
