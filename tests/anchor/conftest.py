"""A broker with its zoo, for the tests that ask it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import BrokerProcess, running_broker


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
