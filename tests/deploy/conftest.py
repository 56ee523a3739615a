"""A broker, and benches with a camera at a serial port."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tools.virtual_camera.micropython import MicroPython
from tests.brokers import BrokerProcess, running_broker
from tests.deploy.bench import Bench


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, made_once: Path) -> Iterator[BrokerProcess]:
    """The test broker as it comes."""
    data = tmp_path_factory.mktemp("broker")
    shutil.copytree(made_once / "authority", data / "authority")
    with running_broker(data) as process:
        yield process


@pytest.fixture
def make_bench(
    tmp_path: Path, runtime: MicroPython, broker: BrokerProcess
) -> Iterator[Callable[..., Bench]]:
    """Makes benches, their camera switched on until the end of the test."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        to = options.pop("broker", broker)
        made.append(Bench(tmp_path / f"bench{len(made)}", runtime, to, **options))
        made[-1].board.power_on()
        return made[-1]

    yield make
    for bench in made:
        bench.board.power_cut()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A camera as it comes, and settings for it."""
    return make_bench()
