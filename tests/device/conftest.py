"""A broker of its own and a camera for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
def camera(make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess) -> CameraUnderTest:
    """A camera whose settings fit the broker; still off."""
    return make_camera(broker)
