"""A broker of its own and a camera for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tools.virtual_camera.micropython import MicroPython
from tests.brokers import BrokerProcess, running_broker
from tests.cameras import CameraUnderTest


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, made_once: Path) -> Iterator[BrokerProcess]:
    """The test broker as it comes, for the tests that leave it as it is."""
    data = tmp_path_factory.mktemp("broker")
    shutil.copytree(made_once / "authority", data / "authority")
    with running_broker(data) as process:
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


@pytest.fixture
def camera(make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess) -> CameraUnderTest:
    """A camera whose settings fit the broker; still off."""
    return make_camera(broker)
