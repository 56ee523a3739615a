"""The ladder: back-off, radio, hard reset; and what outlives each step."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.clock import answer
from host_tools.virtual_camera.sensor import Scene
from tests.brokers import BrokerProcess, running_broker, wait_for
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving
from tests.faults.proxy import FaultProxy, Mode, proxied
from tests.faults.recorder import Recorder
from tests.scripted import clock_answering

DAY_S = 86400


@pytest.fixture
def network(broker: BrokerProcess) -> Iterator[FaultProxy]:
    """The way to the broker, which is closed."""
    with proxied(broker.ready["ecdsa"]["port"]) as proxy:
        proxy.set_mode(Mode.REFUSE)
        yield proxy


def test_the_radio_is_reset_when_nothing_helps(
    camera: CameraUnderTest, network: FaultProxy, broker: BrokerProcess
) -> None:
    camera.broker["port"] = network.port
    camera.config["recovery"]["radio_after"] = 3
    with receiving(broker.endpoint()) as receiver, camera:
        camera.line("resetting the network interface")
        assert len([line for line in camera.console if "] refused: " in line]) == 3
        network.set_mode(Mode.PASS)
        seq = receiver.snapshot().fields["seq"]
    assert seq == 1


def test_a_hard_reset_at_last_and_nothing_is_lost_by_it(
    make_camera: Callable[..., CameraUnderTest], network: FaultProxy, broker: BrokerProcess
) -> None:
    recorder = Recorder(Scene("cam1"))
    camera = make_camera(broker, frames=recorder)
    camera.broker["port"] = network.port
    camera.config["camera"]["interval_s"] = 0.5
    camera.config["recovery"]["reboot_after_s"] = 10
    with receiving(broker.endpoint()) as receiver, camera:
        camera.line("no broker was reached for 10 s")
        camera.line("boot 2")
        network.set_mode(Mode.PASS)
        birth = receiver.report("state", state="online")
        taken = len(recorder.starts[0].digests)
        seqs = [receiver.snapshot().fields["seq"] for _ in range(taken)]
        # Told once: the next connection is not one after such a reset.
        network.cut_now()
        again = receiver.report("state", state="online", conn=birth["conn"] + 1)
    assert (birth["boot"], birth["reset_cause"], birth["restarted_for"]) == (2, "hard", "refused")
    assert seqs == list(range(1, taken + 1))
    assert again["restarted_for"] is None


def test_without_wifi_it_goes_on_taking_snapshots(
    camera: CameraUnderTest, broker: BrokerProcess
) -> None:
    camera.config["limits_s"]["link"] = 1
    camera.set_link(False)
    with receiving(broker.endpoint()) as receiver, camera:
        camera.line("link: the Wi-Fi or Ethernet link did not come up", "not up after 1000 ms")
        wait_for(lambda: len(list(camera.flash.glob("spool/0/*/*.JPG"))) >= 10, "a spool of ten")
        camera.set_link(True)
        assert [receiver.snapshot().fields["seq"] for _ in range(10)] == list(range(1, 11))


def test_without_a_sensor_it_goes_on_telling_its_health(
    make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess
) -> None:
    camera = make_camera(broker, sensor_works=lambda: False)
    with receiving(broker.endpoint()) as receiver, camera:
        assert receiver.report("health", frame_errors=1)["captured"] == 0
        health = receiver.report("health", frame_errors=2)
    assert health["failed_camera"] == 2
    assert health["last_error"] == "camera"


def test_no_time_before_one_that_was_proven(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    honest = camera.config["clock"]["servers"][0]
    proven = camera.flash / "state/time"
    with receiving(broker.endpoint()) as receiver:
        with camera:
            receiver.report("state", state="online")
            wait_for(proven.exists, "the time to be kept")
        now = int(proven.read_text())
        with clock_answering(lambda asked: answer(asked, now - DAY_S)) as liar:
            camera.config["clock"]["servers"] = [liar, honest]
            with camera:
                health = receiver.report("health", boot=2)
    assert (health["clock_source"], health["clock_refused"]) == (honest, 1)
    # At most once a day: it was not written again.
    assert int(proven.read_text()) == now


def test_a_clock_that_is_years_ahead(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    honest = camera.config["clock"]["servers"][0]

    def lie(asked: bytes) -> bytes | None:
        return answer(asked, time.time() + 40 * 365 * DAY_S)

    with clock_answering(lie) as liar, receiving(broker.endpoint()) as receiver:
        camera.config["clock"]["servers"] = [liar, honest]
        with camera:
            camera.line("expired: a certificate has expired")
            assert receiver.report("health", clock_source=honest)
    assert int((camera.flash / "state/time").read_text()) < 4_000_000_000


def test_a_chain_that_was_renewed_is_told(
    data: Path, make_camera: Callable[..., CameraUnderTest]
) -> None:
    births = []
    port = 0
    for renewed in (False, False, True):
        if renewed:
            (data / "authority/ecdsa.pem").unlink()
        with running_broker(data, f"--port={port}") as broker, receiving(broker.endpoint()) as seen:
            if not port:
                camera = make_camera(broker)
            port = broker.ready["ecdsa"]["port"]
            camera.config["clock"]["servers"] = [f"127.0.0.1:{broker.ready['clock']['port']}"]
            with camera:
                births.append(seen.report("state", state="online"))
    assert [birth["chain_changed"] for birth in births] == [None, None, "leaf"]
    assert {birth["anchor"] for birth in births} == {"root.der"}
