"""What messages that are stored together come to, until they are."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from host_tools.watch import images
from host_tools.watch.batch import Batch, Change, Fault, Row
from host_tools.watch.disk import Payload
from host_tools.watch.events import Event, loss
from host_tools.watch.evidence import Arrival
from host_tools.watch.images import Images
from host_tools.watch.seen import Seen
from host_tools.watch.verdicts import Dropped, Judgement, Missing, Verdict

# While two cameras share an id that is told so often.
SHARED_AGAIN_S = 600
# Of so many snapshots the files are begun while the next ones are being judged.
FILES_AT_ONCE = 16


@dataclass
class Gathered:
    """before: the cameras as they were, None: not yet known; newest: the newest file of each."""

    images: Images
    batch: Batch = field(default_factory=Batch)
    files: dict[str, Payload] = field(default_factory=dict)  # that are not begun
    digests: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    changed: dict[str, Seen] = field(default_factory=dict)
    before: dict[str, Seen | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def keep(
        self,
        camera: Seen,
        arrival: Arrival,
        judgement: Judgement,
        payload: Payload,
        at: float,
    ) -> str:
        """Note the file and the row of a verified snapshot; returns the file's name."""
        assert arrival.identity
        boot, seq = arrival.identity
        file = images.name(camera.name, boot, seq)
        self.write(file, payload)
        self.digests[camera.name, boot, seq] = arrival.digest
        received_ms = round(at * 1000)
        self.batch.snapshots.append(
            Row(
                camera.name,
                boot,
                seq,
                judgement.verdict,
                arrival.size,
                arrival.digest,
                arrival.sent_ms,
                received_ms,
                file,
            )
        )
        return file

    def write(self, file: str, payload: Payload) -> None:
        """Keep this file."""
        self.files[file] = payload
        if len(self.files) >= FILES_AT_ONCE:
            self._begin_writing()

    def finish_files(self) -> None:
        """As Images.finish(), of all files."""
        self._begin_writing()
        self.images.finish()

    def _begin_writing(self) -> None:
        if self.files:
            self.images.begin(self.files)
            self.files = {}

    def refuse(self, camera: Seen, arrival: Arrival, judgement: Judgement, at: float) -> None:
        """Note what came and is no snapshot."""
        camera.fault = judgement.reason
        boot, seq = arrival.identity or (None, None)
        received_ms = round(at * 1000)
        verdict, reason = judgement.verdict, judgement.reason
        self.batch.faults.append(
            Fault(camera.name, boot, seq, verdict, arrival.size, reason, received_ms)
        )

    def lose(self, camera: Seen, losses: Iterable[Missing | Dropped]) -> None:
        """Note what counts as missing or dropped from now on."""
        for lost in losses:
            self.events.append(loss(camera.name, lost))
            dropped = isinstance(lost, Dropped)
            self.batch.changes.append(
                Change(
                    camera.name,
                    lost.boot,
                    lost.first,
                    lost.last,
                    Verdict.DROPPED if dropped else Verdict.MISSING,
                    lost.reason if isinstance(lost, Dropped) else None,
                    now_ms(),
                )
            )
            self.changed[camera.name] = camera

    def share(self, camera: Seen) -> None:
        """Note that two cameras use this id; tell it now and then."""
        is_news = time.time() - camera.shared_at > SHARED_AGAIN_S
        if is_news:
            camera.shared_at = time.time()
            self.set(camera, shared_ms=now_ms())
            text = (
                f"two cameras use the id {camera.name}, or one lost its boot counter; "
                "give one of them another id, and account"
            )
            self.events.append(Event("note", text, camera.name))

    def sample(self, camera: Seen, at_ms: int, latency_ms: int | None) -> None:
        """Note the camera's health for plots."""
        health = camera.health
        self.batch.samples.append(
            {
                "camera": camera.name,
                "at_ms": at_ms,
                "boot": health.boot,
                "heap_free": health.heap_free,
                "rssi": health.rssi,
                "reconnects": health.reconnects,
                "spooled": health.spooled,
                "latency_ms": latency_ms,
            }
        )

    def set(self, camera: Seen, **fields: object) -> None:
        """Change these columns of the camera's row."""
        self.changed[camera.name] = camera
        self.batch.fields.setdefault(camera.name, {}).update(fields)

    def tell_snapshot(
        self, camera: Seen, arrival: Arrival, judgement: Judgement, at: float, file: str | None
    ) -> None:
        """Note what there is to tell of an arrival; file: of what is kept of it."""
        latency = None if arrival.sent_ms is None else round(at * 1000) - arrival.sent_ms
        boot, seq = arrival.identity or (None, None)
        if judgement.was and boot and seq:
            verdict, at_ms = judgement.verdict, round(at * 1000)
            self.batch.changes.append(Change(camera.name, boot, seq, seq, verdict, None, at_ms))
        self.events.append(
            Event(
                "snapshot",
                _line(camera.name, arrival, judgement),
                camera.name,
                {
                    "boot": boot,
                    "seq": seq,
                    "verdict": judgement.verdict,
                    "size": arrival.size,
                    "latency_ms": latency,
                    "reason": judgement.reason or None,
                    "file": file and f"{self.images.folder}/{file}",
                },
                at,
            )
        )


def now_ms() -> int:
    """Unix time."""
    return round(time.time() * 1000)


def _line(name: str, arrival: Arrival, judgement: Judgement) -> str:
    if judgement.verdict is Verdict.DELIVERED:
        return ""
    which = f"{name} boot %d seq %d" % arrival.identity if arrival.identity else f"{name}"
    return f"{which}: {judgement.verdict}, {judgement.reason}"
