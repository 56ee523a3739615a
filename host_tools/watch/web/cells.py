"""One row of the ledger as a cell of the page's strips: JSON, bounded. Pure.

What a camera has sent is let through field by field, and only as a number or a short text.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from host_tools.watch.entries import UNKNOWN, Change, Fault, Gap, Snapshot
from host_tools.watch.events import WHY_DROPPED
from host_tools.watch.evidence import printable

# The largest integer that JavaScript holds exactly.
_NUMBER_MAX = 2**53 - 1
_TEXT_MAX = 200


def image_url(snapshot: Snapshot) -> str | None:
    """Where the page finds the picture: the same address for ever means the same bytes."""
    if snapshot.image is None:
        return None
    digest = snapshot.digest.hex()[:16]
    return f"/images/{snapshot.camera}/{snapshot.boot}/{snapshot.seq}/{digest}.jpg"


def snapshot_cell(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot that is here."""
    return {
        "boot": snapshot.boot,
        "seq": snapshot.seq,
        "is": snapshot.verdict,
        "at": snapshot.received_ms,
        "size": snapshot.size,
        "latency": number(snapshot.latency_ms),
        "image": image_url(snapshot),
    }


def gap_cell(gap: Gap | Change) -> dict[str, Any]:
    """Snapshots "seq" to "to" that are not."""
    reason = WHY_DROPPED.get(gap.reason, bounded(gap.reason)) if gap.reason else None
    place = gap.place if isinstance(gap, Gap) and gap.place != UNKNOWN else None
    return {
        "boot": gap.boot,
        "seq": gap.first,
        "to": gap.last,
        "is": gap.verdict,
        "at": gap.noted_ms if isinstance(gap, Gap) else gap.at_ms,
        "reason": ", ".join(filter(None, (reason, place))) or None,
    }


def fault_cell(fault: Fault) -> dict[str, Any]:
    """A payload that is no snapshot; "boot" and "seq" may be None."""
    return {
        "boot": fault.boot,
        "seq": fault.seq,
        "is": fault.verdict,
        "at": fault.received_ms,
        "size": fault.size,
        "reason": bounded(fault.reason),
    }


def place(cells: list[dict[str, Any]], fault: dict[str, Any]) -> int:
    """Where among the cells the fault belongs."""
    for at, cell in enumerate(cells):
        if fault["seq"] is None:
            if cell["at"] > fault["at"]:
                return at
        elif (cell["boot"] or 0, cell["seq"] or 0) > (fault["boot"], fault["seq"]):
            return at
    return len(cells)


def words(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, str | None]:
    """Those of the fields that are texts."""
    values = {name: fields.get(name) for name in names}
    return {name: bounded(v) if isinstance(v, str) and v else None for name, v in values.items()}


def bounded(value: str) -> str:
    """As much of it as a person reads, without what could command anything."""
    return printable(value, _TEXT_MAX)


def number(value: object) -> int | float | None:
    """The value if JSON and JavaScript can hold it as a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _NUMBER_MAX else None  # which is false of a NaN, too
