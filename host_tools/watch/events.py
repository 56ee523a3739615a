"""What a watcher tells while it runs: one line for people, one JSON object for programs."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

Kind = Literal["snapshot", "missing", "dropped", "state", "connection", "note"]


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
