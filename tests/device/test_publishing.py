"""The good path: real MicroPython, real mbedTLS, the real broker, snapshots that are proven."""

import io
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from host_tools.deploy import umqtt
from host_tools.virtual_camera.sensor import FRAME_MAX_BYTES, Folder
from tests.brokers import BrokerProcess, running_broker
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving


def jpeg_of(size: int, folder: Path) -> bytes:
    """A JPEG of exactly `size` bytes, put into the folder."""
    out = io.BytesIO()
    Image.effect_noise((64, 48), 90).save(out, "JPEG")
    data = out.getvalue()
    # Bytes behind the end of the image belong to the file and must arrive with it.
    data += random.Random(size).randbytes(size - len(data))
    (folder / f"{size}.jpg").write_bytes(data)
    return data


def test_snapshots_arrive_intact_and_in_order(
    camera: CameraUnderTest, broker: BrokerProcess
) -> None:
    with receiving(broker.endpoint()) as receiver, camera:
        snapshots = [receiver.snapshot() for _ in range(5)]
        birth = receiver.report("state", state="online")
        health = receiver.report("health")
    boots = {snapshot.fields["boot"] for snapshot in snapshots}
    assert [snapshot.fields["seq"] for snapshot in snapshots] == [1, 2, 3, 4, 5]
    assert boots == {1} == {birth["boot"]}
    assert len({snapshot.original for snapshot in snapshots}) == 5
    assert health["anchor"] == "root.der"
    assert health["clock"] == "ntp"
    # A leaf lives 90 days, the roots for decades: read from the verified chain itself.
    assert 80 <= health["leaf_days"] <= 90
    assert health["anchor_days"] > min(health["chain_days"]) > 365


@pytest.mark.parametrize("release", sorted(umqtt.PINS))
def test_each_release_of_umqtt_simple(
    release: str,
    make_camera: Callable[..., CameraUnderTest],
    broker: BrokerProcess,
    library: Path,
) -> None:
    path = umqtt.cached(release)
    if umqtt.release_of(library) == release:
        path = library
    elif not path.is_file():
        pytest.skip(f"umqtt.simple {release} is not to be had here; name it in UMQTT_SIMPLE")
    camera = make_camera(broker, library=path)
    with receiving(broker.endpoint()) as receiver, camera:
        assert [receiver.snapshot().fields["seq"] for _ in range(3)] == [1, 2, 3]


def test_the_users_own_frames_are_sent_as_they_are(
    make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    # Around the size of the record buffer with and without the stamp, and the largest.
    sizes = (3000, 3800, 4096, 8192, 100_000, FRAME_MAX_BYTES)
    frames = {jpeg_of(size, folder) for size in sizes}
    camera = make_camera(broker, frames=Folder(folder))
    with receiving(broker.endpoint()) as receiver, camera:
        got = {receiver.snapshot().original for _ in sizes}
    assert got == frames


def test_a_snapshot_that_the_broker_will_not_have(
    make_camera: Callable[..., CameraUnderTest], tmp_path: Path, made_once: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for size in (10_000, 10_001, 90_000):
        jpeg_of(size, folder)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    shutil.copytree(made_once / "authority", data / "authority")
    with running_broker(data, "--max-packet=50000") as broker:
        camera = make_camera(broker, frames=Folder(folder))
        with receiving(broker.endpoint()) as receiver, camera:
            seqs = [receiver.snapshot().fields["seq"] for _ in range(4)]
            # 10000, 10001 and 90000 bytes in turn: every third is given up.
            assert seqs == [1, 2, 4, 5]
            camera.line("snapshots 3 to 3 of boot 1 dropped: refused")
            receiver.report("health", drops=[[1, 3, 3, "refused"]])


def test_rsa_chain(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    camera.broker["port"] = broker.ready["rsa"]["port"]
    with receiving(broker.endpoint()) as receiver, camera:
        receiver.snapshot()


def test_each_boot_has_a_number_of_its_own(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    with receiving(broker.endpoint()) as receiver:
        for boot in (1, 2, 3):
            camera.power_on()
            assert receiver.report("state", state="online", boot=boot)["reset_cause"] == "pwron"
            camera.power_cut()
            assert receiver.report("state", state="offline")["boot"] == boot


def test_a_broker_that_is_killed_and_comes_back(
    make_camera: Callable[..., CameraUnderTest], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = BrokerProcess(data)
    port = first.ready["ecdsa"]["port"]
    with make_camera(first) as camera:
        with receiving(first.endpoint()) as receiver:
            receiver.snapshot()
        first.stop(signal.SIGKILL)
        camera.line("broker_closed")
        camera.line("refused")
        with (
            running_broker(data, f"--port={port}") as second,
            receiving(second.endpoint()) as receiver,
        ):
            snapshots = [receiver.snapshot() for _ in range(3)]
            # Retained, so it does not matter who connected first.
            assert receiver.report("state", state="online")["conn"] >= 2
            assert {snapshot.fields["boot"] for snapshot in snapshots} == {1}
            seqs = [snapshot.fields["seq"] for snapshot in snapshots]
            assert seqs == list(range(seqs[0], seqs[0] + 3))
            camera.power_cut()


def test_a_sensor_that_stops_for_a_while(
    make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess
) -> None:
    works = [True]
    camera = make_camera(broker, sensor_works=lambda: works[0])
    with receiving(broker.endpoint()) as receiver, camera:
        seq = receiver.snapshot().fields["seq"]
        works[0] = False
        camera.line("camera: the image sensor gave no frame", "timed out")
        works[0] = True
        # No number is used up by a frame that never was.
        for _ in range(3):
            seq, before = receiver.snapshot().fields["seq"], seq
            assert seq == before + 1
    assert not [line for line in camera.console if "trying again" in line]


def test_the_watchdog_ends_a_camera_that_hangs(
    camera: CameraUnderTest, broker: BrokerProcess
) -> None:
    camera.power_on()
    camera.line("connected to")
    camera.power_cut()
    # A main.py that starts the watchdog and then never feeds it again.
    (camera.flash / "main.py").write_text(
        "import machine\n"
        "print('cause', machine.reset_cause())\n"
        "machine.WDT(timeout=200)\n"
        "while True: pass\n"
    )
    camera.restart()
    camera.line("cause 1")
    camera.line("the watchdog has bitten")
    camera.line("cause 3")
