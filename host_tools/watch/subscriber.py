"""The watcher: takes snapshots off the broker, and acknowledges only what is on disk."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import TracebackType
from typing import Self

from broker.errors import UserError
from camera import topics
from host_tools.watch import mqtt
from host_tools.watch.events import Event
from host_tools.watch.evidence import REPORT_MAX, SNAPSHOT_MAX, refused
from host_tools.watch.failures import Failure
from host_tools.watch.inbox import Inbox, Message
from host_tools.watch.intake import Intake
from host_tools.watch.ledger import Ledger
from host_tools.watch.options import Options
from host_tools.watch.seen import CameraView
from host_tools.watch.session import CONNECT_S, Session, trust_only

BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 30.0
# How long one turn may wait: stopping, and counting as missing, are late by that much.
TURN_S = 0.25
# What is stored together, in messages: bounds how long view() may have to wait.
TOGETHER_MAX = 500
DISK_RETRY_S = 1.0
# While nothing can be stored this many bytes are kept here; then the broker has to keep them.
INBOX_MAX = 32 * 1024 * 1024
EVENTS_KEPT = 8
_SWITCH_S = 0.0002


@dataclass(frozen=True)
class View:
    """A watcher as it is now, for showing."""

    address: str
    connected: bool
    was_connected: bool  # at any time
    trouble: str  # why there is no connection, or nothing can be stored; "" if all is well
    cameras: list[CameraView]
    events: list[Event]  # the last few that have a text, oldest first


@lru_cache(maxsize=4096)
def _place(prefix: str, topic: bytes) -> tuple[str, str] | None:
    """The camera and the kind of this topic; None: it is none of ours."""
    try:
        place: tuple[str, str] | None = topics.split(prefix, topic.decode())
    except UnicodeDecodeError:
        return None
    return place


class Watcher:
    """Watches one broker from start() to stop(), connecting again for ever.

    One thread reads from the broker and acknowledges; another stores, all that has come
    meanwhile at once, so that neither waits for the other.

    tell: called in one of these threads, one at a time, with the events of what was stored
    together, after it is on disk; it must not raise.
    """

    def __init__(
        self, options: Options, tell: Callable[[Sequence[Event]], None] = lambda events: None
    ) -> None:
        self.options = options
        self.address = f"{options.host}:{options.port}"
        self._tell = tell
        self._lock = threading.Lock()  # of the intake and of what the view shows
        self._telling = threading.Lock()
        self._stop = threading.Event()
        self._up = threading.Event()
        self._was_connected = False
        self._failure: Failure | None = None
        self._disk_trouble = ""
        self._inbox = Inbox(INBOX_MAX)
        self._stored: deque[Message] = deque()  # and not acknowledged yet
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._reader = threading.Thread(target=self._run, args=[self._watch], daemon=True)
        self._storer = threading.Thread(target=self._run, args=[self._store], daemon=True)

    def start(self) -> None:
        """Open the ledger and begin; does not wait for the broker. Raises UserError."""
        options = self.options
        context = trust_only(options.anchor)
        self._ledger = Ledger(options.folder, options.ledger)
        try:
            self._news: list[Event] = []
            self._intake = Intake(
                options.folder,
                self._ledger,
                options.reorder_s,
                self._news.append,
                options.keep_images,
                options.keep_rows,
            )
        except UserError:
            self._ledger.close()
            raise
        self._is_new = not self._intake.view()
        self._session = Session(options, context, self._ledger.name, self._take_in)
        # A thread that comes back from the disk would wait 5 ms for one that computes.
        sys.setswitchinterval(_SWITCH_S)
        self._storer.start()
        self._reader.start()

    def stop(self) -> None:
        """Disconnect from the broker and close the ledger."""
        self._stop.set()
        self._inbox.wake()
        self._session.wake()
        self._storer.join()
        # Only the look-up of a name takes longer, and leaving it alone loses nothing.
        self._reader.join(CONNECT_S + 1)
        self._intake.close()
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
        return self._reader.is_alive() and self._storer.is_alive()

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

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 (a thread that dies must not do so unseen)
            text = f"internal error, please report it: {error!r}"
            self._failed(Failure("internal", text))

    # What follows runs in the thread that reads.

    def _watch(self) -> None:
        pause = BACKOFF_FIRST_S
        while not self._stop.is_set():
            began = time.monotonic()
            # A new connection would bring the same messages again, and find no room for them.
            failure = (self._session.open() or self._serve()) if self._inbox.has_room() else None
            if time.monotonic() - began > BACKOFF_MOST_S and self._up.is_set():
                pause = BACKOFF_FIRST_S
            self._up.clear()
            if failure:
                self._failed(failure)
            self._stop.wait(pause)
            pause = min(2 * pause, BACKOFF_MOST_S)

    def _serve(self) -> Failure | None:
        """Until the connection ends: why it did, or None after stop()."""
        while not self._stop.is_set():
            failure = self._session.turn(TURN_S, self._inbox.has_room)
            if self._session.is_up and not self._up.is_set():
                self._connected()
            self._acknowledge()
            if failure:
                return failure
        # What is being stored is about to be acknowledged.
        self._storer.join()
        self._acknowledge()
        self._session.close()
        return None

    def _acknowledge(self) -> None:
        while self._stored:
            message = self._stored.popleft()
            self._session.ack(message.connection, message.mid, message.qos)

    def _take_in(self, message: mqtt.Message) -> None:
        size = len(message.payload)
        self._inbox.put(
            Message(message.mid, message.qos, size, self._session.number, self._meaning(message))
        )

    def _meaning(self, message: mqtt.Message) -> Callable[[], None]:
        intake, payload = self._intake, message.payload
        place = _place(self.options.prefix, message.topic)
        if place is None:
            return partial(intake.stray, message.size)
        camera, kind = place
        if kind == topics.STATE:
            report = payload[: REPORT_MAX + 1]
            return partial(intake.state, camera, report, retained=message.retain)
        if kind == topics.HEALTH:
            report = payload[: REPORT_MAX + 1]
            return partial(intake.health, camera, report, retained=message.retain)
        if message.size > SNAPSHOT_MAX:
            return partial(intake.refused, camera, refused(message.size))
        return partial(intake.snapshot, camera, payload)

    def _connected(self) -> None:
        with self._lock:
            is_first = not self._was_connected
            self._up.set()
            self._was_connected = True
            self._failure = None
        fields = {"connected": True}
        self._spread([Event("connection", f"connected to {self.address}", fields=fields)])
        if not self._session.is_resumed and not (is_first and self._is_new):
            text = "the broker kept no queue for this watcher: what came meanwhile is lost to it"
            self._spread([Event("note", text)])

    # What follows runs in the thread that stores.

    def _store(self) -> None:
        tick_at = time.monotonic()
        messages: Sequence[Message] = ()
        while not self._stop.is_set():
            messages = messages or self._inbox.take(TOGETHER_MAX, tick_at)
            try:
                with self._lock, self._intake.together():
                    for message in messages:
                        message.store()
                if messages:
                    self._inbox.done(messages)
                    self._stored.extend(messages)
                    self._session.wake()
                    messages = ()
                if time.monotonic() >= tick_at:
                    tick_at = time.monotonic() + TURN_S
                    with self._lock:
                        self._intake.tick()
            except OSError as error:
                self._cannot_store(error)
                self._spread_news()
                self._stop.wait(DISK_RETRY_S)
                continue
            if self._disk_trouble:
                self._disk_trouble = ""
                self._news.append(Event("note", "storing works again; nothing was lost"))
            self._spread_news()

    def _cannot_store(self, error: OSError) -> None:
        if not self._disk_trouble:
            self._disk_trouble = (
                f"cannot store in {self.options.folder}: {error.strerror or error}; "
                "nothing is acknowledged until it can be; make room, or the folder writable"
            )
            self._news.append(Event("note", self._disk_trouble))

    def _spread_news(self) -> None:
        news = list(self._news)
        self._news.clear()
        self._spread(news)

    # What follows runs in either.

    def _failed(self, failure: Failure) -> None:
        # The same failure again is no news: attempts go on for ever.
        is_news = self._failure is None or failure.code != self._failure.code
        with self._lock:
            self._failure = failure
        if is_news:
            fields = {"connected": False, "reason": failure.code}
            self._spread([Event("connection", failure.text, fields=fields)])

    def _spread(self, news: Sequence[Event]) -> None:
        with self._telling:
            with self._lock:
                self._events.extend(event for event in news if event.text)
            self._tell(news)
