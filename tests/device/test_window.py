"""Several snapshots on their way at once: each is acknowledged, or sent again, or counted."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from camera import stamp
from tests.brokers import wait_for
from tests.cameras import CameraUnderTest
from tests.packets import PUBACK, PUBLISH, SUBACK, SUBSCRIBE, RawClient, packet
from tests.scripted import tls_listening

CONNACK = packet(2, b"\0\0")


class Withholding:
    """A broker that acknowledges a snapshot only when it is told to; all else at once.

    came: the seq of each in the order in which they came, again and again on each connection;
    pending: packet id by seq, of this connection; health: the messages so far.
    """

    def __init__(self) -> None:
        self.came: list[int] = []
        self.ids: list[int] = []
        self.most_pending = 0
        self.pending: dict[int, int] = {}
        self.health: list[dict[str, Any]] = []
        self.connections = 0
        self.is_obliging = False
        self._stream: socket.socket | None = None
        self._lock = threading.Lock()

    def serve(self, stream: socket.socket) -> None:
        client = RawClient(stream)
        client.receive()
        client.send(CONNACK)
        with self._lock:
            self.pending.clear()
            self._stream = stream
        self.connections += 1
        while True:
            kind, flags, body = client.receive()
            if kind == SUBSCRIBE:
                self._say(packet(SUBACK, body[:2] + b"\1"))
            elif kind == PUBLISH:
                self._take(flags, body)

    def acknowledge(self, *seqs: int) -> None:
        """Acknowledge these, in this order."""
        for seq in seqs:
            with self._lock:
                self._puback(self.pending.pop(seq))

    def oblige(self) -> None:
        """From now on acknowledge everything at once."""
        with self._lock:
            self.is_obliging = True
            for seq in list(self.pending):
                self._puback(self.pending.pop(seq))

    def hang_up(self) -> None:
        """Close the connection."""
        assert self._stream
        self._stream.shutdown(socket.SHUT_RDWR)

    def wait_pending(self, count: int) -> list[int]:
        """The seqs that are pending when there are so many."""
        wait_for(lambda: len(self.pending) >= count, f"{count} snapshots in flight")
        return list(self.pending)

    def _take(self, flags: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        number = int.from_bytes(body[end : end + 2], "big")
        with self._lock:
            if not body[:end].endswith(b"/jpeg"):
                self._puback(number)
                if body[:end].endswith(b"/health"):
                    self.health.append(json.loads(body[end + 2 :]))
                return
            seq = stamp.find(body[end + 2 :])[2]["seq"]
            self.came.append(seq)
            self.ids.append(number)
            if self.is_obliging:
                self._puback(number)
            else:
                self.pending[seq] = number
                self.most_pending = max(self.most_pending, len(self.pending))

    def _puback(self, number: int) -> None:
        assert self._stream
        self._stream.sendall(packet(PUBACK, number.to_bytes(2, "big")))

    def _say(self, data: bytes) -> None:
        assert self._stream
        with self._lock:
            self._stream.sendall(data)


@pytest.fixture
def start(camera: CameraUnderTest, tmp_path: Path) -> Callable[..., Any]:
    """start(window, patch="") switches the camera on, in front of a withholding broker."""

    @contextmanager
    def switched_on(window: int, patch: str = "") -> Iterator[Withholding]:
        broker = Withholding()
        with tls_listening(tmp_path, broker.serve) as (port, anchor):
            camera.broker["port"] = port
            camera.anchor = anchor
            camera.config["delivery"]["window"] = window
            camera.config["limits_s"]["puback"] = 20
            camera.power_on()
            if patch:
                camera.power_cut()
                main = camera.flash / "main.py"
                main.write_text(patch + main.read_text())
                camera.console.clear()
                camera.restart()
            yield broker
            camera.power_cut()

    return switched_on


def stored(camera: CameraUnderTest) -> list[Path]:
    """The snapshots in its spool."""
    return sorted(camera.flash.glob("spool/0/*/*.JPG"))


def until_settled(broker: Withholding) -> None:
    """Until it said that nothing waits any more, and everything up to then has come."""
    broker.oblige()
    wait_for(
        lambda: (
            broker.health
            and broker.health[-1]["spool_from"] is None
            and broker.health[-1]["seq"] > max(broker.came[:10], default=0)
        ),
        "health that says that nothing waits",
    )
    settled = broker.health[-1]["seq"]
    assert set(broker.came) >= set(range(1, settled + 1))
    assert broker.health[-1]["drops"] == []


def test_pubacks_in_any_order(start: Callable[..., Any], camera: CameraUnderTest) -> None:
    # Not so short that the next are due before this test has looked.
    camera.config["camera"]["interval_s"] = 0.4
    with start(4) as broker:
        for _ in range(3):
            first, *others = broker.wait_pending(4)
            assert not stored(camera)  # there is room in the heap
            broker.acknowledge(*reversed(others), first)
        until_settled(broker)
    assert broker.most_pending == 4
    assert broker.came == sorted(set(broker.came))
    assert broker.connections == 1


def test_what_is_said_of_the_oldest_while_later_ones_are_settled(
    start: Callable[..., Any], camera: CameraUnderTest
) -> None:
    with start(4) as broker:
        first, *others = broker.wait_pending(4)
        broker.acknowledge(*others)
        # The window is open: the next ones go, and these can be settled too.
        seqs = broker.wait_pending(4)
        broker.acknowledge(*seqs[1:])
        said = len(broker.health)
        wait_for(lambda: len(broker.health) > said + 1, "health")
        assert broker.health[-1]["spool_from"] == [1, first]
        assert broker.health[-1]["seq"] == first - 1
        until_settled(broker)
    assert broker.came == sorted(set(broker.came))
    assert broker.connections == 1


@pytest.mark.parametrize("window", [1, 4])
def test_never_more_than_the_window(
    window: int, start: Callable[..., Any], camera: CameraUnderTest
) -> None:
    with start(window) as broker:
        broker.wait_pending(window)
        # What is taken meanwhile goes to the spool.
        wait_for(lambda: len(stored(camera)) >= 3, "snapshots in the spool")
        until_settled(broker)
    assert broker.most_pending == window
    assert broker.came == sorted(set(broker.came))
    assert broker.connections == 1


def test_a_session_that_dies_with_several_in_flight(
    start: Callable[..., Any], camera: CameraUnderTest
) -> None:
    with start(4) as broker:
        seqs = broker.wait_pending(3)
        broker.acknowledge(seqs[1])
        before = len(broker.came)
        broker.hang_up()
        camera.line("broker_closed")
        wait_for(lambda: broker.connections > 1 and broker.pending, "the camera to be back")
        # Those that nobody acknowledged come again, oldest first; the other one does not.
        until_settled(broker)
    again = broker.came[before:]
    lost = [seq for seq in broker.came[:before] if seq != seqs[1]]
    assert again[: len(lost)] == lost
    assert seqs[1] not in again


def test_one_that_is_never_acknowledged(start: Callable[..., Any], camera: CameraUnderTest) -> None:
    with start(4) as broker:
        camera.power_cut()
        camera.config["limits_s"]["puback"] = 1
        camera.power_on()
        first = broker.wait_pending(2)[0]
        while broker.connections < 3 and not camera_said(camera, "no PUBACK in 1000 ms"):
            for seq in list(broker.pending):
                if seq != first:
                    broker.acknowledge(seq)
        camera.line("timeout", "no PUBACK in 1000 ms")
        wait_for(lambda: broker.came.count(first) > 1, "the one to be sent again")
        until_settled(broker)


def camera_said(camera: CameraUnderTest, words: str) -> bool:
    return any(words in line for line in camera.console)


def test_packet_ids_wrap_within_a_window(
    start: Callable[..., Any], camera: CameraUnderTest
) -> None:
    near_the_end = (
        "from camera import session\n"
        "made = session.Session.__init__\n"
        "def near_the_end(self, *args):\n"
        "    made(self, *args)\n"
        "    self.pid = 65530\n"
        "session.Session.__init__ = near_the_end\n"
    )
    with start(4, near_the_end) as broker:
        for _ in range(4):
            seqs = broker.wait_pending(4)
            broker.acknowledge(*reversed(seqs))
        until_settled(broker)
    assert 65535 in broker.ids
    assert 0 not in broker.ids
    assert broker.came == sorted(set(broker.came))


def test_a_full_spool_keeps_what_is_in_flight_and_the_newest(
    start: Callable[..., Any], camera: CameraUnderTest
) -> None:
    camera.config["camera"]["interval_s"] = 0.05
    with start(4, "from camera import spool\nspool.FILES_MAX = 24\n") as broker:
        in_flight = broker.wait_pending(4)
        camera.line("dropped: full")
        said = len(broker.health)
        # The ring has gaps behind those in flight by then, more than once around.
        wait_for(lambda: max(stored_seqs(camera), default=0) > 80, "80 snapshots")
        assert set(in_flight) <= set(stored_seqs(camera))
        assert len(stored_seqs(camera)) > 16
        broker.oblige()
        wait_for(
            lambda: len(broker.health) > said + 2 and broker.health[-1]["spool_from"] is None,
            "health that says that nothing waits",
        )
        health = broker.health[-1]
    given_up = {seq for _, first, last, _ in health["drops"] for seq in range(first, last + 1)}
    assert set(broker.came) >= set(range(1, health["seq"] + 1)) - given_up
    assert not given_up & set(broker.came)
    assert broker.connections == 1


def stored_seqs(camera: CameraUnderTest) -> list[int]:
    return [int(path.stem, 16) for path in stored(camera)]
