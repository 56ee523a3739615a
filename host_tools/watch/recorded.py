"""What a ledger has of before, as the events that were told then."""

import heapq
from collections.abc import Iterator
from pathlib import Path

from host_tools.watch.entries import Change
from host_tools.watch.events import Event, loss
from host_tools.watch.options import Options
from host_tools.watch.records import Records
from host_tools.watch.verdicts import Dropped, Missing, Verdict

# So many are read at a time.
_PAGE = 1000


def recorded(options: Options, since_ms: int) -> Iterator[Event]:
    """Snapshots and losses from this moment on, in the order of time. Raises UserError."""
    url = options.ledger
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return
    with Records(url) as records:
        losses = (
            _loss(change)
            for change in reversed(records.history(limit=None))
            if change.at_ms >= since_ms and change.verdict in (Verdict.MISSING, Verdict.DROPPED)
        )
        yield from heapq.merge(
            _snapshots(records, options.folder, since_ms), losses, key=lambda event: event.at
        )


def _snapshots(records: Records, folder: Path, since_ms: int) -> Iterator[Event]:
    at = records.id_before(since_ms)
    while page := records.after(at, _PAGE):
        at = page[-1].id
        for row in page:
            fields = {
                "boot": row.boot,
                "seq": row.seq,
                "verdict": row.verdict,
                "size": row.size,
                "latency_ms": row.latency_ms,
                "file": row.image and f"{folder}/{row.image}",
            }
            yield Event("snapshot", "", row.camera, fields, row.received_ms / 1000)


def _loss(change: Change) -> Event:
    which = (change.boot, change.first, change.last)
    lost: Missing | Dropped
    if change.verdict == Verdict.DROPPED:
        lost = Dropped(*which, change.reason or "")
    else:
        lost = Missing(*which)
    event = loss(change.camera, lost)
    return Event(event.kind, event.text, event.camera, event.fields, change.at_ms / 1000)
