"""Did everything arrive? Completeness, losses and latency by camera and period, out of a ledger."""

import math
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from broker.errors import UserError
from host_tools.watch.entries import Gap
from host_tools.watch.records import Records
from host_tools.watch.verdicts import Verdict

By = Literal["all", "hour", "day", "week"]

_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
# A report of hours over years is none.
PERIODS_MAX = 1000
GAPS_MAX = 500
PERCENTILES = (50, 90, 99, 100)
# A clock that is further off than this says nothing about the network.
LATENCY_MAX_MS = 1_000_000


@dataclass(frozen=True)
class Period:
    """What became of a camera's snapshots. Times in ms of Unix time.

    A snapshot belongs to the period in which it arrived, a lost one to that in which the loss
    was noted. latency: by percentile, ms; empty when nothing is known of it.
    """

    camera: str
    begin_ms: int
    end_ms: int
    delivered: int
    reordered: int
    missing: int
    dropped: int
    corrupt: int
    unverifiable: int
    latency: dict[int, int]

    @property
    def arrived(self) -> int:
        return self.delivered + self.reordered

    @property
    def completeness(self) -> float | None:
        """The part that arrived of all that was taken, 0 to 1; None: nothing was taken."""
        taken = self.arrived + self.missing + self.dropped
        return self.arrived / taken if taken else None


@dataclass(frozen=True)
class Report:
    """periods: by camera, then by time; gaps: the last of all, at most GAPS_MAX."""

    begin_ms: int
    end_ms: int
    periods: Sequence[Period]
    gaps: Sequence[Gap]
    gaps_left_out: int
    latencies: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)


def make(
    records: Records, begin_ms: int, end_ms: int, by: By = "all", camera: str | None = None
) -> Report:
    """The report of this time. Raises UserError."""
    names = [each.name for each in records.cameras()]
    if camera is not None:
        if camera not in names:
            known = ", ".join(names) or "none"
            raise UserError(f"the ledger has no camera {camera}; it has {known}", exit_code=2)
        names = [camera]
    edges = _edges(begin_ms, end_ms, by)
    periods, gaps = [], []
    latencies = {}
    for name in names:
        lost = records.gaps(name, begin_ms, end_ms)
        gaps += lost
        periods += list(_periods(records, name, edges, lost))
        latencies[name] = [
            each
            for each in records.latencies(name, begin_ms, end_ms, most=500)
            if abs(each[1]) < LATENCY_MAX_MS
        ]
    gaps.sort(key=lambda gap: gap.noted_ms)
    return Report(
        begin_ms, end_ms, periods, gaps[-GAPS_MAX:], max(0, len(gaps) - GAPS_MAX), latencies
    )


def parse_time(text: str, now: float | None = None) -> int:
    """ms of Unix time from "24h", "7d" (so long ago), "2026-11-24" or "2026-11-24T15:00".

    Local time unless it says otherwise. Raises UserError.
    """
    now = time.time() if now is None else now
    unit = {"m": 60, "h": 3600, "d": 86400, "w": 604800}.get(text[-1:])
    if unit and text[:-1].isdecimal() and len(text) < 8:
        return round((now - int(text[:-1]) * unit) * 1000)
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UserError(
            f"{text!r} is no time; give how long ago (90m, 24h, 7d) or a date "
            "(2026-11-24, 2026-11-24T15:00)",
            exit_code=2,
        ) from None


def _edges(begin_ms: int, end_ms: int, by: By) -> list[int]:
    """Where periods begin, in local time, and the end."""
    if by == "all":
        return [begin_ms, end_ms]
    length = _LENGTHS[by]
    at = datetime.fromtimestamp(begin_ms / 1000)
    at = at.replace(minute=0, second=0, microsecond=0)
    if by != "hour":
        at = at.replace(hour=0)
    if by == "week":
        at -= timedelta(days=at.weekday())
    edges = [begin_ms]
    while (at := at + length).timestamp() * 1000 < end_ms:
        edges.append(round(at.timestamp() * 1000))
        if len(edges) > PERIODS_MAX:
            raise UserError(
                f"more than {PERIODS_MAX} periods of one {by}; "
                "give a later --since or longer periods with --by",
                exit_code=2,
            )
    return [*edges, end_ms]


def _periods(
    records: Records, camera: str, edges: Sequence[int], lost: Sequence[Gap]
) -> Iterator[Period]:
    for begin, end in pairwise(edges):
        counts = records.counts(camera, begin, end)
        gaps = [gap for gap in lost if begin <= gap.noted_ms < end]
        missing = sum(gap.size for gap in gaps if gap.verdict == Verdict.MISSING)
        period = Period(
            camera=camera,
            begin_ms=begin,
            end_ms=end,
            delivered=counts.get(Verdict.DELIVERED, 0),
            reordered=counts.get(Verdict.REORDERED, 0),
            missing=missing,
            dropped=sum(gap.size for gap in gaps) - missing,
            corrupt=counts.get(Verdict.CORRUPT, 0),
            unverifiable=counts.get(Verdict.UNVERIFIABLE, 0),
            latency=_percentiles(records.latency_values(camera, begin, end)),
        )
        taken = period.completeness is not None or period.corrupt or period.unverifiable
        if taken or len(edges) == 2:
            yield period


def _percentiles(values: Sequence[int]) -> dict[int, int]:
    """By nearest rank, of ascending values that are near enough to be one."""
    first = bisect_right(values, -LATENCY_MAX_MS)
    near = values[first : bisect_right(values, LATENCY_MAX_MS)]
    return {each: near[math.ceil(each / 100 * len(near)) - 1] for each in PERCENTILES if near}


def percent(part: float | None) -> str:
    """For people. Only what is complete is 100 %."""
    if part is None:
        return "-"
    return "100 %" if part == 1 else f"{math.floor(part * 10_000) / 100:.2f} %"


def moment(ms: int) -> str:
    """A moment in ISO 8601, UTC, for programs."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
