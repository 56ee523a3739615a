"""A virtual camera at a serial port, and beside it what a user has: settings, secrets, anchors."""

import json
import shutil
from pathlib import Path
from typing import Any, Self

from host_tools.deploy.plan import MANIFEST, manifest_of
from host_tools.virtual_camera.board import Board
from host_tools.virtual_camera.micropython import MicroPython
from host_tools.virtual_camera.sensor import Scene
from host_tools.virtual_camera.serial import SerialPort
from tests.brokers import BrokerProcess, wait_for
from tests.cameras import LIMITS
from tests.host.commands import Done, anchorcam

FLASH_BYTES = 1 << 20


class Bench:
    """A camera with an empty flash, and a folder with settings for it and its broker.

    options: of the Board.
    """

    def __init__(
        self, folder: Path, runtime: MicroPython, broker: BrokerProcess | None, **options: Any
    ) -> None:
        self.folder = folder
        self.flash = folder / "flash"
        self.flash.mkdir(parents=True)
        self.port = folder / "port"
        self.console: list[str] = []
        self.config: dict[str, Any] = {}
        if broker is not None:
            self._prepare(broker)
        bytes_per_s = options.pop("bytes_per_s", 0)
        self.board = Board(
            runtime,
            self.flash,
            Scene("cam1"),
            self.console.append,
            serial=SerialPort(self.port, "MicroPython, virtual camera", bytes_per_s),
            **{"flash_bytes": FLASH_BYTES, **options},
        )

    def _prepare(self, broker: BrokerProcess) -> None:
        clock = broker.ready["clock"]
        self.config = {
            "camera": {"id": "cam1", "interval_s": 0.2, "framesize": "QVGA", "health_s": 1},
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
        }
        endpoint = broker.endpoint()
        (self.folder / "anchors").mkdir()
        shutil.copy(endpoint.anchor, self.folder / "anchors/root.der")
        secrets = {"network_key": "31415926", "passwords": dict(endpoint.passwords)}
        (self.folder / "secrets.json").write_text(json.dumps(secrets))

    def run(self, verb: str, *arguments: str) -> Done:
        """An anchorcam command in the folder."""
        (self.folder / "config.json").write_text(json.dumps(self.config))
        return anchorcam(verb, *arguments, cwd=self.folder)

    def deploy(self, *arguments: str) -> Done:
        """`anchorcam deploy` to this camera; no secret is ever shown."""
        done = self.run("deploy", "--port", str(self.port), *arguments)
        secrets = json.loads((self.folder / "secrets.json").read_text())
        for secret in (secrets["network_key"], *secrets["passwords"].values()):
            assert secret not in done.out + done.err
        print(done.out, done.err, self.console[-12:], sep="\n")
        return done

    def put(self, image: dict[str, bytes], camera: str = "cam1") -> None:
        """Make the flash what a deploy of this image leaves."""
        shutil.rmtree(self.flash)
        manifest = manifest_of(image, camera).encode()
        for name, data in {**image, MANIFEST: manifest}.items():
            path = self.flash / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def files(self) -> dict[str, bytes]:
        """Everything on the flash but what the application keeps there for itself."""
        return {
            str(path.relative_to(self.flash)): path.read_bytes()
            for path in self.flash.rglob("*")
            if path.is_file()
            and path.relative_to(self.flash).parts[0] not in ("state", "deploy", "spool")
        }

    def line(self, *words: str, after: int = 0) -> str:
        """The first line on the console, from index `after`, with all the words; waited for."""

        def found() -> str | None:
            lines = self.console[after:]
            return next((line for line in lines if all(word in line for word in words)), None)

        return str(wait_for(found, f"{words} on the console: {self.console[after:]}"))

    def __enter__(self) -> Self:
        self.board.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.power_cut()
