"""A camera that accepts anchors, and a way to a broker whose chain can change."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.brokers import BrokerProcess
from tests.cameras import CameraUnderTest
from tests.device.anchors.sending import OLD, Roots, Sender
from tests.faults.proxy import FaultProxy, proxied


@pytest.fixture
def network(zoo: BrokerProcess) -> Iterator[FaultProxy]:
    """The way to the broker; its chain is OLD's until `upstream` is set to NEW's."""
    with proxied(zoo.ready["zoo"][OLD]) as proxy:
        yield proxy


@pytest.fixture
def camera(
    make_camera: Callable[..., CameraUnderTest], zoo: BrokerProcess, network: FaultProxy
) -> CameraUnderTest:
    """A camera with X1 alone that accepts others."""
    camera = make_camera(zoo)
    camera.broker["port"] = network.port
    camera.config["camera"]["accept_anchors"] = True
    return camera


@pytest.fixture
def sender(zoo: BrokerProcess) -> Sender:
    return Sender(zoo)


@pytest.fixture
def roots(zoo_data: Path) -> Roots:
    """A root by its name, DER."""
    return lambda name: (zoo_data / f"anchors/test-{name}.der").read_bytes()
