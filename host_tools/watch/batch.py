"""What is to be recorded in a ledger: data, all or none of it. Times in ms of Unix time."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from host_tools.watch.verdicts import Verdict


class Row(NamedTuple):
    """A verified snapshot. size: in bytes; image: the path of its file in the data folder."""

    camera: str
    boot: int
    seq: int
    verdict: Verdict
    size: int
    digest: bytes
    sent_ms: int | None
    received_ms: int
    image: str | None = None


@dataclass(frozen=True)
class Fault:
    """A payload on a jpeg topic that is no snapshot."""

    camera: str
    boot: int | None
    seq: int | None
    verdict: Verdict
    size: int
    reason: str
    received_ms: int


@dataclass(frozen=True)
class Change:
    """Snapshots first to last of a boot, both included, have this verdict from now on."""

    camera: str
    boot: int
    first: int
    last: int
    verdict: Verdict
    reason: str | None
    at_ms: int


@dataclass
class Batch:
    """What several messages come to, to be recorded all or none.

    tracks: each camera's verdict state; fields: what else changes in a camera's row;
    acknowledged: (camera, boot) to the highest seq that a broker has acknowledged.
    """

    snapshots: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    tracks: dict[str, str] = field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
