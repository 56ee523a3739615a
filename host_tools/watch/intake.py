"""From a message to its verdict, its file and its row in the ledger; nothing of the network."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import UserError
from host_tools.watch import images
from host_tools.watch.cameras import CAMERAS_MAX, Cameras
from host_tools.watch.disk import Payload
from host_tools.watch.events import Event
from host_tools.watch.evidence import (
    REPORT_MAX,
    Arrival,
    printable,
    read_health,
    read_state,
)
from host_tools.watch.gathering import Gathered, now_ms
from host_tools.watch.images import Images
from host_tools.watch.ledger import Ledger, LedgerError
from host_tools.watch.retention import Keep, Retention
from host_tools.watch.seen import CameraView, Seen
from host_tools.watch.verdicts import VERIFIED, Judgement, Verdict

# Health is recorded for plots so often at most, in seconds, however often it is sent.
SAMPLE_S = 1.0
_FOR_EVER = Keep()


class Intake:
    """All cameras of one ledger.

    folder: where the snapshots are kept; reorder_s: see Track; tell: is called with each
    event, after what it tells of is on disk. Raises UserError for a damaged ledger.

    Methods that take a message raise OSError when it could not be stored. Then nothing has
    changed, and the same message is to be handed in again. Within together() that is so for
    all messages of the block, at its end.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        reorder_s: float,
        tell: Callable[[Event], None],
        keep_images: Keep = _FOR_EVER,
        keep_rows: Keep = _FOR_EVER,
    ) -> None:
        self._ledger = ledger
        self._tell = tell
        self._gathered: Gathered | None = None
        # Each camera's newest file, while latest.jpg is another.
        self._newest: dict[str, str] = {}
        try:
            self._images = Images(folder)
        except OSError as error:
            raise UserError(
                f"cannot use the snapshots in {folder}: {error.strerror}; "
                "make room, or the folder writable, or give another with --data",
                exit_code=2,
            ) from error
        try:
            self._retention = Retention(ledger, self._images, keep_images, keep_rows)
            self._cameras = Cameras(ledger, reorder_s)
        except (LedgerError, ValueError) as error:
            self._images.close()
            raise UserError(
                f"the ledger {ledger.place} is damaged: {error}; "
                "move it away or give another folder with --data",
                exit_code=2,
            ) from error

    def close(self) -> None:
        """Bring to an end what is done later than it could be. Nothing hangs on its success."""
        for finish in (self._show_newest, self._images.close):
            try:
                finish()
            except OSError:
                pass  # the journal stays, and with it all that is needed at the next start

    @contextmanager
    def together(self) -> Iterator[None]:
        """Store what is handed in within the block all at once, at its end, or none of it."""
        if self._gathered is not None:
            yield
            return
        self._cameras.reload()
        gathered = self._gathered = Gathered(self._images)
        try:
            yield
            self._commit(gathered)
        except BaseException:
            self._cameras.take_back(gathered.before)
            self._images.settled()
            raise
        finally:
            self._gathered = None
        for event in gathered.events:
            self._tell(event)

    def snapshot(self, name: str, arrival: Arrival, payload: Payload) -> None:
        """A message on the jpeg topic of this camera; arrival: what check() says of it."""
        with self._camera(name) as (camera, gathered):
            if camera is None:
                return
            # As the ledger has it, to the millisecond.
            at = now_ms() / 1000
            judgement = self._judge(camera, gathered, arrival)
            gathered.changed[name] = camera
            camera.run[judgement.verdict] += 1
            file = None
            if judgement.verdict in VERIFIED and arrival.identity:
                file = gathered.keep(camera, arrival, judgement, payload, at)
                if camera.track.newest == arrival.identity:
                    gathered.newest[name] = file
                    camera.last, camera.last_at = arrival, at
                    if arrival.sent_ms is not None:
                        camera.latencies.append(round(at * 1000) - arrival.sent_ms)
            elif judgement.verdict is not Verdict.DUPLICATE:
                gathered.refuse(camera, arrival, judgement, at)
            elif arrival.identity:
                self._make_good(gathered, camera, arrival, payload)
            gathered.tell_snapshot(camera, arrival, judgement, at, file)

    def health(self, name: str, payload: bytes, *, retained: bool) -> None:
        """A message on the health topic. Retained: old news, shown but no evidence."""
        health = read_health(payload)
        if health is None:
            return self._unusable(name, "health", payload)
        with self._camera(name) as (camera, gathered):
            if camera is None:
                return None
            camera.health = health
            now, at_ms = time.monotonic(), now_ms()
            if not retained and health.boot is not None and health.seq is not None:
                camera.track.health(
                    health.boot, health.seq, now, held=health.held, drops=health.drops
                )
                mark = (name, health.boot)
                acknowledged = gathered.batch.acknowledged
                acknowledged[mark] = max(health.seq, acknowledged.get(mark, 0))
                # At once: the record says that these are dropped, but not that anybody was told.
                gathered.lose(camera, camera.track.tick(now))
                if health.up and camera.twins.report(health.boot, *health.up):
                    gathered.share(camera)
            latency = None if camera.latency_ms is None else round(camera.latency_ms)
            gathered.set(
                camera,
                health=json.dumps(health.said),
                health_ms=at_ms,
                latency_ms=latency,
            )
            if not retained and now - camera.sampled_at >= SAMPLE_S:
                camera.sampled_at = now
                gathered.sample(camera, at_ms, latency)
        return None

    def state(self, name: str, payload: bytes, *, retained: bool = False) -> None:
        """A message on the state topic: birth or will. Retained: it may be old news."""
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
            is_birth = state.online and not retained
            if is_birth and camera.twins.report(state.boot, state.conn, 0):
                gathered.share(camera)
            at_ms = now_ms()
            birth = {"birth": json.dumps(state.said), "birth_ms": at_ms} if state.online else {}
            gathered.set(
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
        """Do what is due: count as missing, let go of what is old. To be called every second."""
        self._show_newest()
        with self.together():
            for camera in self._cameras.all():
                if news := camera.track.tick(time.monotonic()):
                    with self._camera(camera.name) as (_, gathered):
                        gathered.lose(camera, news)
        self._retention.turn()

    def view(self) -> list[CameraView]:
        """Every camera, by name."""
        cameras = sorted(self._cameras.all(), key=lambda camera: camera.name)
        return [camera.view(self._images.latest(camera.name)) for camera in cameras]

    def _judge(self, camera: Seen, gathered: Gathered, arrival: Arrival) -> Judgement:
        track = camera.track
        if arrival.fault and arrival.unproven:
            return track.unverifiable(arrival.fault)
        if arrival.fault or arrival.identity is None:
            return track.corrupt(arrival.identity, arrival.fault or "")
        if track.has(*arrival.identity):
            identity = (camera.name, *arrival.identity)
            known = gathered.digests.get(identity) or self._ledger.digest(*identity)
            if known not in (None, arrival.digest):
                gathered.share(camera)
                return track.unverifiable(
                    "another snapshot has this boot and seq: two cameras share the id, "
                    "or the camera lost its boot counter; give it another id"
                )
        return track.snapshot(*arrival.identity, time.monotonic())

    def _make_good(
        self, gathered: Gathered, camera: Seen, arrival: Arrival, payload: Payload
    ) -> None:
        """Keep the file of a duplicate if the first one's should be there and is not."""
        assert arrival.identity
        file = images.name(camera.name, *arrival.identity)
        if (camera.name, *arrival.identity) in gathered.digests:
            return
        is_wanted = not self._images.has(file, payload)
        if is_wanted and self._ledger.image(camera.name, *arrival.identity) == file:
            gathered.write(file, payload)

    @contextmanager
    def _camera(self, name: str) -> Iterator[tuple[Seen | None, Gathered]]:
        """This camera, to be changed; None: there are too many."""
        with self.together():
            assert self._gathered
            camera = self._cameras.to_change(name, self._gathered.before)
            if camera is None:
                self._note(
                    f"ignored a message of {name}: {CAMERAS_MAX} cameras are being watched already"
                )
            yield camera, self._gathered

    def _commit(self, gathered: Gathered) -> None:
        for name, camera in gathered.changed.items():
            gathered.lose(camera, camera.track.news())
            gathered.batch.tracks[name] = camera.track.dump()
        if not gathered.changed:
            return
        # Both are synced at the same time, for to wait for the disk takes longer than all else.
        # If power fails when the rows are on disk and the files are not, nothing has been
        # acknowledged: the messages come again, as duplicates of which there is no file.
        gathered.finish_files()
        self._ledger.write(gathered.batch)
        self._images.secure()
        self._newest |= gathered.newest
        self._retention.added(row.size for row in gathered.batch.snapshots)

    def _show_newest(self) -> None:
        # Not with each snapshot: it costs more than to write one.
        while self._newest:
            name, file = next(iter(self._newest.items()))
            self._images.show(name, file)
            del self._newest[name]

    def _unusable(self, name: str, kind: str, payload: bytes) -> None:
        shown = printable(payload[:40].decode("ascii", "replace"), 40)
        size = f"{len(payload)} bytes" if len(payload) <= REPORT_MAX else "too long"
        self._note(f"ignored a {kind} message of {name} that is not one, {size}: {shown!r}", name)

    def _note(self, text: str, camera: str | None = None) -> None:
        with self.together():
            assert self._gathered
            self._gathered.events.append(Event("note", text, camera))
