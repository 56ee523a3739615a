"""What the page is told: the ledger as JSON objects, and what has changed since a moment."""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from host_tools.watch.entries import Camera, Change, Fault, Snapshot
from host_tools.watch.records import Records
from host_tools.watch.subscriber import View
from host_tools.watch.verdicts import VERIFIED
from host_tools.watch.web.cells import (
    bounded,
    fault_cell,
    gap_cell,
    number,
    place,
    snapshot_cell,
    words,
)

# What a card and a camera's own page show at first, and what one more step back brings.
CARD_STRIP = 60
PAGE_STRIP = 300
TIMELINE = 100
CURVE_S = 24 * 3600
CURVE_POINTS = 400
# Who is further behind than this loads the page's state afresh.
BEHIND_MAX = 5000
# For how long a camera whose id was seen twice is marked.
_SHARED_MS = 3600 * 1000

_NUMBERS = (
    *("heap_free", "heap_min", "rssi", "reconnects", "spooled", "up_s", "clock_age_s"),
    *("leaf_days", "anchor_days"),
)
_WORDS = ("clock", "anchor", "broker", "last_error")
_BIRTH_WORDS = ("board", "firmware", "micropython", "restarted_for", "reset_cause")


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read: the last row of each of the ledger's tables, as "7.2.0"."""

    snapshot: int = 0
    change: int = 0
    fault: int = 0

    def __str__(self) -> str:
        return f"{self.snapshot}.{self.change}.{self.fault}"

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """The cursor that this is the text of, or None."""
        parts = text.split(".")
        if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) < 19 for p in parts):
            return None
        return cls(*map(int, parts))

    def behind(self, newest: "Cursor") -> int | None:
        """How many rows; None when it is of another ledger."""
        steps = (
            newest.snapshot - self.snapshot,
            newest.change - self.change,
            newest.fault - self.fault,
        )
        return None if min(steps) < 0 else sum(steps)


