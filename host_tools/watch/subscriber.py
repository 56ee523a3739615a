"""The watcher: takes snapshots off the broker, and acknowledges only what is on disk."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from paho.mqtt.client import MQTTMessage

from broker.errors import UserError
from camera import topics
from host_tools.watch.events import Event
from host_tools.watch.evidence import REPORT_MAX, SNAPSHOT_MAX, refused
from host_tools.watch.failures import Failure
from host_tools.watch.intake import Intake
from host_tools.watch.ledger import Ledger
from host_tools.watch.options import Options
from host_tools.watch.seen import CameraView
from host_tools.watch.session import CONNECT_S, Session, trust_only

BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 30.0
# How long one turn may wait: stopping, and counting as missing, are late by that much.
TURN_S = 0.25
DISK_RETRY_S = 1.0
# While nothing can be stored this many bytes are kept here; then the broker has to keep them.
INBOX_MAX = 32 * 1024 * 1024
EVENTS_KEPT = 8


@dataclass(frozen=True)
class View:
    """A watcher as it is now, for showing."""

    address: str
    connected: bool
    was_connected: bool  # at any time
    trouble: str  # why there is no connection, or nothing can be stored; "" if all is well
    cameras: list[CameraView]
    events: list[Event]  # the last few that have a text, oldest first


@dataclass(frozen=True)
class _Message:
    """store: does what the message asks for, all of it or (OSError) nothing."""

    mid: int
    qos: int
    size: int  # bytes kept for it
    connection: int
    store: Callable[[], None]


class Watcher:
    """Watches one broker from start() to stop(), connecting again for ever.

    tell: called in the watcher's thread with each event, after what it tells of is on disk;
    it must not raise.
    """

    def __init__(
        self, options: Options, tell: Callable[[Event], None] = lambda event: None
    ) -> None:
        self.options = options
        self.address = f"{options.host}:{options.port}"
        self._tell = tell
        self._lock = threading.Lock()  # of the intake and of what the view shows
        self._stop = threading.Event()
        self._up = threading.Event()
        self._was_connected = False
        self._failure: Failure | None = None
        self._disk_trouble = ""
        self._disk_retry_at = 0.0
        self._tick_at = 0.0
        self._inbox: deque[_Message] = deque()
        self._news: list[Event] = []
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Open the ledger and begin; does not wait for the broker. Raises UserError."""
        options = self.options
        context = trust_only(options.anchor)
        self._ledger = Ledger(options.folder, options.ledger)
        try:
            self._intake = Intake(
                options.folder, self._ledger, options.reorder_s, self._news.append
            )
        except UserError:
            self._ledger.close()
            raise
        self._is_new = not self._intake.view()
        self._session = Session(options, context, self._ledger.name, self._take_in)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect from the broker and close the ledger."""
        self._stop.set()
        # Only the look-up of a name takes longer, and leaving it alone loses nothing.
        self._thread.join(CONNECT_S + 1)
        if not self._thread.is_alive():
            self._ledger.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_connected(self, seconds: float) -> bool:
        """True as soon as the broker has confirmed the subscription."""
        return self._up.wait(seconds)

    def is_running(self) -> bool:
        """False after stop(), and after an error that is a fault of this program."""
        return self._thread.is_alive()

    def view(self, camera: str | None = None) -> View:
        """What there is to show now, of this camera or of all; from any thread."""
        with self._lock:
            failure = self._failure.text if self._failure else ""
            return View(
                address=self.address,
                connected=self._up.is_set(),
                was_connected=self._was_connected,
                trouble=failure or self._disk_trouble,
                cameras=[each for each in self._intake.view() if camera in (None, each.name)],
                events=[
                    each for each in self._events if camera is None or each.camera in (None, camera)
                ],
            )

    # What follows runs in the watcher's own thread.

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 (a thread that dies must not do so unseen)
            text = f"internal error, please report it: {error!r}"
            self._failed(Failure("internal", text))

    def _watch(self) -> None:
        pause = BACKOFF_FIRST_S
        while not self._stop.is_set():
            began = time.monotonic()
            # A new connection would bring the same messages again, and find no room for them.
            failure = (self._session.open() or self._serve()) if self._has_room() else None
            if time.monotonic() - began > BACKOFF_MOST_S and self._up.is_set():
                pause = BACKOFF_FIRST_S
            self._up.clear()
            if failure:
                self._failed(failure)
            self._rest(pause)
            pause = min(2 * pause, BACKOFF_MOST_S)

    def _serve(self) -> Failure | None:
        """Until the connection ends: why it did, or None after stop()."""
        while not self._stop.is_set():
            failure = self._session.turn(TURN_S, read=self._has_room())
            if self._session.is_up and not self._up.is_set():
                self._connected()
            self._work()
            if failure:
                return failure
        self._session.close()
        return None

    def _has_room(self) -> bool:
        return sum(message.size for message in self._inbox) < INBOX_MAX

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stop.wait(TURN_S):
            self._work()

    def _take_in(self, message: MQTTMessage) -> None:
        size = len(message.payload) if len(message.payload) <= SNAPSHOT_MAX else 0
        self._inbox.append(
            _Message(message.mid, message.qos, size, self._session.number, self._meaning(message))
        )

    def _meaning(self, message: MQTTMessage) -> Callable[[], None]:
        intake, payload = self._intake, bytes(message.payload)
        try:
            place = topics.split(self.options.prefix, message.topic)
        except UnicodeDecodeError:
            place = None
        if place is None:
            return partial(intake.stray, len(payload))
        camera, kind = place
        if kind == topics.STATE:
            return partial(intake.state, camera, payload[: REPORT_MAX + 1])
        if kind == topics.HEALTH:
            report = payload[: REPORT_MAX + 1]
            return partial(intake.health, camera, report, retained=message.retain)
        if len(payload) > SNAPSHOT_MAX:
            # Only its size is kept, however long the disk may be full.
            return partial(intake.refused, camera, refused(len(payload)))
        return partial(intake.snapshot, camera, payload)

    def _work(self) -> None:
        """Store and acknowledge what has come, or leave it for later when the disk is full."""
        if time.monotonic() < self._disk_retry_at:
            return
        try:
            while self._inbox:
                message = self._inbox[0]
                with self._lock:
                    message.store()
                self._inbox.popleft()
                self._spread_news()
                self._session.ack(message.connection, message.mid, message.qos)
            if time.monotonic() >= self._tick_at:
                self._tick_at = time.monotonic() + TURN_S
                with self._lock:
                    self._intake.tick()
        except OSError as error:
            self._disk_retry_at = time.monotonic() + DISK_RETRY_S
            self._cannot_store(error)
        else:
            if self._disk_trouble:
                self._disk_trouble = ""
                self._news.append(Event("note", "storing works again; nothing was lost"))
        self._spread_news()

    def _spread_news(self) -> None:
        news = list(self._news)
        self._news.clear()
        with self._lock:
            self._events.extend(event for event in news if event.text)
        for event in news:
            self._tell(event)

    def _connected(self) -> None:
        with self._lock:
            is_first = not self._was_connected
            self._up.set()
            self._was_connected = True
            self._failure = None
        fields = {"connected": True}
        self._news.append(Event("connection", f"connected to {self.address}", fields=fields))
        if not self._session.is_resumed and not (is_first and self._is_new):
            text = "the broker kept no queue for this watcher: what came meanwhile is lost to it"
            self._news.append(Event("note", text))

    def _failed(self, failure: Failure) -> None:
        # The same failure again is no news: attempts go on for ever.
        if self._failure is None or failure.code != self._failure.code:
            fields = {"connected": False, "reason": failure.code}
            self._news.append(Event("connection", failure.text, fields=fields))
        with self._lock:
            self._failure = failure
        self._spread_news()

    def _cannot_store(self, error: OSError) -> None:
        if not self._disk_trouble:
            self._disk_trouble = (
                f"cannot store in {self.options.folder}: {error.strerror or error}; "
                "nothing is acknowledged until it can be; make room, or the folder writable"
            )
            self._news.append(Event("note", self._disk_trouble))
