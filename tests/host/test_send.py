"""`anchorcam send` against a real camera and broker."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.virtual_camera.micropython import MicroPython
from tests.brokers import BrokerProcess, running_broker
from tests.cameras import CameraUnderTest
from tests.host.commands import anchorcam


@pytest.fixture
def broker(tmp_path: Path, made_once: Path) -> Iterator[BrokerProcess]:
    data = tmp_path / "broker"
    data.mkdir(mode=0o700)
    shutil.copytree(made_once / "authority", data / "authority")
    with running_broker(data) as broker:
        yield broker


def test_it_answers(
    tmp_path: Path, runtime: MicroPython, library: Path, broker: BrokerProcess
) -> None:
    camera = CameraUnderTest(tmp_path, runtime, library, broker)
    camera.config["camera"]["interval_s"] = 3600
    with camera:
        (tmp_path / "anchors/root.der").write_bytes(camera.anchor)
        camera.line("listening for commands")
        done = anchorcam("send", "cam1", "snapshot", cwd=tmp_path)
        assert (done.status, done.out) == (0, "cam1: done, seq 2\n"), done.err
        done = anchorcam("send", "cam1", "quality", "30", cwd=tmp_path)
        assert (done.status, done.out) == (0, "cam1: done\n"), done.err
        done = anchorcam("send", "cam1", "interval", "60", cwd=tmp_path)
        assert (done.status, done.out) == (0, "cam1: done\n"), done.err
        assert json.loads((camera.flash / "state/changes").read_text())["values"] == {
            "interval_s": 60,
            "quality": 30,
        }
        done = anchorcam("send", "cam1", "quality", "300", cwd=tmp_path)
        assert done.status == 1
        assert "cam1 refuses: quality must be a whole number from 1 to 100" in done.err
        done = anchorcam("send", "cam2", "health", "--timeout=0.5", cwd=tmp_path)
        assert done.status == 1
        assert "cam2 did not answer within 0.5 s" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a/b", "health"), "is no camera id"),
        (("cam1", "interval"), "interval needs a number: seconds"),
        (("cam1", "quality", "nan"), "quality needs a number: JPEG quality, 1 to 100"),
        (("cam1", "health", "5"), "health takes no value"),
        (("cam1", "dance"), "dance"),
    ],
)
def test_usage(arguments: tuple[str, ...], words: str) -> None:
    done = anchorcam("send", *arguments)
    assert done.status == 2
    assert words in done.err
