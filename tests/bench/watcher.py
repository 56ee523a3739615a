"""How fast a watcher is, next to a bare paho subscriber.

Both drain a full queue of the same broker (mosquitto, TLS, 30 KB snapshots with stamps), by
turns. The bare one only counts; the watcher verifies, writes files and a ledger, and
acknowledges after that.
"""

import contextlib
import fcntl
import os
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO

from broker.authority import Authority
from camera import topics
from tests.bench.lab import Lab
from tests.bench.rows import Row
from tests.broker.reference import find_mosquitto_sub, running_mosquitto
from tests.brokers import REPOSITORY, Endpoint
from tests.packets import PUBACK, publish
from tests.watch.cameras import jpeg, stamped
from tests.watch.conftest import write_settings

LEAST = 0.6
SIZE = 30_000
PATIENCE_S = 300
_COUNT, _ROUNDS = 4000, 4
# linux/fs.h, on machines with 64 bits.
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x20000


@dataclass(frozen=True)
class Figure:
    """Messages per second, median of the rounds, and each round's ratio of watcher to bare.

    saver: mosquitto_sub, which writes all payloads into one file and looks at none.
    """

    bare: float
    watcher: float
    saver: float
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return median(self.ratios)


def measure(lab: Lab) -> Iterator[Row]:
    """With one camera and with fifty."""
    for cameras in (1, 50):
        folder = lab.folder / f"watcher{cameras}"
        _choose_group(lab.folder)
        folder.mkdir()
        figure = compare(cameras, _COUNT, _ROUNDS, folder)
        rounds = ", ".join(f"{ratio:.2f}" for ratio in figure.ratios)
        how = f"{figure.watcher:.0f}/s of {figure.bare:.0f}/s; of the rounds {rounds}"
        of = f"watcher, {cameras} camera{'s' * (cameras > 1)}"
        yield Row("watcher", f"{of}: over a bare subscriber", figure.ratio, "x", how, least=LEAST)
        ratio = figure.watcher / figure.saver
        how = f"{figure.saver:.0f}/s, all payloads into one file"
        yield Row("watcher", f"{of}: over mosquitto_sub", ratio, "x", how)


def _choose_group(folder: Path) -> None:
    """Have ext4 put what is made in this folder where it has deleted nothing.

    Where it has no journal it looks at each file deleted there in the last minutes, by the tests
    for instance, before it makes one (fs/ext4/ialloc.c, recently_deleted): 0.2 ms instead of
    0.02 (measured).
    """
    flags = bytearray(8)
    handle = os.open(folder, os.O_RDONLY)
    # Other file systems know no such flag.
    with contextlib.suppress(OSError):
        fcntl.ioctl(handle, _FS_IOC_GETFLAGS, flags)
        value = int.from_bytes(flags, sys.byteorder) | _FS_TOPDIR_FL
        fcntl.ioctl(handle, _FS_IOC_SETFLAGS, value.to_bytes(8, sys.byteorder))
    os.close(handle)


def compare(cameras: int, count: int, rounds: int, folder: Path) -> Figure:
    """Both speeds with so many cameras, `count` messages a round. folder: an empty one."""
    with mosquitto(folder, cameras) as endpoint:
        config = write_settings(folder / "watcher", endpoint)
        _watch(config, 0)
        _count(endpoint, 0)
        _save(endpoint, folder, 0)
        bare, watcher, saver, sent = [], [], [], 0
        for number in range(rounds):
            publish_all(endpoint, cameras, sent, count)
            sent += count
            # By turns, so that neither always has the machine as the other left it.
            for turn in ("bw", "wb")[number % 2]:
                if turn == "b":
                    bare.append(count / _count(endpoint, count))
                else:
                    watcher.append(count / _watch(config, count))
            saver.append(count / _save(endpoint, folder, count))
    ratios = tuple(each / other for each, other in zip(watcher, bare, strict=True))
    return Figure(median(bare), median(watcher), median(saver), ratios)


