"""Brokers for the tests of this folder: in this process, or mosquitto, with the same rules."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker.authority import Authority
from broker.certificates import CHAINS
from broker.connection import Limits
from broker.server import Options
from tests.broker.local import NAMES, LocalBroker
from tests.broker.reference import running_mosquitto
from tests.brokers import Endpoint


@pytest.fixture
def start_broker(data: Path) -> Iterator[Callable[..., LocalBroker]]:
    """Start a broker here with limits and options of the test's own."""
    with contextlib.ExitStack() as stack:

        def start(
            limits: Limits | None = None,
            now: Callable[[], datetime] | None = None,
            **options: Any,
        ) -> LocalBroker:
            defaults = {"port": 0, "rsa_port": 0, "clock_port": 0, "cameras": ("cam1", "cam2")}
            broker = LocalBroker(
                Options(
                    data=data,
                    anchors=data / "anchors",
                    secrets=data / "secrets.json",
                    limits=limits or Limits(),
                    **{**defaults, **options},
                ),
                now,
            )
            stack.callback(broker.stop)
            return broker

        yield start


@pytest.fixture
def local_broker(start_broker: Callable[..., LocalBroker]) -> LocalBroker:
    """A broker here, with accounts cam1, cam2 and watcher."""
    return start_broker()


@pytest.fixture(params=["amqtt", "mosquitto"])
def any_broker(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> Iterator[Endpoint]:
    """The repaired amqtt, then the reference, with the same certificates, accounts and rules."""
    if request.param == "amqtt":
        broker: LocalBroker = request.getfixturevalue("start_broker")()
        yield broker.endpoint
        return
    authority = Authority(data / "authority", NAMES)
    authority.ensure()
    anchor = authority.write_anchors(tmp_path)[0].path
    passwords = {name: f"secret of {name}" for name in ("cam1", "cam2", "watcher")}
    server_file = authority.server_file(CHAINS[0])
    limit = Limits().max_packet
    with running_mosquitto(tmp_path, server_file, anchor, passwords, limit) as endpoint:
        yield endpoint
