"""What every test folder can use: interpreter, library, certificates, cameras, the zoo."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.authority import Authority
from host_tools.deploy import umqtt
from host_tools.virtual_camera import micropython
from host_tools.virtual_camera.micropython import MicroPython
from tests.broker.local import NAMES
from tests.brokers import BrokerProcess, running_broker
from tests.cameras import CameraUnderTest


@pytest.fixture(scope="session")
def runtime() -> MicroPython:
    """The MicroPython of the virtual camera ($MICROPYTHON names another)."""
    return micropython.find()


@pytest.fixture(scope="session")
def library() -> Path:
    """The umqtt/simple.py of the virtual camera ($UMQTT_SIMPLE names another)."""
    return umqtt.find()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with finished certificates, shared by all workers: RSA keys take seconds."""
    shared = tmp_path_factory.getbasetemp().parent / "broker-data"
    with (shared.parent / "broker-data.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            Authority(shared / "authority", NAMES).ensure()
            (shared / "done").touch()
    return shared


@pytest.fixture
def data(made_once: Path, tmp_path: Path) -> Path:
    """A data folder of one's own, certificates included."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    shutil.copytree(made_once / "authority", folder / "authority")
    return folder


@pytest.fixture(scope="session")
def zoo_data(tmp_path_factory: pytest.TempPathFactory, made_once: Path) -> Path:
    """The data folder of the broker with the zoo."""
    data = tmp_path_factory.mktemp("zoo")
    shutil.copytree(made_once / "authority", data / "authority")
    return data


@pytest.fixture(scope="session")
def zoo(zoo_data: Path) -> Iterator[BrokerProcess]:
    """`anchorcam broker --zoo`."""
    with running_broker(zoo_data, "--zoo", "--zoo-port=0") as process:
        yield process


@pytest.fixture
def make_camera(
    tmp_path: Path, runtime: MicroPython, library: Path
) -> Iterator[Callable[..., CameraUnderTest]]:
    """Makes cameras that are switched off at the end of the test."""
    made: list[CameraUnderTest] = []

    def make(broker: BrokerProcess, **options: Any) -> CameraUnderTest:
        folder = tmp_path / f"camera{len(made)}"
        folder.mkdir()
        made.append(
            CameraUnderTest(folder, runtime, options.pop("library", library), broker, **options)
        )
        return made[-1]

    yield make
    for camera in made:
        camera.power_cut()
