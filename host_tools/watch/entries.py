"""What is in a ledger, as it is read: data, and how a row becomes it.

Times in ms of Unix time, sizes in bytes, paths relative to the watcher's data folder. Text in
`birth`, `health`, `reason` and `verdict` may have been written by anyone who may publish.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from host_tools.watch.track import Track
from host_tools.watch.verdicts import Verdict

# Where what is lost was lost, as far as the evidence goes.
NEVER_SENT = "never sent"
NOT_ACKNOWLEDGED = "not acknowledged"
AFTER_PUBACK = "after PUBACK"
UNKNOWN = "unknown"

# The camera's reasons for a drop (camera/drops.py).
_PLACES = {
    "full": NEVER_SENT,
    "unstored": NEVER_SENT,
    "damaged": NEVER_SENT,
    "refused": NOT_ACKNOWLEDGED,
}


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot. id ascends in the order of arrival and is never used twice."""

    id: int
    camera: str
    boot: int
    seq: int
    verdict: str  # delivered or reordered
    size: int
    digest: bytes
    sent_ms: int | None  # by the camera's clock; None: it was not set
    received_ms: int
    image: str | None  # None: no longer kept

    @property
    def latency_ms(self) -> int | None:
        """With the error of the camera's clock in it."""
        return None if self.sent_ms is None else self.received_ms - self.sent_ms


@dataclass(frozen=True)
class Gap:
    """Snapshots first to last of a boot, both included, that are missing or dropped now."""

    camera: str
    boot: int
    first: int
    last: int
    verdict: str  # missing or dropped-by-camera
    reason: str | None  # the camera's, of a drop
    place: str  # NEVER_SENT, NOT_ACKNOWLEDGED, AFTER_PUBACK or UNKNOWN
    noted_ms: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Change:
    """A change of verdict; was: the one before, None: nothing was known."""

    id: int
    camera: str
    boot: int
    first: int
    last: int
    was: str | None
    verdict: str
    reason: str | None
    at_ms: int


@dataclass(frozen=True)
class Fault:
    """A payload on a jpeg topic that is no snapshot: corrupt or unverifiable."""

    id: int
    camera: str
    boot: int | None
    seq: int | None
    verdict: str
    size: int
    reason: str
    received_ms: int


@dataclass(frozen=True)
class Sample:
    """What a health message said; None: it did not say. latency_ms: median of that moment."""

    at_ms: int
    boot: int | None
    heap_free: int | None
    rssi: int | None
    reconnects: int | None
    spooled: int | None
    latency_ms: int | None


@dataclass(frozen=True)
class Camera:
    """A camera as the ledger knows it. birth, health: the last message, checked to be a dict."""

    name: str
    online: bool | None  # None: it has never said
    boot: int | None
    conn: int | None
    state_ms: int | None
    birth: Mapping[str, Any] | None
    birth_ms: int | None
    health: Mapping[str, Any] | None
    health_ms: int | None
    latency_ms: int | None  # median of the last snapshots
    shared_ms: int | None  # when two cameras were last seen to use this id
    counts: Mapping[Verdict, int]  # since the ledger began, whatever is kept of it
    newest: Snapshot | None  # the one with the highest (boot, seq)

    @classmethod
    def load(cls, row: Mapping[str, Any]) -> Self:
        """From its row, with the columns of its newest snapshot as newest_<name>.

        Raises ValueError when its verdict state is damaged.
        """
        try:
            counts = Track.load(row["track"], 0, 0).counts()
        except ValueError as error:
            raise ValueError(f"{row['camera']}: {error}") from error
        newest = {name[7:]: value for name, value in row.items() if name.startswith("newest_")}
        return cls(
            name=row["camera"],
            online=row["online"],
            boot=row["boot"],
            conn=row["conn"],
            state_ms=row["state_ms"],
            birth=_object(row["birth"]),
            birth_ms=row["birth_ms"],
            health=_object(row["health"]),
            health_ms=row["health_ms"],
            latency_ms=row["latency_ms"],
            shared_ms=row["shared_ms"],
            counts=counts,
            newest=Snapshot(**newest) if newest["id"] is not None else None,
        )


def placed(row: Mapping[str, Any], acknowledged: int) -> list[Gap]:
    """The gap of this row, in two where the camera says of a part only that it was acknowledged.

    acknowledged: the highest seq of its boot of which the camera says so.
    """
    fields = {name: value for name, value in row.items() if name != "id"}
    if row["verdict"] == Verdict.DROPPED:
        return [Gap(**fields, place=_PLACES.get(row["reason"], UNKNOWN))]
    end = min(max(row["first"] - 1, acknowledged), row["last"])
    parts = [(row["first"], end, AFTER_PUBACK), (end + 1, row["last"], UNKNOWN)]
    return [
        Gap(**(fields | {"first": first, "last": last}), place=place)
        for first, last, place in parts
        if first <= last
    ]


def _object(text: str | None) -> Mapping[str, Any] | None:
    value = None if text is None else json.loads(text)
    return value if isinstance(value, dict) else None
