"""What is known of one boot of a camera: the seqs expected, and the gaps in them. Pure."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any


class Fate(IntEnum):
    """What is known of a gap."""

    PENDING = 0  # later evidence showed it; it may still come
    MISSING = 1
    DROPPED = 2  # the camera gave it up itself


@dataclass
class Gap:
    """Snapshots first to last, both included, that have not come."""

    first: int
    last: int
    since: float  # when it began to wait; infinite: the camera holds it
    fate: Fate = Fate.PENDING

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def part(self, first: int, last: int) -> "Gap":
        """What of it lies within first to last; its size may be 0 or less."""
        return Gap(max(first, self.first), min(last, self.last), self.since, self.fate)

    def is_continued_by(self, after: "Gap") -> bool:
        """Whether the two can be one; since when is of no matter but to a pending one."""
        same_since = self.fate is not Fate.PENDING or self.since == after.since
        return self.last + 1 == after.first and self.fate is after.fate and same_since


@dataclass
class Boot:
    """base: the lowest seq expected, what was before it is unknown; top: the highest known to
    have been sent, base - 1: none yet; high: the highest that arrived intact, 0: none yet;
    settled_missing, settled_dropped: of gaps that are no longer kept; gaps: ascending.
    """

    base: int
    top: int
    high: int = 0
    settled_missing: int = 0
    settled_dropped: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def expect_from(self, seq: int, now: float) -> None:
        """Lower base to seq: what lies between should have come too."""
        if seq < self.base:
            self.gaps.insert(0, Gap(seq, self.base - 1, now))
            self.base = seq

    def sent_up_to(self, seq: int, now: float) -> None:
        """Everything up to seq was taken."""
        if seq > self.top:
            self.gaps.append(Gap(self.top + 1, seq, now))
            self.top = seq

    def arrive(self, seq: int) -> Gap | None:
        """Close the gap at seq and return what it was; None: there was none."""
        index = self._gap_at(seq)
        if index is None:
            return None
        gap = self.gaps[index]
        self._replace(index, gap.part(gap.first, seq - 1), gap.part(seq + 1, gap.last))
        self.high = max(self.high, seq)
        return gap

    def has(self, seq: int) -> bool:
        """Whether it is neither in a gap nor beyond what is known."""
        return self.base <= seq <= self.top and self._gap_at(seq) is None

    def is_missing(self, seq: int) -> bool:
        """Whether it is in a gap that counts as missing."""
        index = self._gap_at(seq)
        return index is not None and self.gaps[index].fate is Fate.MISSING

    def drop(self, first: int, last: int, now: float) -> list[Gap]:
        """The camera says that it gave these up; returns what of it is news.

        What is before base and does not touch it was before anybody looked.
        """
        if last < self.base - 1:
            return []
        self.expect_from(first, now)
        self.sent_up_to(last, now)
        news = []
        for index in reversed(range(len(self.gaps))):
            gap = self.gaps[index]
            within = gap.part(first, last)
            if within.size > 0 and gap.fate is not Fate.DROPPED:
                within.fate = Fate.DROPPED
                news.append(within)
                before = gap.part(gap.first, first - 1)
                self._replace(index, before, within, gap.part(last + 1, gap.last))
        self._join()
        return news[::-1]

    def wait_again(self, first: int, since: float) -> None:
        """What is pending from first on waits since then and no longer."""
        for index in reversed(range(len(self.gaps))):
            gap = self.gaps[index]
            if gap.fate is Fate.PENDING and gap.last >= first:
                held = replace(gap.part(first, gap.last), since=since)
                self._replace(index, gap.part(gap.first, first - 1), held)
        self._join()

    def overdue(self, now: float, wait_s: float) -> list[Gap]:
        """Call missing what has been pending for wait_s; returns what is new."""
        news = []
        for gap in self.gaps:
            if gap.fate is Fate.PENDING and now - gap.since >= wait_s:
                gap.fate = Fate.MISSING
                news.append(gap)
        self._join()
        return news

    def settle_one(self, damaged: Sequence[int]) -> Gap:
        """Keep a gap no longer but in the counts; damaged: see missing().

        The first whose fate is known, if there is one: a pending one may still close.
        """
        known = (at for at, gap in enumerate(self.gaps) if gap.fate is not Fate.PENDING)
        gap = self.gaps.pop(next(known, 0))
        if gap.fate is Fate.DROPPED:
            self.settled_dropped += gap.size
        else:
            self.settled_missing += _lost(gap, damaged)
        return gap

    def missing(self, damaged: Sequence[int]) -> int:
        """How many are missing; damaged: the seqs that arrived damaged, ascending."""
        lost = sum(_lost(gap, damaged) for gap in self.gaps if gap.fate is Fate.MISSING)
        return self.settled_missing + lost

    def dropped(self) -> int:
        """How many the camera gave up."""
        sizes = (gap.size for gap in self.gaps if gap.fate is Fate.DROPPED)
        return self.settled_dropped + sum(sizes)

    def dump(self) -> list[Any]:
        """Everything but since when gaps are pending, for load()."""
        gaps = [(gap.first, gap.last, int(gap.fate)) for gap in self.gaps]
        return [self.base, self.top, self.high, self.settled_missing, self.settled_dropped, gaps]

    @classmethod
    def load(cls, saved: list[Any], now: float) -> "Boot":
        """What was dumped; pending gaps begin to wait again."""
        *numbers, gaps = saved
        boot = cls(*numbers)
        boot.gaps = [Gap(first, last, now, Fate(fate)) for first, last, fate in gaps]
        return boot

    def _gap_at(self, seq: int) -> int | None:
        index = bisect.bisect_right(self.gaps, seq, key=lambda gap: gap.first) - 1
        return None if index < 0 or seq > self.gaps[index].last else index

    def _replace(self, index: int, *parts: Gap) -> None:
        self.gaps[index : index + 1] = [part for part in parts if part.size > 0]

    def _join(self) -> None:
        joined: list[Gap] = []
        for gap in self.gaps:
            if joined and joined[-1].is_continued_by(gap):
                # A new one: the old may be about to be told as news.
                joined[-1] = replace(joined[-1], last=gap.last)
            else:
                joined.append(gap)
        self.gaps = joined


def _lost(gap: Gap, damaged: Sequence[int]) -> int:
    """How much of the gap did not even arrive damaged."""
    return gap.size - (
        bisect.bisect_right(damaged, gap.last) - bisect.bisect_left(damaged, gap.first)
    )
