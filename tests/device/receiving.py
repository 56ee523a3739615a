"""A subscriber that checks each snapshot by itself: not with the watcher's code."""

import contextlib
import hashlib
import json
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from camera import stamp
from tests.brokers import DEADLINE_S, Endpoint


@dataclass(frozen=True)
class Snapshot:
    """A stamped JPEG as it came; original: without its stamp, whose digest was right."""

    fields: dict[str, Any]
    original: bytes


class Receiver:
    """What came, in the order in which it came."""

    def __init__(self) -> None:
        self._jpegs: queue.Queue[bytes] = queue.Queue()
        self._reports: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()

    def take(self, topic: str, payload: bytes) -> None:
        kind = topic.rsplit("/", 1)[-1]
        if kind == "jpeg":
            self._jpegs.put(payload)
        elif kind in ("state", "health"):
            self._reports.put((kind, json.loads(payload)))

    def snapshot(self) -> Snapshot:
        """The next snapshot, intact."""
        data = self._jpegs.get(timeout=DEADLINE_S)
        start, end, fields = stamp.find(data)
        original = data[:start] + data[end:]
        assert fields["n"] == len(original)
        assert fields["sha256"] == hashlib.sha256(original).hexdigest()
        return Snapshot(fields, original)

    def report(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """The next state or health message with these fields."""
        while True:
            got, fields = self._reports.get(timeout=DEADLINE_S)
            if got == kind and wanted.items() <= fields.items():
                return fields


@contextlib.contextmanager
def receiving(endpoint: Endpoint, camera_id: str = "cam1") -> Iterator[Receiver]:
    """Subscribe to everything of one camera for the length of the block."""
    receiver = Receiver()
    with endpoint.paho("watcher") as client:
        client.on_message = lambda _c, _u, message: receiver.take(message.topic, message.payload)
        client.subscribe(f"cameras/{camera_id}/#", 1)
        yield receiver
