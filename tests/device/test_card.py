"""The spool on an SD card: a real FAT, which becomes full and loses power in mid-write."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from host_tools.virtual_camera.sensor import Scene
from tests.brokers import BrokerProcess, wait_for
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving
from tests.faults.proxy import FaultProxy, Mode, proxied
from tests.faults.recorder import Recorder

CARD_BYTES = 1 << 20


@pytest.fixture
def network(broker: BrokerProcess) -> Iterator[FaultProxy]:
    """The way to the broker, which is closed."""
    with proxied(broker.ready["ecdsa"]["port"]) as proxy:
        proxy.set_mode(Mode.REFUSE)
        yield proxy


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(Scene("cam1"))


@pytest.fixture
def camera(
    make_camera: Callable[..., CameraUnderTest],
    broker: BrokerProcess,
    network: FaultProxy,
    recorder: Recorder,
) -> CameraUnderTest:
    """A camera with a card in it and no way to its broker."""
    camera = make_camera(broker, frames=recorder, sd_bytes=CARD_BYTES)
    camera.broker["port"] = network.port
    return camera


def test_a_full_card(
    camera: CameraUnderTest, network: FaultProxy, broker: BrokerProcess, recorder: Recorder
) -> None:
    # No limit but the card's own: its last cluster is asked for.
    camera.config["camera"]["interval_s"] = 0.05
    camera.config["spool"] |= {"most_kb": 100_000, "free_kb": 0}
    with receiving(broker.endpoint()) as receiver, camera:
        camera.line("dropped: full", wait_s=60)
        wait_for(lambda: recorder.total() > 300, "a card written twice", 60)
        network.set_mode(Mode.PASS)
        first = receiver.snapshot().fields["seq"]
        health = receiver.report("health")
        dropped = [each for each in health["drops"] if each[3] == "full"]
        assert dropped == [[1, 1, first - 1, "full"]]
        for seq in range(first + 1, first + 100):
            assert receiver.snapshot().fields["seq"] == seq
    assert not (camera.flash / "spool").exists()


def test_power_cuts_in_the_middle_of_writing(
    camera: CameraUnderTest, network: FaultProxy, broker: BrokerProcess, recorder: Recorder
) -> None:
    rng = random.Random(7)
    camera.config["camera"]["interval_s"] = 0.05
    camera.power_on()
    for _ in range(8):
        before = recorder.total()
        wait_for(lambda least=before + 4: recorder.total() >= least, "snapshots")
        # At any instant, and not when a test has just seen something.
        time.sleep(rng.uniform(0, 0.08))
        camera.power_cut()
        camera.restart()
    got: defaultdict[int, list[int]] = defaultdict(list)
    with receiving(broker.endpoint()) as receiver:
        network.set_mode(Mode.PASS)
        while 9 not in got:
            fields = receiver.snapshot().fields
            got[fields["boot"]].append(fields["seq"])
        health = receiver.report("health", spool_from=None)
        camera.power_cut()
    assert health["drops"] == []
    assert not [line for line in camera.console if "Traceback" in line]
    for boot, start in enumerate(recorder.starts[:8], 1):
        taken = len(start.digests)
        # All but the one that was in RAM, or half on the card.
        assert got[boot] in (list(range(1, taken + 1)), list(range(1, taken)))


def test_a_card_that_is_taken_out(
    make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess, network: FaultProxy
) -> None:
    camera = make_camera(broker)
    camera.broker["port"] = network.port
    camera.config["spool"]["folder"] = "/sdcard/spool"
    with receiving(broker.endpoint()) as receiver, camera:
        camera.line("snapshots 5 to 5 of boot 1 dropped: unstored")
        network.set_mode(Mode.PASS)
        first = receiver.snapshot().fields["seq"]
        assert receiver.report("health")["drops"] == [[1, 1, first - 1, "unstored"]]
