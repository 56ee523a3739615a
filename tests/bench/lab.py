"""What the benchmarks run on: both brokers with the same rules, and real MicroPython."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from broker.accounts import Accounts
from broker.authority import Authority
from broker.certificates import CHAINS
from broker.connection import Limits
from host_tools.deploy import umqtt
from host_tools.virtual_camera import micropython
from host_tools.virtual_camera.board import FIRMWARE
from host_tools.virtual_camera.micropython import MicroPython
from tests.broker.local import NAMES
from tests.broker.reference import running_mosquitto
from tests.brokers import REPOSITORY, BrokerProcess, Endpoint, running_broker
from tests.cameras import LIMITS

DEVICE = Path(__file__).parent / "device"
# A script that takes longer hangs.
_SCRIPT_S = 240
_HEAP = "512k"
FLEET = [f"fleet-{number}" for number in range(1, 1001)]
CAMERAS = ("cam1", "cam2", *FLEET)


@dataclass
class Lab:
    """amqtt and mosquitto, running, with the same certificates, accounts and rules."""

    folder: Path
    data: Path
    runtime: MicroPython
    library: Path
    amqtt: BrokerProcess
    mosquitto: Endpoint
    server_file: Path  # the key and chain of both

    @property
    def brokers(self) -> dict[str, Endpoint]:
        """By name, the one that counts first."""
        return {"mosquitto": self.mosquitto, "amqtt": self.amqtt.endpoint()}

    def flash(self) -> Path:
        """A folder with camera/, lib/ and the anchor, as on a camera's flash."""
        flash = self.folder / "flash"
        if not flash.is_dir():
            (flash / "lib/umqtt").mkdir(parents=True)
            (flash / "lib/umqtt/simple.py").write_bytes(self.library.read_bytes())
            (flash / "camera").symlink_to(REPOSITORY / "camera")
            (flash / "root.der").write_bytes(self.mosquitto.anchor.read_bytes())
        return flash

    def run(
        self,
        script: str,
        values: dict[str, Any],
        heap: str = _HEAP,
        before: Sequence[str] = (),
        flash: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> list[dict[str, Any]]:
        """What a script of device/ prints, JSON lines; `values` are in $VALUES.

        before: words before the interpreter's, such as valgrind's; environment: more of it.
        Raises RuntimeError.
        """
        command = [*before, *self.runtime.command, "-X", f"heapsize={heap}"]
        done = subprocess.run(
            [*command, str(DEVICE / script)],
            cwd=flash or self.flash(),
            env={
                "PATH": os.defpath,
                "MICROPYPATH": f".:{FIRMWARE}:.frozen:lib",
                # Not in argv, whose words MicroPython interns, up to 255 bytes each.
                "VALUES": json.dumps(values),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SCRIPT_S,
        )
        if done.returncode:
            raise RuntimeError(f"{script}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def account(self, endpoint: Endpoint, account: str = "cam1") -> dict[str, Any]:
        """One of the settings' brokers, as the scripts take it."""
        return {
            "host": endpoint.host,
            "port": endpoint.port,
            "user": account,
            "password": endpoint.passwords[account],
            "keepalive_s": 60,
            "pin_sha256": (),
            "limits": {**LIMITS, "puback": 20, "write": 20},
        }


@contextmanager
def open_lab(folder: Path) -> Iterator[Lab]:
    """A lab for the length of a with block."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    authority = Authority(data / "authority", NAMES)
    authority.ensure()
    anchor = authority.write_anchors(folder)[0].path
    server_file = authority.server_file(CHAINS[0])
    Accounts(data / "accounts.json").ensure(dict.fromkeys(CAMERAS, "camera"), data / "secrets.json")
    with ExitStack() as stack:
        amqtt = stack.enter_context(running_broker(data))
        mosquitto = stack.enter_context(
            running_mosquitto(
                folder,
                server_file,
                anchor,
                amqtt.endpoint().passwords,
                Limits().max_packet,
                log="error",
            )
        )
        yield Lab(folder, data, micropython.find(), umqtt.find(), amqtt, mosquitto, server_file)
