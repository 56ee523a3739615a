"""A broker for the whole folder, cameras with accounts of their own, and the watcher's process."""

import contextlib
import json
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from sqlalchemy import URL

from camera import topics
from tests.brokers import DEADLINE_S, REPOSITORY, BrokerProcess, Endpoint, running_broker, wait_for
from tests.postgresql import Server, running_postgresql
from tests.watch.desk import Desk

# Each test has a camera of its own, so that none sees what another has left at the broker.
CAMERAS = [f"cam{number}" for number in range(1, 41)]
# A packet limit over the watcher's, so that the watcher's own is what refuses.
ROOMY = ("--max-packet", "8000000")


def use_certificates(made: Path, data: Path) -> None:
    """Give a broker's new data folder certificates that were made before: RSA takes seconds."""
    shutil.copytree(made / "authority", data / "authority")


def broker_arguments() -> list[str]:
    """Accounts for every test."""
    return [f"--camera={camera}" for camera in CAMERAS]


@pytest.fixture(scope="session")
def shared_broker(
    tmp_path_factory: pytest.TempPathFactory,
    made_once: Path,
) -> Iterator[BrokerProcess]:
    data = tmp_path_factory.mktemp("broker")
    use_certificates(made_once, data)
    with running_broker(data, *broker_arguments(), *ROOMY) as broker:
        yield broker


@pytest.fixture(scope="session")
def unused_cameras() -> Iterator[str]:
    return iter(CAMERAS)


@pytest.fixture
def camera(unused_cameras: Iterator[str]) -> str:
    return next(unused_cameras)


def write_settings(folder: Path, endpoint: Endpoint, **broker: object) -> Path:
    """config.json, anchors/ and secrets.json for a watcher; broker: fields that are other."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads((REPOSITORY / "config.json").read_text())
    settings["brokers"][0] |= {"host": endpoint.host, "port": endpoint.port} | broker
    (folder / "anchors").mkdir(exist_ok=True)
    anchor = folder / "anchors" / settings["brokers"][0]["anchors"][0]
    anchor.write_bytes(endpoint.anchor.read_bytes())
    passwords = {"watcher": endpoint.passwords["watcher"]}
    (folder / "secrets.json").write_text(json.dumps({"passwords": passwords}))
    (folder / "config.json").write_text(json.dumps(settings))
    return folder / "config.json"


@dataclass
class Ended:
    """A process that is over."""

    status: int
    errors: str
    events: list[dict[str, Any]]


@dataclass
class WatchProcess:
    """`anchorcam watch`, as a program's user starts it: NDJSON on a pipe."""

    config: Path
    arguments: tuple[str, ...] = ()
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = self.config.parent / "watch"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "host_tools", "watch", str(self.config)),
                *("--data", str(self.data), *self.arguments),
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def matching(self, **fields: Any) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if fields.items() <= event.items()]

    def event(self, **fields: Any) -> dict[str, Any]:
        """The first event with these fields, waited for."""
        found = wait_for(lambda: self.matching(**fields), f"{fields}; there are {self.events[-9:]}")
        return dict(found[0])

    def connected(self) -> "WatchProcess":
        self.event(event="connection", connected=True)
        return self

    def snapshots(self, camera: str, **fields: Any) -> list[dict[str, Any]]:
        return self.matching(event="snapshot", camera=camera, **fields)

    def wait_snapshots(self, camera: str, count: int, **fields: Any) -> list[dict[str, Any]]:
        """That many snapshots of the camera with these fields, waited for."""

        def found() -> list[dict[str, Any]]:
            snapshots = self.snapshots(camera, **fields)
            return snapshots if len(snapshots) >= count else []

        return list(wait_for(found, f"{count} snapshots {fields}; there are {self.events[-9:]}"))

    def end(self, number: int | None = signal.SIGTERM) -> Ended:
        """Signal it (None: it ends by itself), and what is left of it."""
        if number is not None:
            self.process.send_signal(number)
        try:
            self.process.wait(2 * DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()
        self._reader.join(DEADLINE_S)
        assert self.process.stdout
        assert self.process.stderr
        with self.process.stdout, self.process.stderr:
            return Ended(self.process.returncode, self.process.stderr.read(), self.events)


Watch = Callable[..., WatchProcess]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Starts watchers; whatever a test leaves running is killed."""
    started: list[WatchProcess] = []

    def start(config: Path, *arguments: str) -> WatchProcess:
        started.append(WatchProcess(config, arguments))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()


@pytest.fixture
def config(shared_broker: BrokerProcess, tmp_path: Path) -> Path:
    """Right settings for the shared broker."""
    return write_settings(tmp_path / "here", shared_broker.endpoint())


@dataclass
class Publisher:
    """A camera's account, publishing what a test wants."""

    client: paho.Client
    camera: str

    def send(self, *payloads: bytes, kind: str = topics.JPEG, retain: bool = False) -> None:
        """Publish each with QoS 1 and wait for the broker to take it."""
        for payload in payloads:
            topic = topics.topic("cameras", self.camera, kind)
            self.client.publish(topic, payload, 1, retain).wait_for_publish(DEADLINE_S)


@contextlib.contextmanager
def publishing(broker: BrokerProcess, camera: str) -> Iterator[Publisher]:
    """A publisher for the length of a with block."""
    with broker.endpoint().paho(camera) as client:
        yield Publisher(client, camera)


@pytest.fixture
def publisher(shared_broker: BrokerProcess, camera: str) -> Iterator[Publisher]:
    with publishing(shared_broker, camera) as publisher:
        yield publisher


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with running_postgresql() as server:
        yield server


@pytest.fixture
def database(postgresql: Server) -> URL:
    """An empty database on the server that all tests of this process share."""
    name = f"ledger_{secrets.token_hex(4)}"
    postgresql.execute(f"CREATE DATABASE {name}")
    return postgresql.url(name)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "watch")
    yield desk
    desk.close()
