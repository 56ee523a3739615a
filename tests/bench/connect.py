"""Target 5: from power-up to the first acknowledged snapshot, and what an anchor costs."""

import re
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from host_tools.cache import cache_folder
from host_tools.virtual_camera.debian import fetch_packages
from tests.anchor.truth import load
from tests.bench.camera import power_on, virtual_camera
from tests.bench.counting import counting
from tests.bench.lab import Lab
from tests.bench.rows import Row, number
from tests.brokers import running_broker
from tests.faults.proxy import Mode, proxied

_STEPS = ("clock", "tcp", "tls", "mqtt")
_ROUNDS = 5
_SIZE = 30_000
# How long each step took, on the console; and the whole, from the first line of main.py.
_MARKS = """
import time
began = time.ticks_us()
from camera import clock, route, session, transport
def mark(owner, name, label):
    inner = getattr(owner, name)
    def timed(*args):
        started = time.ticks_us()
        result = inner(*args)
        print('step', label, time.ticks_diff(time.ticks_us(), started))
        return result
    setattr(owner, name, timed)
mark(clock.Clock, 'sync', 'clock')
mark(transport, '_connect', 'tcp')
mark(transport.Transport, 'handshake', 'tls')
mark(session.Session, 'connect', 'session')
acknowledged = route.Route._acknowledged
def tell(self, identity):
    acknowledged(self, identity)
    print('step first', time.ticks_diff(time.ticks_us(), began))
route.Route._acknowledged = tell
"""


@dataclass(frozen=True)
class _Choice:
    """A listener of the zoo and an anchor for it. anchor: the certificate's name."""

    what: str
    listener: str
    anchor: str


_CHOICES = (
    _Choice("ECDSA, 4 sent, root (RSA 4096)", "ecdsa", "x1"),
    _Choice("ECDSA, 4 sent, cross-signed root", "ecdsa", "ye"),
    _Choice("ECDSA, 4 sent, intermediate", "ecdsa", "ye1"),
    _Choice("ECDSA, 2 sent, root (RSA 4096)", "ecdsa-2025", "x1"),
    _Choice("ECDSA, 2 sent, intermediate", "ecdsa-2025", "e7"),
    _Choice("RSA, 3 sent, root (RSA 4096)", "rsa", "x1"),
    _Choice("RSA, 3 sent, intermediate", "rsa", "yr1"),
    _Choice("RSA, 2 sent, root (RSA 4096)", "rsa-2025", "x1"),
)


def measure(lab: Lab) -> Iterator[Row]:
    """Figures without a target: what there is to know before one chooses."""
    for name, endpoint in lab.brokers.items():
        yield _power_up(lab, name, endpoint.port)
    yield _reconnect(lab)
    yield from _handshakes(lab)


def _power_up(lab: Lab, name: str, port: int) -> Row:
    steps: dict[str, list[float]] = {step: [] for step in (*_STEPS, "first")}
    for _ in range(_ROUNDS):
        with virtual_camera(lab, _SIZE) as camera:
            camera.broker["port"] = port
            power_on(camera, _MARKS)
            first = int(camera.line("step first").split()[-1])
            took = {
                step: int(camera.line(f"step {step}").split()[-1])
                for step in ("clock", "tcp", "tls", "session")
            }
        took["mqtt"] = took["session"] - took["tcp"] - took["tls"]
        for step in _STEPS:
            steps[step].append(took[step] / 1000)
        steps["first"].append(first / 1000)
    middle = {step: statistics.median(values) for step, values in steps.items()}
    return Row(
        "connect",
        f"power-up to the first acknowledged snapshot, {name}",
        middle["first"],
        "ms",
        ", ".join(f"{step} {number(middle[step])}" for step in _STEPS),
    )


def _reconnect(lab: Lab) -> Row:
    took = []
    with virtual_camera(lab, _SIZE) as camera, proxied(lab.mosquitto.port) as link:
        camera.broker["port"] = link.port
        camera.power_on()
        camera.line("connected to")
        for _ in range(_ROUNDS):
            seen = len(camera.console)
            link.set_mode(Mode.REFUSE)
            camera.line("refused", after=seen)
            seen = len(camera.console)
            link.set_mode(Mode.PASS)
            began = time.monotonic()
            camera.line("connected to", after=seen)
            took.append((time.monotonic() - began) * 1000)
    return Row(
        "connect",
        "connected again when the broker is back",
        statistics.median(took),
        "ms",
        "with the back-off, which is at random up to recovery.most_s, here 1 s",
    )


def _handshakes(lab: Lab) -> Iterator[Row]:
    data = lab.folder / "zoo"
    data.mkdir(mode=0o700)
    shutil.copytree(lab.data / "authority", data / "authority")
    first = 0.0
    with running_broker(data, "--zoo", "--zoo-port=0") as zoo:
        for choice in _CHOICES:
            anchor = lab.folder / f"{choice.anchor}.der"
            anchor.write_bytes(load(data, choice.anchor).public_bytes(Encoding.DER))
            port = zoo.ready["zoo"][choice.listener]
            with counting(port) as counted:
                _shake(lab, counted.port, anchor, 1)
            one, three = (_instructions(lab, port, anchor, count) for count in (1, 3))
            none, peak = (_peak_bytes(lab, port, anchor, count) for count in (0, 1))
            cost = (three - one) / 2
            first = first or cost
            yield Row(
                "connect",
                f"handshake, {choice.what}: instructions",
                cost / 1e6,
                "million",
                f"{number(cost / first)} of the first; {counted.down_bytes:,} bytes received;"
                f" {(peak - none) / 1024:.0f} KiB of memory at the peak",
            )


def _instructions(lab: Lab, port: int, anchor: Path, count: int) -> int:
    out = _under(lab, "callgrind", port, anchor, count)
    return int(re.findall(r"^(?:summary|totals): (\d+)", out, re.M)[0])


def _peak_bytes(lab: Lab, port: int, anchor: Path, count: int) -> int:
    out = _under(lab, "massif", port, anchor, count)
    return max(int(size) for size in re.findall(r"^mem_heap_B=(\d+)", out, re.M))


def _under(lab: Lab, tool: str, port: int, anchor: Path, count: int) -> str:
    """What this tool of valgrind has to say of so many handshakes."""
    out = lab.folder / f"{tool}.out"
    program, environment = _valgrind()
    before = (program, f"--tool={tool}", f"--{tool}-out-file={out}", "--quiet")
    _shake(lab, port, anchor, count, before, environment)
    return out.read_text()


def _shake(
    lab: Lab,
    port: int,
    anchor: Path,
    count: int,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    values = {"port": port, "anchor": str(anchor), "count": count}
    lab.run("handshake.py", values, before=before, environment=environment or {})


def _valgrind() -> tuple[str, Mapping[str, str]]:
    """The program and what it wants in its environment; this machine's or Debian's."""
    installed = shutil.which("valgrind")
    if installed:
        return installed, {}
    root = fetch_packages(("valgrind",), None, cache_folder("valgrind"))
    return str(root / "usr/bin/valgrind"), {"VALGRIND_LIB": str(root / "usr/libexec/valgrind")}