class Feed:
    """One ledger and its watcher, as the page sees them. Raises UserError like Records.

    view: the watcher as it is now, for the state of its connection.
    """

    def __init__(self, records: Records, view: Callable[[], View]) -> None:
        self.records = records
        self._view = view

    def newest(self) -> Cursor:
        """The cursor behind which there is nothing yet."""
        return Cursor(*self.records.last_ids())

    def overview(self) -> dict[str, Any]:
        """Everything that the grid shows, and the cursor from which to follow."""
        cursor = self.newest()  # first: what comes meanwhile is told once more, and not never
        cameras = []
        for camera in self.records.cameras():
            last = camera.newest and snapshot_cell(camera.newest)
            strip = self._strip(camera.name, CARD_STRIP)
            cameras.append({"name": camera.name, "last": last, "strip": strip, **_live(camera)})
        return {
            "at": _now_ms(),
            "cursor": str(cursor),
            "broker": self.broker(),
            "cameras": cameras,
        }

    def broker(self) -> dict[str, Any]:
        """The watcher's connection."""
        view = self._view()
        return {
            "kind": "broker",
            "address": view.address,
            "connected": view.connected,
            "trouble": view.trouble,
        }

    def live(self) -> list[dict[str, Any]]:
        """What changes without a row of its own: each camera's state, counts and health."""
        return [
            {"kind": "camera", "camera": camera.name, **_live(camera)}
            for camera in self.records.cameras()
        ]

    def camera(self, name: str) -> dict[str, Any] | None:
        """What a camera's own page shows beside that; None: there is no such camera."""
        camera = self.records.camera(name)
        if camera is None:
            return None
        since = _now_ms() - CURVE_S * 1000
        latencies = self.records.latencies(name, since, most=CURVE_POINTS)
        return {
            "history": self._strip(name, PAGE_STRIP),
            "timeline": self._timeline(name),
            "series": self.series(name),
            "latencies": {
                "at": [at for at, _ in latencies],
                "latency": [number(latency) for _, latency in latencies],
            },
            "birth": words(camera.birth or {}, _BIRTH_WORDS),
        }

    def series(self, name: str) -> dict[str, list[Any]]:
        """The camera's health over the last day: a list of times, and one for each curve."""
        samples = self.records.samples(name, _now_ms() - CURVE_S * 1000, most=CURVE_POINTS)
        fields = ("heap_free", "rssi", "reconnects", "spooled")
        return {
            "at": [sample.at_ms for sample in samples],
            **{field: [number(getattr(each, field)) for each in samples] for field in fields},
        }

    def history(self, name: str, before: tuple[int, int]) -> list[dict[str, Any]]:
        """The snapshots before this (boot, seq) whose pictures are kept, oldest first."""
        images = self.records.images(name, before, PAGE_STRIP)
        return [snapshot_cell(snapshot) for snapshot in reversed(images)]

    def after(
        self, cursor: Cursor, limit: int = 500
    ) -> Iterator[tuple[Cursor, dict[str, Any] | None]]:
        """What happened after the cursor, in order, each with the cursor behind it.

        None: a row of which there is nothing to tell.
        """
        records = self.records
        rows: Iterable[Snapshot | Change | Fault] = heapq.merge(
            records.after(cursor.snapshot, limit),
            records.changes_after(cursor.change, limit),
            records.faults_after(cursor.fault, limit),
            key=_at,
        )
        for row in rows:
            if isinstance(row, Snapshot):
                cursor = replace(cursor, snapshot=row.id)
                kind, cell = "snapshot", snapshot_cell(row)
            elif isinstance(row, Fault):
                cursor = replace(cursor, fault=row.id)
                kind, cell = "fault", fault_cell(row)
            else:
                cursor = replace(cursor, change=row.id)
                if row.verdict in VERIFIED:  # its snapshot has a row of its own
                    yield cursor, None
                    continue
                kind, cell = "gap", gap_cell(row)
            yield cursor, {"kind": kind, "camera": row.camera, "cell": cell}

    def _strip(self, name: str, limit: int) -> list[dict[str, Any]]:
        """The last snapshots, gaps and faults, in the order of (boot, seq).

        A fault of which no seq is known lies behind what had come before it.
        """
        entries = self.records.strip(name, limit)
        cells = [
            snapshot_cell(each) if isinstance(each, Snapshot) else gap_cell(each)
            for each in entries
        ]
        since = cells[0]["at"] if cells else 0
        for fault in reversed(self.records.faults(name, limit)):
            if fault.received_ms >= since:
                cell = fault_cell(fault)
                cells.insert(place(cells, cell), cell)
        return cells[-limit:]

    def _timeline(self, name: str) -> list[dict[str, Any]]:
        """What was out of the ordinary, oldest first."""
        entries: list[dict[str, Any]] = []
        for change in self.records.history(name, TIMELINE):
            cell = gap_cell(change)
            which = f"#{change.first}"
            if change.last > change.first:
                which += f" to #{change.last}"
            text = f"{which} {change.verdict.replace('-', ' ')}"
            text += f", was {change.was}" if change.was else ""
            text += f": {cell['reason']}" if cell["reason"] else ""
            entries.append({"at": change.at_ms, "is": change.verdict, "text": text})
        for fault in self.records.faults(name, TIMELINE):
            text = f"{fault.verdict}: {bounded(fault.reason)}"
            entries.append({"at": fault.received_ms, "is": fault.verdict, "text": text})
        return sorted(entries, key=lambda entry: entry["at"])[-TIMELINE:]


def _live(camera: Camera) -> dict[str, Any]:
    health = camera.health or {}
    chain = health.get("chain_days")
    days = [number(each) for each in chain] if isinstance(chain, list) else []
    states = {None: None, True: "online", False: "offline"}
    return {
        "state": states[camera.online],
        "counts": {str(verdict): count for verdict, count in camera.counts.items() if count},
        "shared": camera.shared_ms is not None and _now_ms() - camera.shared_ms < _SHARED_MS,
        "health": {
            **{name: number(health.get(name)) for name in _NUMBERS},
            **words(health, _WORDS),
            "chain_days": min((each for each in days if each is not None), default=None),
        },
    }


def _at(row: Snapshot | Change | Fault) -> int:
    return row.at_ms if isinstance(row, Change) else row.received_ms


def _now_ms() -> int:
    return round(time.time() * 1000)
