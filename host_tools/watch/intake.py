"""From a message to its verdict, its file and its row in the ledger; nothing of the network."""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from broker.errors import UserError
from broker.files import write_atomic
from host_tools.watch.events import Event, loss
from host_tools.watch.evidence import (
    REPORT_MAX,
    Arrival,
    Health,
    State,
    check,
    printable,
    read_health,
    read_state,
)
from host_tools.watch.ledger import Ledger, LedgerError, Row
from host_tools.watch.verdicts import VERIFIED, Dropped, Judgement, Missing, Track, Verdict

# More cameras than any one broker here has; a name is made up faster than memory is bought.
CAMERAS_MAX = 1000
# The latency shown is the median of this many snapshots.
LATENCIES = 50


@dataclass(frozen=True)
class CameraView:
    """One camera as it is now, for showing. Sizes in bytes, at in seconds of Unix time."""

    name: str
    online: bool | None  # None: it has not said
    health: Health
    counts: Mapping[Verdict, int]  # of all runs with this ledger
    run: Mapping[Verdict, int]  # of this run
    last: Arrival | None  # the last verified snapshot of this run
    last_at: float
    latency_ms: float | None  # with the error of the camera's clock in it
    path: Path | None  # the latest verified snapshot
    fault: str  # of the last snapshot that was not accepted in this run, or ""


@dataclass
class _Camera:
    name: str
    track: Track
    saved: str | None
    path: Path
    state: State | None = None
    health: Health = field(default_factory=Health)
    run: Counter[Verdict] = field(default_factory=Counter)
    last: Arrival | None = None
    last_at: float = 0
    latencies: deque[int] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    fault: str = ""


