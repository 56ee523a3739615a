"""The words for what became of a snapshot, and what is said with them. Pure."""

from enum import StrEnum
from typing import NamedTuple


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
    """The verdict of one arrival, and why when it is not simply delivered.

    was: what the snapshot counted as until now, missing or dropped, or None.
    """

    verdict: Verdict
    reason: str = ""
    was: Verdict | None = None


class Missing(NamedTuple):
    """Snapshots first to last of a boot, both included, now counted as missing."""

    boot: int
    first: int
    last: int


class Dropped(NamedTuple):
    """Snapshots first to last of a boot that the camera gave up, and its reason."""

    boot: int
    first: int
    last: int
    reason: str
