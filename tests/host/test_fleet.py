"""`anchorcam fleet` against a real broker: what it sends are snapshots like any camera's."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import BrokerProcess, running_broker
from tests.device.receiving import receiving
from tests.host.commands import Done, anchorcam

CONFIG = {
    "camera": {"id": "cam1"},
    "network": {"kind": "ethernet"},
    "brokers": [{"host": "localhost", "user": "cam1", "anchors": ["root.der"]}],
}


@pytest.fixture
def broker(tmp_path: Path, made_once: Path) -> Iterator[BrokerProcess]:
    data = tmp_path / "broker"
    data.mkdir(mode=0o700)
    shutil.copytree(made_once / "authority", data / "authority")
    with running_broker(data) as broker:
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
        (tmp_path / "anchors").mkdir()
        shutil.copy(broker.endpoint().anchor, tmp_path / "anchors/root.der")
        shutil.copy(broker.ready["secrets"], tmp_path / "secrets.json")
        yield broker


def fleet(broker: BrokerProcess, folder: Path, *options: str) -> Done:
    port = broker.ready["ecdsa"]["port"]
    return anchorcam("fleet", f"--port={port}", "--seconds=1", *options, cwd=folder)


def test_every_camera_sends_stamped_snapshots(broker: BrokerProcess, tmp_path: Path) -> None:
    with receiving(broker.endpoint(), "fleet-3") as receiver:
        done = fleet(
            broker, tmp_path, "--data=broker", "--cameras=3", "--rate=10", "--size=5000", "--json"
        )
        assert done.status == 0, done.err
        said = json.loads(done.out)
        assert (said["cameras"], said["held"], said["unacknowledged"]) == (3, 3, 0)
        assert receiver.report("state")["state"] == "online"
        seqs = [receiver.snapshot().fields["seq"] for _ in range(said["acknowledged"] // 3)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert said["acknowledged"] >= 3


def test_as_fast_as_they_are_acknowledged(broker: BrokerProcess, tmp_path: Path) -> None:
    done = fleet(broker, tmp_path, "--data=broker", "--cameras=2", "--rate=0")
    assert done.status == 0, done.err
    assert "cameras held            2 of 2" in done.out


def test_accounts_that_are_not_there(broker: BrokerProcess, tmp_path: Path) -> None:
    done = fleet(broker, tmp_path)
    assert done.status == 2
    assert "has no password for fleet-1" in done.err
    assert "--data" in done.err


def test_accounts_that_the_broker_does_not_know(broker: BrokerProcess, tmp_path: Path) -> None:
    secrets = json.loads((tmp_path / "secrets.json").read_text())
    secrets["passwords"]["fleet-1"] = "not-the-password"
    (tmp_path / "secrets.json").write_text(json.dumps(secrets))
    done = fleet(broker, tmp_path, "--cameras=1")
    assert done.status == 1
    assert "the broker refuses fleet-1" in done.out
    assert "not-the-password" not in done.out + done.err
