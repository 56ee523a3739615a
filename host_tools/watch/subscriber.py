"""The watcher: takes snapshots off the broker, and acknowledges only what is on disk."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from broker.errors import UserError
from host_tools.watch import received
from host_tools.watch.events import Event
from host_tools.watch.failures import Failure
from host_tools.watch.intake import Intake
from host_tools.watch.ledger import Ledger
from host_tools.watch.options import Options
from host_tools.watch.received import Connected, News, Received
from host_tools.watch.receiving import Receiving
from host_tools.watch.seen import CameraView

BACKOFF_MOST_S = 30.0
# Stopping, and counting as missing, are late by that much.
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


class Watcher:
    """Watches one broker from start() to stop(), connecting again for ever.

    A process reads from the broker, checks and acknowledges (receiving.py); a thread here judges
    and stores all that has come meanwhile at once.

    tell: called in that thread with the events of what was stored together, after it is on
    disk; it must not raise.
    """

    def __init__(
        self, options: Options, tell: Callable[[Sequence[Event]], None] = lambda events: None
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
        self._news: list[Event] = []
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._storer = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Open the ledger and begin; does not wait for the broker. Raises UserError."""
        options = self.options
        self._ledger = Ledger(options.folder, options.ledger)
        try:
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
        try:
            self._receiving = Receiving(
                options.account, self._ledger.name, INBOX_MAX, BACKOFF_MOST_S
            )
        except OSError as error:
            self._intake.close()
            self._ledger.close()
            raise UserError(
                f"cannot start the process that reads from the broker: {error.strerror}; "
                "make room in memory, or for more processes"
            ) from error
        self._storer.start()

    def stop(self) -> None:
        """Disconnect from the broker and close the ledger."""
        self._stop.set()
        self._storer.join()
        self._receiving.close()
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
        return self._storer.is_alive()

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

    # What follows runs in the thread that stores.

    def _run(self) -> None:
        try:
            self._store()
        except Exception as error:  # noqa: BLE001 (a thread that dies must not do so unseen)
            text = f"internal error, please report it: {error!r}"
            self._failed(Failure("internal", text))
            self._spread()

    def _store(self) -> None:
        tick_at = time.monotonic()
        messages: Sequence[Received] = ()
        while not self._stop.is_set():
            if not messages:
                messages = self._messages_of(
                    self._receiving.take(max(0, tick_at - time.monotonic()))
                )
            try:
                with self._lock, self._intake.together():
                    for message in messages:
                        self._hand_in(message)
                if messages:
                    self._receiving.done(len(messages))
                    messages = ()
                if time.monotonic() >= tick_at:
                    tick_at = time.monotonic() + TURN_S
                    with self._lock:
                        self._intake.tick()
            except OSError as error:
                self._cannot_store(error)
                self._spread()
                self._stop.wait(DISK_RETRY_S)
                continue
            if self._disk_trouble:
                self._disk_trouble = ""
                self._news.append(Event("note", "storing works again; nothing was lost"))
            self._spread()

    def _messages_of(self, news: Sequence[News]) -> Sequence[Received]:
        """The messages; what else there is, is noted first."""
        messages = []
        for each in news:
            if isinstance(each, Received):
                messages.append(each)
            elif isinstance(each, Connected):
                self._connected(each)
            else:
                self._up.clear()
                self._failed(each)
        return messages

    def _hand_in(self, message: Received) -> None:
        intake, payload = self._intake, self._receiving.payload(message)
        if message.arrival:
            intake.snapshot(message.camera, message.arrival, payload)
        elif message.kind == received.HEALTH:
            intake.health(message.camera, bytes(payload), retained=message.is_retained)
        elif message.kind == received.STATE:
            intake.state(message.camera, bytes(payload), retained=message.is_retained)
        else:
            intake.stray(message.size)

    def _connected(self, news: Connected) -> None:
        with self._lock:
            is_first = not self._was_connected
            self._up.set()
            self._was_connected = True
            self._failure = None
        fields = {"connected": True}
        self._news.append(Event("connection", f"connected to {self.address}", fields=fields))
        if not news.is_resumed and not (is_first and self._is_new):
            text = "the broker kept no queue for this watcher: what came meanwhile is lost to it"
            self._news.append(Event("note", text))

    def _failed(self, failure: Failure) -> None:
        # The same failure again is no news: attempts go on for ever.
        is_news = self._failure is None or failure.code != self._failure.code
        with self._lock:
            self._failure = failure
        if is_news:
            fields = {"connected": False, "reason": failure.code}
            self._news.append(Event("connection", failure.text, fields=fields))

    def _cannot_store(self, error: OSError) -> None:
        if not self._disk_trouble:
            self._disk_trouble = (
                f"cannot store in {self.options.folder}: {error.strerror or error}; "
                "nothing is acknowledged until it can be; make room, or the folder writable"
            )
            self._news.append(Event("note", self._disk_trouble))

    def _spread(self) -> None:
        if not self._news:
            return
        news = list(self._news)
        self._news.clear()
        with self._lock:
            self._events.extend(event for event in news if event.text)
        self._tell(news)
