"""What a watcher tells while it runs: one line for people, one JSON object for programs."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from host_tools.watch.verdicts import Dropped, Missing, Verdict

Kind = Literal["snapshot", "missing", "dropped", "state", "connection", "note"]

# What the camera's reasons mean (camera/drops.py); one that is not known here is shown as it is.
WHY_DROPPED = {
    "full": "its spool was full",
    "unstored": "it could not store it",
    "damaged": "its file was damaged",
    "refused": "no broker took it",
}


@dataclass(frozen=True)
class Event:
    """Something that happened.

    text: the whole of it as one line without the time, "" when it is not worth one (a
    snapshot that simply came); fields: what is in the JSON object beside the time and kind.
    """

    kind: Kind
    text: str = ""
    camera: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    at: float = field(default_factory=time.time)  # Unix time in seconds

    def as_json(self) -> str:
        """One line of NDJSON, without its line end; what is None is left out."""
        moment = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        event: dict[str, object] = {"t": moment, "event": self.kind, "camera": self.camera}
        event |= self.fields
        if self.kind != "snapshot" and self.text:
            event["text"] = self.text
        return json.dumps({name: value for name, value in event.items() if value is not None})


def loss(camera: str, lost: Missing | Dropped) -> Event:
    """What there is to tell of snapshots of this camera that will hardly come any more."""
    count = lost.last - lost.first + 1
    which = f"seq {lost.first}" + (f" to {lost.last} ({count})" if count > 1 else "")
    which = f"{camera} boot {lost.boot} {which}"
    fields: dict[str, object] = {
        "boot": lost.boot,
        "seq": lost.first,
        "to": lost.last,
        "count": count,
    }
    if isinstance(lost, Missing):
        return Event("missing", f"{which}: missing", camera, fields | {"verdict": Verdict.MISSING})
    why = WHY_DROPPED.get(lost.reason, lost.reason)
    fields |= {"verdict": Verdict.DROPPED, "reason": lost.reason}
    return Event("dropped", f"{which}: {Verdict.DROPPED}, {why}", camera, fields)
