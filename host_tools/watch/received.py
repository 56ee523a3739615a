"""What the process that reads from the broker tells the one that stores."""

from typing import NamedTuple

from host_tools.watch.evidence import Arrival
from host_tools.watch.failures import Failure

SNAPSHOT, HEALTH, STATE, STRAY = range(4)


class Received(NamedTuple):
    """A message. offset, length: of what is kept of it in the shared memory; size: all of it;
    arrival: of a snapshot.
    """

    kind: int
    camera: str
    offset: int
    length: int
    size: int
    is_retained: bool
    arrival: Arrival | None = None


class Connected(NamedTuple):
    """The broker has confirmed the subscription. is_resumed: it had kept the queue."""

    is_resumed: bool


News = Received | Connected | Failure
