"""Reads from the broker and checks what comes, for the watcher that started it.

A process of its own: threads of one would wait for each other longer than they work (measured).
Payloads go into memory that both share, all else through a pipe: the watcher sends how many
messages are done so far, which are acknowledged then, and gets what is new. It ends with the pipe.
"""

import gc
import signal
import sys
import time
from collections import deque
from functools import lru_cache
from multiprocessing.connection import Connection

from camera import topics
from host_tools.watch import mqtt, received
from host_tools.watch.account import Account
from host_tools.watch.evidence import REPORT_MAX, SNAPSHOT_MAX, check, refused
from host_tools.watch.failures import Failure
from host_tools.watch.received import Connected, News, Received
from host_tools.watch.ring import Ring, open_memory
from host_tools.watch.session import Session

# How long one turn may wait: what is told unasked for is late by that much.
_TURN_S = 0.25
# More than any camera's topic is longer than the prefix.
_TOPIC_MAX = 64
# What is told together: bounds how long the watcher's view may have to wait.
_TOGETHER_MAX = 500
_BACKOFF_FIRST_S = 1.0
_KINDS = {
    topics.JPEG: received.SNAPSHOT,
    topics.HEALTH: received.HEALTH,
    topics.STATE: received.STATE,
}


class Receiver:
    """Watches one broker until the pipe is closed, connecting again for ever.

    name: under which the broker keeps the queue; backoff_s: the longest pause between two
    attempts.
    """

    def __init__(
        self, pipe: Connection, ring: Ring, account: Account, name: str, backoff_s: float
    ) -> None:
        self._pipe = pipe
        self._ring = ring
        self._prefix = account.prefix
        self._backoff_s = backoff_s
        self._session = Session(account, name, self._take, pipe)
        self._is_up = False
        self._is_wanted = True
        self._is_over = False
        self._done = 0
        # Of the messages that are not done: the connection, the packet id and the QoS.
        self._taken: deque[tuple[int, int, int]] = deque()
        self._news: list[News] = []

    def run(self) -> None:
        """Until the pipe is closed."""
        pause = _BACKOFF_FIRST_S
        while not self._is_over:
            # A new connection would bring the same messages again, and find no room for them.
            if not self._ring.has_room():
                self._pipe.poll(_TURN_S)
                self._talk()
                continue
            began = time.monotonic()
            failure = self._session.open() or self._serve()
            if time.monotonic() - began > self._backoff_s and self._is_up:
                pause = _BACKOFF_FIRST_S
            self._is_up = False
            if failure:
                self._news.append(failure)
            end = time.monotonic() + pause
            self._talk()
            while not self._is_over and (left := end - time.monotonic()) > 0:
                self._pipe.poll(left)
                self._talk()
            pause = min(2 * pause, self._backoff_s)

    def _serve(self) -> Failure | None:
        """Until the connection ends: why it did, or None when all is over."""
        while True:
            # Before anything is sent: the name may be another watcher's by now.
            self._talk()
            if self._is_over:
                self._session.close()
                return None
            failure = self._session.turn(_TURN_S, self._ring.has_room)
            if self._session.is_up and not self._is_up:
                self._is_up = True
                self._news.append(Connected(self._session.is_resumed))
            if failure:
                return failure

    def _talk(self) -> None:
        """Hear what is done, tell what is new."""
        try:
            while self._pipe.poll():
                done = self._pipe.recv()
                while self._done < done:
                    self._session.ack(*self._taken.popleft())
                    self._ring.free()
                    self._done += 1
                self._is_wanted = True
            if self._is_wanted and self._news:
                self._pipe.send(self._news[:_TOGETHER_MAX])
                del self._news[:_TOGETHER_MAX]
                self._is_wanted = False
        except (EOFError, OSError):
            self._is_over = True

    def _take(self, message: mqtt.Message) -> None:
        # What is longer is none of ours, and not to be remembered.
        camera, kind = _place(self._prefix, message.topic[: len(self._prefix) + _TOPIC_MAX])
        payload, arrival = message.payload, None
        if kind == received.SNAPSHOT:
            is_long = message.size > SNAPSHOT_MAX
            arrival = refused(message.size) if is_long else check(camera, payload)
        else:
            payload = payload[: REPORT_MAX + 1]
        offset = self._ring.put(payload)
        self._taken.append((self._session.number, message.mid, message.qos))
        self._news.append(
            Received(kind, camera, offset, len(payload), message.size, message.retain, arrival)
        )


@lru_cache(maxsize=4096)
def _place(prefix: str, topic: bytes) -> tuple[str, int]:
    """The camera and the kind of what comes on this topic."""
    try:
        place = topics.split(prefix, topic.decode())
    except UnicodeDecodeError:
        place = None
    return (place[0], _KINDS.get(place[1], received.STRAY)) if place else ("", received.STRAY)


def main() -> None:
    """The process. argv: the file descriptors of the pipe and of the memory.

    First of all it is sent an Account, the name of the session, and `most` and `backoff_s`.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are for the watcher, which ends this.
        signal.signal(number, signal.SIG_IGN)
    # What is loaded by now stays: nobody need look again and again whether it is garbage.
    gc.freeze()
    pipe, memory = Connection(int(sys.argv[1])), open_memory(int(sys.argv[2]))
    account, name, most, backoff_s = pipe.recv()
    Receiver(pipe, Ring(memory, most), account, name, backoff_s).run()
