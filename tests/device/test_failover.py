"""Several brokers and several anchors: the first that works, all of them, and back again."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.brokers import BrokerProcess, running_broker
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving
from tests.faults.proxy import FaultProxy, Mode, proxied
from tests.scripted import self_signed


@pytest.fixture
def network(broker: BrokerProcess) -> Iterator[FaultProxy]:
    """The way to the broker of the camera's settings that comes first."""
    with proxied(broker.ready["ecdsa"]["port"]) as proxy:
        yield proxy


@pytest.fixture
def two_brokers(camera: CameraUnderTest, network: FaultProxy, broker: BrokerProcess) -> None:
    """Two brokers in the settings: the first by way of `network`, both with the same account.

    They are two listeners of one process: one client id there, so the second puts out the first.
    """
    camera.broker["port"] = network.port
    second = dict(camera.broker) | {"port": broker.ready["rsa"]["port"]}
    camera.config["brokers"].append(second)
    camera.config["recovery"] |= {"next_broker_after": 2, "return_after_s": 1}


def test_a_root_that_was_replaced(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    camera.broker["anchors"] = ["old.der", "bad.der", "root.der"]
    camera.anchors |= {"old.der": self_signed().der, "bad.der": b"\x30\x03\x02\x01\x00"}
    with receiving(broker.endpoint()) as receiver:
        camera.power_on()
        receiver.snapshot()
        assert receiver.report("health", anchor="root.der")["failed_untrusted"] == 1
        # Not one pause: the next anchor is tried at once.
        assert not [line for line in camera.console if "trying again" in line]
        # And the one that was trusted is the first the next time.
        after = len(camera.console)
        broker.endpoint().raw("cam1").vanish()
        camera.line("connected to", after=after)
    assert len([line for line in camera.console if "old.der: trying the next" in line]) == 1


@pytest.mark.usefixtures("two_brokers")
def test_the_second_broker_and_back_to_the_first(
    camera: CameraUnderTest, network: FaultProxy
) -> None:
    network.set_mode(Mode.REFUSE)
    with camera:
        first, second = (
            f"connected to localhost:{each['port']}" for each in camera.config["brokers"]
        )
        camera.line(second)
        refused = [line for line in camera.console if "refused" in line]
        assert len(refused) == 2
        camera.line("localhost is still out of reach: refused")
        network.set_mode(Mode.PASS)
        camera.line(first)
        after = len(camera.console)
        network.set_mode(Mode.REFUSE)
        camera.line(second, after=after)
    assert not [line for line in camera.console if "Traceback" in line]


@pytest.mark.usefixtures("two_brokers")
def test_while_it_looks_for_the_first_it_keeps_the_second(
    camera: CameraUnderTest, network: FaultProxy
) -> None:
    network.set_mode(Mode.REFUSE)
    with camera:
        camera.line(f"connected to localhost:{camera.config['brokers'][1]['port']}")
        network.set_mode(Mode.STALL)
        for _ in range(2):
            camera.line("localhost is still out of reach: timeout", after=len(camera.console))
        assert len([line for line in camera.console if "connected to" in line]) == 1


def test_a_mirror_publishes_to_all(
    make_camera: Callable[..., CameraUnderTest], data: Path, broker: BrokerProcess
) -> None:
    # The same accounts in both, as with two brokers of one owner.
    for name in ("accounts.json", "secrets.json"):
        shutil.copy(Path(broker.ready["secrets"]).with_name(name), data)
    with running_broker(data) as other, proxied(other.ready["ecdsa"]["port"]) as network:
        camera = make_camera(other)
        camera.config["delivery"]["mode"] = "mirror"
        camera.broker["port"] = network.port
        camera.anchors["second.der"] = broker.endpoint().anchor.read_bytes()
        camera.config["brokers"].append(
            camera.broker | {"port": broker.ready["ecdsa"]["port"], "anchors": ["second.der"]}
        )
        with receiving(other.endpoint()) as one, receiving(broker.endpoint()) as two:
            camera.power_on()
            before = [two.snapshot().fields["seq"] for _ in range(5)]
            network.set_mode(Mode.STALL)
            # One that is away does not keep the other from its snapshots.
            after = [two.snapshot().fields["seq"] for _ in range(30)]
            network.calm()
            wanted = after[-1]
            # Perhaps one of them twice: its PUBACK was on its way.
            got: set[int] = set()
            while not got.issuperset(range(1, wanted + 1)):
                got.add(one.snapshot().fields["seq"])
            camera.power_cut()
    assert before + after == list(range(1, wanted + 1))
