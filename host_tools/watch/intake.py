"""From a message to its verdict, its file and its row in the ledger; nothing of the network."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.errors import UserError
from host_tools.watch import images
from host_tools.watch.events import Event, loss
from host_tools.watch.evidence import (
    REPORT_MAX,
    Arrival,
    check,
    printable,
    read_health,
    read_state,
)
from host_tools.watch.images import Images
from host_tools.watch.ledger import Batch, Change, Fault, Ledger, LedgerError, Row
from host_tools.watch.seen import CameraView, Seen
from host_tools.watch.verdicts import VERIFIED, Dropped, Judgement, Missing, Track, Verdict

# More cameras than any one broker here has; a name is made up faster than memory is bought.
CAMERAS_MAX = 1000
# Health is recorded for plots so often at most, in seconds, however often it is sent.
SAMPLE_S = 1.0


@dataclass
class _Gathered:
    """What messages that are stored together come to, until they are.

    before: the cameras as they were, None: not yet known; shown: the newest file of each.
    """

    batch: Batch = field(default_factory=Batch)
    files: dict[str, bytes] = field(default_factory=dict)
    digests: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    changed: dict[str, Seen] = field(default_factory=dict)
    before: dict[str, Seen | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Intake:
    """All cameras of one ledger.

    folder: where the snapshots are kept; reorder_s: see Track; tell: is called with each
    event, after what it tells of is on disk. Raises UserError for a damaged ledger.

    Methods that take a message raise OSError when it could not be stored. Then nothing has
    changed, and the same message is to be handed in again. Within together() that is so for
    all messages of the block, at its end.
    """

    def __init__(
        self, folder: Path, ledger: Ledger, reorder_s: float, tell: Callable[[Event], None]
    ) -> None:
        self._images = Images(folder)
        self._folder = folder
        self._ledger = ledger
        self._reorder_s = reorder_s
        self._tell = tell
        self._cameras: dict[str, Seen] = {}
        self._gathered: _Gathered | None = None
        # Whose verdict state in memory is not the one that is on disk.
        self._stale: set[str] = set()
        try:
            for name, saved in ledger.states().items():
                self._cameras[name] = Seen(name, self._load(saved))
        except (LedgerError, ValueError) as error:
            raise UserError(
                f"the ledger {ledger.place} is damaged: {error}; "
                "move it away or give another folder with --data",
                exit_code=2,
            ) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """Store what is handed in within the block all at once, at its end, or none of it."""
        if self._gathered is not None:
            yield
            return
        self._reload()
        gathered = self._gathered = _Gathered()
        try:
            yield
            self._commit(gathered)
        except BaseException:
            self._undo(gathered)
            raise
        finally:
            self._gathered = None
        for event in gathered.events:
            self._tell(event)

    def snapshot(self, name: str, payload: bytes) -> None:
        """A message on the jpeg topic of this camera."""
        self._take(name, check(name, payload), payload)

    def refused(self, name: str, arrival: Arrival) -> None:
        """A message on the jpeg topic whose payload was not kept."""
        self._take(name, arrival, b"")

    def health(self, name: str, payload: bytes, *, retained: bool) -> None:
        """A message on the health topic. Retained: old news, shown but no evidence."""
        health = read_health(payload)
        if health is None:
            return self._unusable(name, "health", payload)
        with self._camera(name) as (camera, gathered):
            if camera is None:
                return None
            camera.health = health
            now, at_ms = time.monotonic(), _now_ms()
            if not retained and health.boot is not None and health.seq is not None:
                camera.track.health(
                    health.boot, health.seq, now, held=health.held, drops=health.drops
                )
                mark = (name, health.boot)
                acknowledged = gathered.batch.acknowledged
                acknowledged[mark] = max(health.seq, acknowledged.get(mark, 0))
                # At once: the record says that these are dropped, but not that anybody was told.
                self._lose(gathered, camera, camera.track.tick(now))
            latency = None if camera.latency_ms is None else round(camera.latency_ms)
            self._set(
                gathered,
                camera,
                health=json.dumps(health.said),
                health_ms=at_ms,
                latency_ms=latency,
            )
            if not retained and now - camera.sampled_at >= SAMPLE_S:
                camera.sampled_at = now
                gathered.batch.samples.append(
                    {
                        "camera": name,
                        "at_ms": at_ms,
                        "boot": health.boot,
                        "heap_free": health.heap_free,
                        "rssi": health.rssi,
                        "reconnects": health.reconnects,
                        "spooled": health.spooled,
                        "latency_ms": latency,
                    }
                )
        return None

    def state(self, name: str, payload: bytes) -> None:
        """A message on the state topic: birth or will."""
        state = read_state(payload)
        if state is None:
            return self._unusable(name, "state", payload)
        with self._camera(name) as (camera, gathered):
            if camera is None or state == camera.state:
                return None
            known = camera.state
            if known and not state.online and (state.boot, state.conn) < (known.boot, known.conn):
                # The will of a connection that this camera has replaced since.
                return None
            camera.state = state
            at_ms = _now_ms()
            birth = {"birth": json.dumps(state.said), "birth_ms": at_ms} if state.online else {}
            self._set(
                gathered,
                camera,
                online=state.online,
                boot=state.boot,
                conn=state.conn,
                state_ms=at_ms,
                **birth,
            )
            word = "online" if state.online else "offline"
            gathered.events.append(
                Event(
                    "state",
                    f"{name} is {word} (boot {state.boot}, connection {state.conn})",
                    name,
                    {"state": word, "boot": state.boot, "conn": state.conn},
                )
            )
        return None

    def stray(self, size: int) -> None:
        """A message of so many bytes on a topic that no camera can have."""
        self._note(f"ignored {size} bytes on a topic that no camera can have")

    def tick(self) -> None:
        """Look for snapshots that count as missing by now; to be called about every second."""
        with self.together():
            for name, camera in list(self._cameras.items()):
                if news := camera.track.tick(time.monotonic()):
                    with self._camera(name) as (_, gathered):
                        self._lose(gathered, camera, news)

    def view(self) -> list[CameraView]:
        """Every camera, by name."""
        return [
            camera.view(self._images.latest(name)) for name, camera in sorted(self._cameras.items())
        ]

    def _take(self, name: str, arrival: Arrival, payload: bytes) -> None:
        with self._camera(name) as (camera, gathered):
            if camera is None:
                return
            at = time.time()
            judgement = self._judge(camera, gathered, arrival)
            gathered.changed[name] = camera
            camera.run[judgement.verdict] += 1
            latency = None if arrival.sent_ms is None else round(at * 1000) - arrival.sent_ms
            file = None
            if judgement.verdict in VERIFIED and arrival.identity:
                file = self._keep(gathered, camera, arrival, judgement, payload, at)
                if camera.track.newest == arrival.identity:
                    gathered.shown[name] = file
                    camera.last, camera.last_at = arrival, at
                    if latency is not None:
                        camera.latencies.append(latency)
            elif judgement.verdict is not Verdict.DUPLICATE:
                self._refuse(gathered, camera, arrival, judgement, at)
            boot, seq = arrival.identity or (None, None)
            if judgement.was and boot and seq:
                verdict, at_ms = judgement.verdict, round(at * 1000)
                gathered.batch.changes.append(Change(name, boot, seq, seq, verdict, None, at_ms))
            gathered.events.append(
                Event(
                    "snapshot",
                    _line(name, arrival, judgement),
                    name,
                    {
                        "boot": boot,
                        "seq": seq,
                        "verdict": judgement.verdict,
                        "size": arrival.size,
                        "latency_ms": latency,
                        "reason": judgement.reason or None,
                        "file": file and os.fspath(self._folder / file),
                    },
                    at,
                )
            )

    def _judge(self, camera: Seen, gathered: _Gathered, arrival: Arrival) -> Judgement:
        track = camera.track
        if arrival.fault and arrival.unproven:
            return track.unverifiable(arrival.fault)
        if arrival.fault or arrival.identity is None:
            return track.corrupt(arrival.identity, arrival.fault or "")
        if track.has(*arrival.identity):
            identity = (camera.name, *arrival.identity)
            known = gathered.digests.get(identity) or self._ledger.digest(*identity)
            if known not in (None, arrival.digest):
                return track.unverifiable(
                    "another snapshot has this boot and seq: two cameras share the id, "
                    "or the camera lost its boot counter; give it another id"
                )
        return track.snapshot(*arrival.identity, time.monotonic())

    def _keep(
        self,
        gathered: _Gathered,
        camera: Seen,
        arrival: Arrival,
        judgement: Judgement,
        payload: bytes,
        at: float,
    ) -> str:
        """Note the file and the row of a verified snapshot; returns the file's name."""
        assert arrival.identity
        boot, seq = arrival.identity
        file = images.name(camera.name, boot, seq)
        gathered.files[file] = payload
        gathered.digests[camera.name, boot, seq] = arrival.digest
        received_ms = round(at * 1000)
        gathered.batch.snapshots.append(
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

    def _refuse(
        self, gathered: _Gathered, camera: Seen, arrival: Arrival, judgement: Judgement, at: float
    ) -> None:
        """Note what came and is no snapshot."""
        camera.fault = judgement.reason
        boot, seq = arrival.identity or (None, None)
        received_ms = round(at * 1000)
        verdict, reason = judgement.verdict, judgement.reason
        gathered.batch.faults.append(
            Fault(camera.name, boot, seq, verdict, arrival.size, reason, received_ms)
        )

    def _lose(self, gathered: _Gathered, camera: Seen, losses: Iterable[Missing | Dropped]) -> None:
        for lost in losses:
            gathered.events.append(loss(camera.name, lost))
            dropped = isinstance(lost, Dropped)
            gathered.batch.changes.append(
                Change(
                    camera.name,
                    lost.boot,
                    lost.first,
                    lost.last,
                    Verdict.DROPPED if dropped else Verdict.MISSING,
                    lost.reason if isinstance(lost, Dropped) else None,
                    _now_ms(),
                )
            )
            gathered.changed[camera.name] = camera

    def _set(self, gathered: _Gathered, camera: Seen, **fields: object) -> None:
        gathered.changed[camera.name] = camera
        gathered.batch.fields.setdefault(camera.name, {}).update(fields)

    @contextmanager
    def _camera(self, name: str) -> Iterator[tuple[Seen | None, _Gathered]]:
        """This camera, to be changed; None: there are too many."""
        with self.together():
            assert self._gathered
            camera = self._cameras.get(name)
            if camera is None and len(self._cameras) >= CAMERAS_MAX:
                self._note(
                    f"ignored a message of {name}: {CAMERAS_MAX} cameras are being watched already"
                )
            elif name not in self._gathered.before:
                self._gathered.before[name] = camera and camera.copy()
                if camera is None:
                    camera = self._cameras[name] = Seen(name, Track(self._reorder_s))
            yield camera, self._gathered

    def _commit(self, gathered: _Gathered) -> None:
        for name, camera in gathered.changed.items():
            self._lose(gathered, camera, camera.track.news())
            gathered.batch.tracks[name] = camera.track.dump()
        if not gathered.changed:
            return
        self._images.store(gathered.files)
        for name, file in gathered.shown.items():
            self._images.show(name, file)
        self._ledger.write(gathered.batch)

    def _undo(self, gathered: _Gathered) -> None:
        for name, camera in gathered.before.items():
            if camera is None:
                del self._cameras[name]
            else:
                self._cameras[name] = camera
                self._stale.add(name)
        try:
            self._reload()
        except LedgerError:
            pass  # together() tries again

    def _reload(self) -> None:
        """Bring back the verdict states that are on disk."""
        if self._stale:
            saved = self._ledger.states()
            for name in self._stale:
                track = self._load(saved[name]) if name in saved else Track(self._reorder_s)
                self._cameras[name].track = track
            self._stale.clear()

    def _load(self, saved: str) -> Track:
        return Track.load(saved, self._reorder_s, time.monotonic())

    def _unusable(self, name: str, kind: str, payload: bytes) -> None:
        shown = printable(payload[:40].decode("ascii", "replace"), 40)
        size = f"{len(payload)} bytes" if len(payload) <= REPORT_MAX else "too long"
        self._note(f"ignored a {kind} message of {name} that is not one, {size}: {shown!r}", name)

    def _note(self, text: str, camera: str | None = None) -> None:
        with self.together():
            assert self._gathered
            self._gathered.events.append(Event("note", text, camera))


def _now_ms() -> int:
    return round(time.time() * 1000)


def _line(name: str, arrival: Arrival, judgement: Judgement) -> str:
    if judgement.verdict is Verdict.DELIVERED:
        return ""
    which = f"{name} boot %d seq %d" % arrival.identity if arrival.identity else f"{name}"
    return f"{which}: {judgement.verdict}, {judgement.reason}"
