"""Messages on their way from the thread that reads them to the thread that stores them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """store: does what the message asks for; the rest is for its acknowledgement."""

    mid: int
    qos: int
    size: int  # bytes kept for it
    connection: int
    store: Callable[[], None]


class Inbox:
    """Messages in the order of arrival. most: bytes from which on no more should be put in."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._messages: deque[Message] = deque()
        self._changed = threading.Condition()

    def put(self, message: Message) -> None:
        """Leave a message; whether there is room is for the caller to ask."""
        with self._changed:
            self._messages.append(message)
            self._bytes += message.size
            self._changed.notify()

    def has_room(self) -> bool:
        """What was taken and is not done counts too."""
        return self._bytes < self._most

    def take(self, count: int, until: float) -> Sequence[Message]:
        """Up to `count` messages, waiting for the first until then (time.monotonic())."""
        with self._changed:
            if not self._messages:
                self._changed.wait(max(0.0, until - time.monotonic()))
            return [self._messages.popleft() for _ in range(min(count, len(self._messages)))]

    def done(self, messages: Sequence[Message]) -> None:
        """These need no room any longer."""
        with self._changed:
            self._bytes -= sum(message.size for message in messages)

    def wake(self) -> None:
        """End the waiting of take()."""
        with self._changed:
            self._changed.notify()