@contextlib.contextmanager
def mosquitto(folder: Path, cameras: int) -> Iterator[Endpoint]:
    """mosquitto with its own window of messages, and a queue without a limit."""
    authority = Authority(folder / "authority", ("localhost",))
    chain = authority.ensure()[0]
    names = ["watcher", *(_name(number) for number in range(cameras))]
    passwords = {name: secrets.token_hex(8) for name in names}
    (anchor,) = authority.write_anchors(folder / "anchors")
    with running_mosquitto(
        *(folder, authority.server_file(chain), anchor.path, passwords, 2_000_000),
        *("max_queued_messages 0", "max_queued_bytes 0"),
        log="error",
    ) as endpoint:
        yield endpoint


def _name(number: int) -> str:
    return f"cam{number + 1}"


def publish_all(endpoint: Endpoint, cameras: int, sent: int, count: int, size: int = SIZE) -> None:
    """Have the cameras publish so many snapshots, one after the other."""
    clients = [endpoint.raw(_name(number)) for number in range(cameras)]
    for client in clients:
        client.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in range(sent, sent + count):
        name, seq = _name(number % cameras), number // cameras + 1
        snapshot = stamped(name, seq, original=jpeg(number, size))
        client = clients[number % cameras]
        client.send(publish(topics.topic("cameras", name, topics.JPEG), snapshot, qos=1))
        assert client.receive()[0] == PUBACK
    for client in clients:
        client.leave()


def _count(endpoint: Endpoint, count: int) -> float:
    """Seconds that the bare subscriber takes; with count 0 it only leaves its subscription."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench.counter", str(endpoint.port)),
            *(str(endpoint.anchor), str(count)),
        ],
        cwd=REPOSITORY,
        input=endpoint.passwords["watcher"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout or 0)


def _save(endpoint: Endpoint, folder: Path, count: int) -> float:
    """Seconds that mosquitto_sub takes, its start included; with count 0 it only subscribes."""
    program, environment = find_mosquitto_sub()
    # Where it looks for options: a password is not for a command line.
    options = folder / "mosquitto_sub"
    options.write_text(f"-P {endpoint.passwords['watcher']}\n")
    anchor = folder / "anchor.pem"
    anchor.write_text(ssl.DER_cert_to_PEM_cert(endpoint.anchor.read_bytes()))
    began = time.perf_counter()
    with (folder / "saved").open("wb") as file:
        done = subprocess.run(
            [
                *(str(program), "-h", endpoint.host, "-p", str(endpoint.port)),
                *("--cafile", str(anchor), "-u", "watcher", "-i", "watcher/saver"),
                *("-c", "-q", "1", "-t", "cameras/+/jpeg", "-N"),
                *(("-C", str(count)) if count else ("-E",)),
            ],
            env={**environment, "XDG_CONFIG_HOME": str(folder)},
            stdout=file,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


def _watch(config: Path, count: int) -> float:
    """Seconds that the watcher takes, from its first verdict to its last."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "host_tools", "watch", str(config)),
            *("--data", str(config.parent / "data")),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    began = ended = 0.0
    with process.stdout:
        for line in process.stdout:
            if count == 0 and b'"connection"' in line:
                break
            if b'"delivered"' in line:
                ended = time.perf_counter()
                began = began or ended
                count -= 1
                if count == 0:
                    break
        process.terminate()
    assert process.wait(PATIENCE_S) == 0
    return ended - began


@contextlib.contextmanager
def watching(config: Path, *arguments: str) -> Iterator[int]:
    """A watcher that has connected, killed at the end of the block; its process id."""
    watcher = subprocess.Popen(
        [
            *(sys.executable, "-m", "host_tools", "watch", str(config)),
            *("--data", str(config.parent / "data"), *arguments),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout
    reader = threading.Thread(target=_drain, args=[watcher.stdout], daemon=True)
    try:
        assert watcher.stdout.readline(), "the watcher ended"
        reader.start()
        yield watcher.pid
    finally:
        watcher.kill()
        watcher.wait()
        reader.join()
        watcher.stdout.close()


def _drain(stream: IO[str]) -> None:
    for _ in stream:
        pass
