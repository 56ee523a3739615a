"""Store and forward: what no broker takes now is kept, sent later, or counted as dropped."""

import hashlib
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import BrokerProcess, running_broker, wait_for
from tests.cameras import CameraUnderTest
from tests.device.receiving import Receiver, receiving
from tests.faults.proxy import FaultProxy, Mode, proxied


@dataclass
class Outage:
    """A camera, its broker and a network in between that is away until `over()`."""

    camera: CameraUnderTest
    network: FaultProxy

    def over(self) -> None:
        self.network.set_mode(Mode.PASS)


@pytest.fixture
def outage(broker: BrokerProcess, make_camera: Callable[..., CameraUnderTest]) -> Iterator[Outage]:
    camera = make_camera(broker)
    with proxied(broker.ready["ecdsa"]["port"]) as network:
        network.set_mode(Mode.REFUSE)
        camera.broker["port"] = network.port
        yield Outage(camera, network)
        camera.power_cut()


def stored(camera: CameraUnderTest) -> list[Path]:
    """The snapshots in its spool, oldest first."""
    return sorted(camera.flash.glob("spool/0/*/*.JPG"))


def until_settled(receiver: Receiver) -> dict[str, object]:
    """The first health message that says that nothing is waiting."""
    return receiver.report("health", spool_from=None)


def test_what_was_taken_meanwhile_arrives_after_all(outage: Outage, broker: BrokerProcess) -> None:
    camera = outage.camera
    with camera:
        wait_for(lambda: len(stored(camera)) >= 10, "ten snapshots in the spool")
        with receiving(broker.endpoint()) as receiver:
            outage.over()
            seqs = [receiver.snapshot().fields["seq"] for _ in range(15)]
    assert seqs == list(range(1, 16))


def test_the_live_one_first(outage: Outage, broker: BrokerProcess) -> None:
    camera = outage.camera
    camera.config["delivery"]["first"] = "live"
    with camera:
        wait_for(lambda: len(stored(camera)) >= 10, "ten snapshots in the spool")
        with receiving(broker.endpoint()) as receiver:
            outage.over()
            seqs = [receiver.snapshot().fields["seq"] for _ in range(15)]
    assert seqs[0] > 10
    # The backlog is in order all the same.
    backlog = [seq for seq in seqs if seq < seqs[0]]
    assert backlog == list(range(1, len(backlog) + 1))


def test_it_outlives_power_cuts(outage: Outage, broker: BrokerProcess) -> None:
    camera = outage.camera
    for cut in range(3):
        if cut == 0:
            camera.power_on()
        else:
            camera.restart()
        so_far = 3 * (cut + 1)
        wait_for(lambda least=so_far: len(stored(camera)) >= least, "three more snapshots")
        camera.power_cut()
    kept = len(stored(camera))
    with receiving(broker.endpoint()) as receiver:
        outage.over()
        camera.restart()
        got = [receiver.snapshot().fields for _ in range(kept)]
        camera.power_cut()
    assert [fields["boot"] for fields in got] == sorted(fields["boot"] for fields in got)
    assert {fields["boot"] for fields in got} == {1, 2, 3}


def told(receiver: Receiver, last: int, reason: str) -> dict[str, Any]:
    """The health message with which 1 to last of boot 1 are told as dropped, and no more."""
    so_far = 0
    while so_far < last:
        # The last may have been dropped after the first message was written.
        health: dict[str, Any] = receiver.report("health")
        for boot, begin, end, why in health["drops"]:
            assert (boot, why) == (1, reason)
            assert begin <= so_far + 1
            so_far = max(so_far, end)
    assert so_far == last
    return health


def test_the_oldest_is_dropped_and_told(outage: Outage, broker: BrokerProcess) -> None:
    camera = outage.camera
    camera.config["spool"]["most_kb"] = 40
    with camera:
        camera.line("snapshots 1 to 1 of boot 1 dropped: full")
        wait_for(lambda: stored(camera) and int(stored(camera)[0].stem, 16) > 10, "ten drops")
        assert sum(path.stat().st_size for path in stored(camera)) <= 40 * 1024
        with receiving(broker.endpoint()) as receiver:
            outage.over()
            first = receiver.snapshot().fields["seq"]
            health = told(receiver, first - 1, "full")
            assert health["spool_from"] is None or health["spool_from"][1] >= first


def test_without_a_spool(outage: Outage, broker: BrokerProcess) -> None:
    camera = outage.camera
    camera.config["spool"]["most_kb"] = 0
    with camera:
        camera.line("snapshots 5 to 5 of boot 1 dropped: unstored")
        with receiving(broker.endpoint()) as receiver:
            outage.over()
            told(receiver, receiver.snapshot().fields["seq"] - 1, "unstored")
    assert not (camera.flash / "spool").exists()


def test_what_a_power_cut_or_a_worn_card_leaves_behind(
    outage: Outage, broker: BrokerProcess
) -> None:
    camera = outage.camera
    with camera:
        wait_for(lambda: len(stored(camera)) >= 8, "eight snapshots in the spool")
    files = stored(camera)
    files[0].write_bytes(files[0].read_bytes()[:1000])
    files[1].write_bytes(b"")
    damaged = bytearray(files[2].read_bytes())
    damaged[500] ^= 1
    files[2].write_bytes(damaged)
    files[3].unlink()
    files[3].mkdir()
    (files[3] / "file").touch()
    (files[0].parent / "NEW.PRT").write_bytes(b"\xff\xd8half")
    (files[0].parent / "notes.txt").touch()
    (camera.flash / "spool/0/FSCK0000.REC").touch()
    shutil.copy(files[4], files[4].with_name("FFFFFFFF.JPG"))
    digest = hashlib.sha256(files[5].read_bytes()[:-32]).digest()
    assert files[5].read_bytes()[-32:] == digest
    with receiving(broker.endpoint()) as receiver:
        outage.over()
        camera.restart()

        got = [receiver.snapshot().fields for _ in range(len(files) - 3)]
        health = until_settled(receiver)
        camera.power_cut()
    assert [fields["seq"] for fields in got if fields["boot"] == 1] == [
        *range(5, len(files) + 1),
        5,
    ]
    assert health["drops"] == [[1, 2, 3, "damaged"], [1, 4, 4, "damaged"], [1, 1, 1, "damaged"]]
    leftovers = [path for path in (camera.flash / "spool/0").rglob("*") if path.is_file()]
    assert leftovers == stored(camera)


def test_a_broker_that_dies_in_the_middle(
    data: Path, make_camera: Callable[..., CameraUnderTest]
) -> None:
    first = BrokerProcess(data)
    camera = make_camera(first)
    with proxied(first.ready["ecdsa"]["port"]) as network:
        camera.broker["port"] = network.port
        with receiving(first.endpoint()) as receiver:
            camera.power_on()
            before = [receiver.snapshot().fields["seq"] for _ in range(3)]
            network.set_mode(Mode.HALF_OPEN)
            wait_for(lambda: len(stored(camera)) >= 3, "snapshots in the spool")
            first.stop(signal.SIGKILL)
        with running_broker(data) as second, receiving(second.endpoint()) as receiver:
            network.upstream = second.ready["ecdsa"]["port"]
            network.calm()
            after = [receiver.snapshot().fields["seq"] for _ in range(10)]
            camera.power_cut()
    assert after == list(range(after[0], after[0] + 10))
    # What the first broker had acknowledged and nobody had received, is lost with it.
    assert after[0] <= before[-1] + 3
