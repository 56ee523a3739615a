"""A virtual camera for tests: its settings, its console, its power."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from host_tools.deploy import flash
from host_tools.virtual_camera.board import Board
from host_tools.virtual_camera.micropython import MicroPython
from host_tools.virtual_camera.sensor import Frames, Scene
from tests.brokers import BrokerProcess, wait_for
from tests.packets import DEADLINE_S

# Small, so that a failure takes a test seconds and not a minute.
LIMITS = {
    **{"link": 5, "clock": 0.5, "dns": 1, "connect": 2, "handshake": 5, "connack": 2},
    **{"suback": 2, "puback": 2, "ping": 2, "write": 5, "attempt": 20},
}


class CameraUnderTest:
    """One virtual camera with a flash of its own below `folder`.

    Its settings fit the broker; change them before power_on() in `config` and `secrets`,
    the anchors in `anchors` (name: the bytes of the file on the flash), and its own keys and
    certificates in the folder `keys`.
    """

    def __init__(
        self,
        folder: Path,
        runtime: MicroPython,
        library: Path,
        broker: BrokerProcess,
        frames: Frames | None = None,
        sensor_works: Callable[[], bool] = lambda: True,
        dns_works: Callable[[], bool] = lambda: True,
        sd_bytes: int = 0,
    ) -> None:
        self.flash = folder / "flash"
        self.keys = folder / "keys"
        self.console: list[str] = []
        self._folder = folder
        self._library = library
        clock = broker.ready["clock"]
        self.config: dict[str, Any] = {
            "camera": {"id": "cam1", "interval_s": 0.1, "framesize": "QVGA", "health_s": 1},
            "network": {"kind": "wifi", "ssid": "test"},
            "clock": {"servers": [f"{clock['host']}:{clock['port']}"]},
            "brokers": [
                {
                    "host": "localhost",
                    "port": broker.ready["ecdsa"]["port"],
                    "user": "cam1",
                    "anchors": ["root.der"],
                }
            ],
            "limits_s": dict(LIMITS),
            "recovery": {"first_s": 0.1, "most_s": 1, "radio_after": 1000},
            # In order, so that a test may count.
            "delivery": {"first": "backlog"},
            "spool": {"free_kb": 0, "writes_per_day": 10_000_000},
        }
        endpoint = broker.endpoint()
        self.secrets = {"passwords": dict(endpoint.passwords)}
        self.anchors = {"root.der": endpoint.anchor.read_bytes()}
        self._board = Board(
            runtime,
            self.flash,
            frames or Scene("cam1"),
            self._say,
            sensor_works,
            ntp=self.config["clock"]["servers"][0],
            dns_works=dns_works,
            sd_bytes=sd_bytes,
        )

    @property
    def broker(self) -> dict[str, Any]:
        """The broker's section of the settings."""
        broker: dict[str, Any] = self.config["brokers"][0]
        return broker

    @property
    def anchor(self) -> bytes:
        """What is in root.der."""
        return self.anchors["root.der"]

    @anchor.setter
    def anchor(self, der: bytes) -> None:
        self.anchors["root.der"] = der

    def power_on(self) -> Self:
        """Write the flash as a deploy does, then switch on."""
        self.write_flash()
        self.restart()
        return self

    def write_flash(self) -> None:
        """Write the flash as a deploy does."""
        config = self._folder / "config.json"
        secrets = self._folder / "secrets.json"
        config.write_text(json.dumps(self.config))
        secrets.write_text(json.dumps(self.secrets))
        anchors = self._folder / "anchors"
        anchors.mkdir(exist_ok=True)
        # The bundle would refuse a bad anchor; the camera must do so by itself.
        for name in self.anchors:
            (anchors / name).write_bytes(_GOOD_ANCHOR)
        flash.write(flash.files(config, secrets, self._library), self.flash)
        for name, der in self.anchors.items():
            (self.flash / "anchors" / name).write_bytes(der)

    def set_link(self, up: bool) -> None:
        """The access point is there, or not."""
        self._board.set_link(up)

    def run(self, script: str) -> None:
        """Switch on with a main.py of the test's own, and nothing else but the anchor."""
        (self.flash / "anchors").mkdir(parents=True, exist_ok=True)
        (self.flash / "anchors/root.der").write_bytes(self.anchor)
        (self.flash / "main.py").write_text(script)
        self.restart()

    def restart(self) -> None:
        """Switch on with the flash as it is."""
        self._board.power_on()

    def power_cut(self) -> None:
        self._board.power_cut()

    def is_running(self) -> bool:
        return self._board.is_running()

    def pid(self) -> int:
        return self._board.pid()

    def line(self, *words: str, after: int = 0, wait_s: float = DEADLINE_S) -> str:
        """The first console line, from index `after`, that has all the words; waited for."""

        def found() -> str | None:
            lines = self.console[after:]
            return next((line for line in lines if all(word in line for word in words)), None)

        try:
            return str(wait_for(found, f"{words} on the console", wait_s))
        except AssertionError as error:
            console = "\n".join(self.console)
            raise AssertionError(f"{error}; the console:\n{console}") from None

    def _say(self, line: str) -> None:
        self.console.append(line)

    def __enter__(self) -> Self:
        return self.power_on()

    def __exit__(self, *_: object) -> None:
        self.power_cut()


# 5 bytes: a DER SEQUENCE, which is all that the bundle looks at.
_GOOD_ANCHOR = b"\x30\x03\x02\x01\x00"