class Intake:
    """All cameras of one ledger.

    folder: where <camera>/latest.jpg is written; reorder_s: see Track; tell: is called with
    each event, after what it tells of is on disk. Raises UserError for a damaged ledger.

    Methods that take a message raise OSError when it could not be stored. Then nothing has
    changed, and the same message is to be handed in again.
    """

    def __init__(
        self, folder: Path, ledger: Ledger, reorder_s: float, tell: Callable[[Event], None]
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._reorder_s = reorder_s
        self._tell = tell
        self._cameras: dict[str, _Camera] = {}
        try:
            for name, saved in ledger.states().items():
                self._add(name, saved)
        except (LedgerError, ValueError) as error:
            raise UserError(
                f"the ledger {ledger.path} is damaged: {error}; "
                "move it away or give another folder with --data",
                exit_code=2,
            ) from error

    def snapshot(self, name: str, payload: bytes) -> None:
        """A message on the jpeg topic of this camera."""
        self._store(name, check(name, payload), payload)

    def refused(self, name: str, arrival: Arrival) -> None:
        """A message on the jpeg topic whose payload was not kept."""
        self._store(name, arrival, b"")

    def health(self, name: str, payload: bytes, *, retained: bool) -> None:
        """A message on the health topic. Retained: old news, shown but no evidence."""
        camera, health = self._camera(name), read_health(payload)
        if health is None:
            return self._unusable(name, "health", payload)
        if camera is None:
            return None
        if not retained and health.boot is not None and health.seq is not None:
            now = time.monotonic()
            camera.track.health(health.boot, health.seq, now, held=health.held, drops=health.drops)
            # At once: the record says that these are dropped, but not that nobody was told.
            news = camera.track.tick(now)
            self._record(camera)
            self._tell_losses(camera, news)
        camera.health = health
        return None

    def state(self, name: str, payload: bytes) -> None:
        """A message on the state topic: birth or will."""
        camera, state = self._camera(name), read_state(payload)
        if state is None:
            return self._unusable(name, "state", payload)
        if camera is None or state == camera.state:
            return None
        known = camera.state
        if known and not state.online and (state.boot, state.conn) < (known.boot, known.conn):
            # The will of a connection that this camera has replaced since.
            return None
        camera.state = state
        word = "online" if state.online else "offline"
        self._tell(
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
        for camera in self._cameras.values():
            news = camera.track.tick(time.monotonic())
            if news:
                self._record(camera)
            self._tell_losses(camera, news)

    def view(self) -> list[CameraView]:
        """Every camera, by name."""
        return [
            CameraView(
                name=camera.name,
                online=camera.state.online if camera.state else None,
                health=camera.health,
                counts=camera.track.counts(),
                run=Counter(camera.run),
                last=camera.last,
                last_at=camera.last_at,
                latency_ms=median(camera.latencies) if camera.latencies else None,
                path=camera.path if camera.path.exists() else None,
                fault=camera.fault,
            )
            for _, camera in sorted(self._cameras.items())
        ]

    def _store(self, name: str, arrival: Arrival, payload: bytes) -> None:
        camera = self._camera(name)
        if camera is None:
            return
        at = time.time()
        judgement = self._judge(camera, arrival)
        verified = judgement.verdict in VERIFIED and arrival.identity is not None
        newest = verified and camera.track.newest == arrival.identity
        try:
            if newest:
                camera.path.parent.mkdir(exist_ok=True)
                write_atomic(camera.path, payload)
        except OSError:
            self._restore(camera)
            raise
        self._record(camera, _row(name, arrival, judgement, at) if verified else None)
        camera.run[judgement.verdict] += 1
        latency = None if arrival.sent_ms is None else round(at * 1000) - arrival.sent_ms
        if newest:
            camera.last, camera.last_at = arrival, at
            if latency is not None:
                camera.latencies.append(latency)
        if not verified:
            camera.fault = judgement.reason
        boot, seq = arrival.identity or (None, None)
        self._tell(
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
                    "file": os.fspath(camera.path) if newest else None,
                },
                at,
            )
        )

    def _judge(self, camera: _Camera, arrival: Arrival) -> Judgement:
        track = camera.track
        if arrival.fault and arrival.unproven:
            return track.unverifiable(arrival.fault)
        if arrival.fault or arrival.identity is None:
            return track.corrupt(arrival.identity, arrival.fault or "")
        known = self._ledger.digest(camera.name, *arrival.identity)
        if known not in (None, arrival.digest):
            return track.unverifiable(
                "another snapshot has this boot and seq: two cameras share the id, "
                "or the camera lost its boot counter; give it another id"
            )
        return track.snapshot(*arrival.identity, time.monotonic())

    def _camera(self, name: str) -> _Camera | None:
        camera = self._cameras.get(name)
        if camera or len(self._cameras) < CAMERAS_MAX:
            return camera or self._add(name, None)
        self._note(f"ignored a message of {name}: {CAMERAS_MAX} cameras are being watched already")
        return None

    def _add(self, name: str, saved: str | None) -> _Camera:
        camera = _Camera(name, Track(self._reorder_s), saved, self._folder / name / "latest.jpg")
        self._cameras[name] = camera
        self._restore(camera)
        return camera

    def _record(self, camera: _Camera, row: Row | None = None) -> None:
        state = camera.track.dump()
        try:
            self._ledger.record(camera.name, state, row)
        except OSError:
            self._restore(camera)
            raise
        camera.saved = state

    def _restore(self, camera: _Camera) -> None:
        if camera.saved is None:
            camera.track = Track(self._reorder_s)
        else:
            camera.track = Track.load(camera.saved, self._reorder_s, time.monotonic())

    def _tell_losses(self, camera: _Camera, losses: Iterable[Missing | Dropped]) -> None:
        for each in losses:
            self._tell(loss(camera.name, each))

    def _unusable(self, name: str, kind: str, payload: bytes) -> None:
        shown = printable(payload[:40].decode("ascii", "replace"), 40)
        size = f"{len(payload)} bytes" if len(payload) <= REPORT_MAX else "too long"
        self._note(f"ignored a {kind} message of {name} that is not one, {size}: {shown!r}", name)

    def _note(self, text: str, camera: str | None = None) -> None:
        self._tell(Event("note", text, camera))


def _row(name: str, arrival: Arrival, judgement: Judgement, at: float) -> Row:
    boot, seq = arrival.identity or (0, 0)
    received_ms = round(at * 1000)
    return Row(
        name,
        boot,
        seq,
        judgement.verdict,
        arrival.size,
        arrival.digest,
        arrival.sent_ms,
        received_ms,
    )


def _line(name: str, arrival: Arrival, judgement: Judgement) -> str:
    if judgement.verdict is Verdict.DELIVERED:
        return ""
    which = f"{name} boot %d seq %d" % arrival.identity if arrival.identity else f"{name}"
    return f"{which}: {judgement.verdict}, {judgement.reason}"
