"""Broker, network, clock, camera and watcher, each of which a fault can get at."""

import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from unittest.mock import patch

from broker.clock import answer
from host_tools.virtual_camera.micropython import MicroPython
from host_tools.virtual_camera.sensor import Scene
from host_tools.watch import subscriber
from host_tools.watch.events import Event
from host_tools.watch.options import Options
from host_tools.watch.schema import location
from host_tools.watch.seen import CameraView
from host_tools.watch.subscriber import Watcher
from tests.brokers import BrokerProcess, wait_for
from tests.cameras import CameraUnderTest
from tests.faults.proxy import FaultProxy, Mode, proxied
from tests.faults.recorder import Recorder
from tests.scripted import clock_answering

CAMERA = "cam1"
# So small that an outage of a few seconds makes it drop the oldest.
SPOOL_KB = 400
# The watcher connects again after a second or two when the broker was killed.
SETTLE_S = 60.0


class Bench:
    """All of it, running, until the with block ends."""

    def __init__(
        self, folder: Path, runtime: MicroPython, library: Path, data: Path, window: int = 1
    ) -> None:
        self._data = data
        # What a power cut can take: the newest, and a copy of each that was on its way.
        self.in_ram_most = 1 if window == 1 else 1 + window
        self._stack = ExitStack()
        self.sensor_works = True
        self.dns_works = True
        self.clock_lies_s: float | None = 0.0  # None: it does not answer
        self.clock_late_s = 0.0
        self.recorder = Recorder(Scene(CAMERA))
        self.dropped: list[Event] = []
        self._is_on = False
        self.broker = BrokerProcess(data)
        self._ports = [f"--{name}={self._port(name)}" for name in ("port", "rsa-port")]
        self.network: FaultProxy = self._stack.enter_context(proxied(self._port("port")))
        clock = self._stack.enter_context(clock_answering(self._tell_time))
        self.camera = CameraUnderTest(
            folder,
            runtime,
            library,
            self.broker,
            self.recorder,
            lambda: self.sensor_works,
            lambda: self.dns_works,
        )
        self.camera.config["clock"] = {"servers": [clock], "resync_s": 60}
        self.camera.config["spool"] |= {"most_kb": SPOOL_KB}
        self.camera.config["delivery"] = {"first": "live", "window": window}
        self.camera.config["recovery"] = {"first_s": 0.1, "most_s": 1, "radio_after": 4}
        self.camera.config["limits_s"] |= {
            "link": 1,
            "handshake": 2,
            "write": 2,
            "puback": 1,
            "attempt": 6,
        }
        self.camera.broker.update({"port": self.network.port, "keepalive_s": 5})
        endpoint = self.broker.endpoint()
        # It is killed more often than any watcher in the field sees it.
        self._stack.enter_context(patch.object(subscriber, "BACKOFF_MOST_S", 2.0))
        self.watcher = Watcher(
            Options(
                host="localhost",
                port=endpoint.port,
                anchor=endpoint.anchor.read_bytes(),
                anchor_name="root.der",
                password=endpoint.passwords["watcher"],
                prefix="cameras",
                folder=folder / "watched",
                ledger=location(folder / "watched"),
                reorder_s=5,
            ),
            self._note,
        )

    def __enter__(self) -> Self:
        self.watcher.start()
        assert self.watcher.wait_connected(20), self.watcher.view().trouble
        self.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.power_cut()
        self.watcher.stop()
        self.broker.stop()
        self._stack.close()

    # What faults do.

    def power_on(self) -> None:
        if self.recorder.starts:
            self.camera.restart()
        else:
            self.camera.power_on()
        self._is_on = True

    def power_cut(self) -> None:
        """Pull the plug between two instructions of the camera."""
        if self._is_on:
            self._is_on = False
            self.camera.power_cut()

    def broker_dies(self) -> None:
        """Kill the broker as a power cut does; nothing that the watcher waits for is in it.

        The test broker keeps its queues in memory. What it has acknowledged to the camera and
        not delivered would die with it, and that is no loss of the camera's: so its network
        goes first, and the broker when the watcher has all that there is.
        """
        self.network.set_mode(Mode.HALF_OPEN)
        self._until_quiet()
        self.broker.stop(signal.SIGKILL)
        self.network.set_mode(Mode.REFUSE)

    def broker_returns(self, *, with_new_leaf: bool = False) -> None:
        """Start it again, on the same ports; the camera may come when the watcher is back."""
        wait_for(lambda: not self.watcher.view().connected, "the watcher to notice")
        if with_new_leaf:
            (self._data / "authority/ecdsa.pem").unlink()
        self.broker = BrokerProcess(self._data, *self._ports)
        wait_for(lambda: self.watcher.view().connected, "the watcher to be back")
        self.network.set_mode(Mode.PASS)

    def spool_files(self) -> list[Path]:
        """The files of the camera's spool."""
        return sorted(self.camera.flash.glob("spool/0/*/*.JPG"))

    def calm(self) -> None:
        """No fault any more."""
        self.network.calm()
        self.camera.set_link(True)
        self.sensor_works = True
        self.dns_works = True
        self.clock_lies_s = 0.0
        self.clock_late_s = 0.0
        if not self._is_on:
            self.power_on()

    # What the judge asks.

    def view(self) -> CameraView | None:
        """The camera as the watcher sees it."""
        return next(iter(self.watcher.view(CAMERA).cameras), None)

    def boot(self) -> int:
        """The number of the camera's last boot, as its console says it."""
        said = [line for line in self.camera.console if "] boot " in line]
        return int(said[-1].rsplit(" ", 1)[1]) if said else 0

    def settle(self) -> None:
        """Wait until the camera holds nothing any more and the watcher has everything."""
        self.calm()
        before = self.recorder.total()
        wait_for(
            lambda: self.recorder.total() > before + 2, "the camera to take pictures", SETTLE_S
        )
        taken = len(self.recorder.starts[-1].digests)

        def has_sent_all() -> bool:
            view = self.view()
            if view is None or view.health.boot != self.boot():
                return False
            return view.health.spooled == 0 and (view.health.seq or 0) >= taken

        wait_for(has_sent_all, "health that says that all was sent", SETTLE_S)
        self.network.set_mode(Mode.HALF_OPEN)
        self.power_cut()
        self._until_quiet()

    def _until_quiet(self) -> None:
        """Until the watcher has all that the broker had for it."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 0.4:
            view = self.view()
            count = sum(view.counts.values()) if view else 0
            if count != seen or not self.watcher.view().connected:
                seen, since = count, time.monotonic()
            time.sleep(0.02)

    def _note(self, events: Sequence[Event]) -> None:
        self.dropped += (event for event in events if event.kind == "dropped")

    def _port(self, name: str) -> int:
        listener = "ecdsa" if name == "port" else "rsa"
        return int(self.broker.ready[listener]["port"])

    def _tell_time(self, request: bytes) -> bytes | None:
        if self.clock_lies_s is None:
            return None
        if self.clock_late_s:
            time.sleep(self.clock_late_s)
        return answer(request, time.time() + self.clock_lies_s)
