"""Commands: each is answered once, and does what it says, on the real thing."""

import itertools
import json
import queue
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest

from tests.brokers import DEADLINE_S, BrokerProcess
from tests.cameras import CameraUnderTest
from tests.device.receiving import Receiver, receiving


class Sender:
    """Sends commands to cam1, and takes the answers in the order in which they come."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._ids = itertools.count(1)
        client.on_message = lambda _c, _u, message: self._answers.put(json.loads(message.payload))
        client.subscribe("cameras/cam1/cmd/result", 1)

    def send(self, payload: bytes, retain: bool = False) -> None:
        self._client.publish("cameras/cam1/cmd", payload, 1, retain).wait_for_publish(DEADLINE_S)

    def ask(self, verb: str, **rest: Any) -> dict[str, Any]:
        """The answer to a command."""
        command_id = f"t{next(self._ids)}"
        self.send(json.dumps({"id": command_id, "do": verb, **rest}).encode())
        answer = self.answer()
        assert answer.pop("id") == command_id
        return answer

    def answer(self) -> dict[str, Any]:
        return self._answers.get(timeout=DEADLINE_S)


@pytest.fixture
def receiver(camera: CameraUnderTest, broker: BrokerProcess) -> Iterator[Receiver]:
    """What comes from a camera that takes one snapshot, and then none for an hour."""
    camera.config["camera"]["interval_s"] = 3600
    with receiving(broker.endpoint()) as receiver, camera:
        receiver.snapshot()
        # The first one is sent when the camera listens to commands already.
        receiver.report("health", boot=1)
        yield receiver


@pytest.fixture
def sender(receiver: Receiver, broker: BrokerProcess) -> Iterator[Sender]:
    with broker.endpoint().paho("watcher", client_id="watcher/sender") as client:
        yield Sender(client)


def test_snapshot_now(sender: Sender, receiver: Receiver) -> None:
    answer = sender.ask("snapshot")
    assert answer == {"ok": True, "seq": 2}
    assert receiver.snapshot().fields["seq"] == 2


def test_health_now(sender: Sender, receiver: Receiver) -> None:
    assert sender.ask("health") == {"ok": True}
    assert receiver.report("health")["boot"] == 1


def test_set_works_at_once_and_after_a_restart(
    sender: Sender, receiver: Receiver, camera: CameraUnderTest
) -> None:
    coarse = sender.ask("set", interval_s=0.1, quality=5)
    assert coarse == {"ok": True}
    small = [receiver.snapshot() for _ in range(4)][-1]
    camera.power_cut()
    camera.restart()
    after = [receiver.snapshot() for _ in range(3)][-1]
    assert after.fields["boot"] == 2
    assert len(after.original) < len(small.original) * 1.5
    # A deploy that brings another config.json is what counts from then on.
    camera.power_cut()
    camera.config["camera"]["quality"] = 95
    camera.config["camera"]["interval_s"] = 0.2
    camera.power_on()
    while (fresh := receiver.snapshot()).fields["boot"] != 3:
        pass
    assert len(fresh.original) > len(after.original) * 1.5


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ({}, "nothing to set"),
        ({"quality": 101}, "quality must be a whole number from 1 to 100"),
        ({"interval_s": "1"}, "interval_s must be a number"),
        ({"interval_s": 5, "id2": 1}, "id2 cannot be set; interval_s and quality can"),
    ],
)
def test_set_nonsense(sender: Sender, rest: dict[str, Any], words: str) -> None:
    answer = sender.ask("set", **rest)
    assert answer["ok"] is False
    assert words in answer["error"]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"id": "a b", "do": "health"}',
        b'{"id": 5, "do": "health"}',
        b"[" * 900,
        b'{"id": "x", "do": "health", "more": "' + b"x" * 3072 + b'"}',
    ],
    ids=["empty", "text", "bytes", "list", "nothing", "bad id", "number", "deep", "long"],
)
def test_malformed(sender: Sender, request_: bytes) -> None:
    sender.send(request_)
    answer = sender.answer()
    assert (answer["id"], answer["ok"]) == (None, False)
    assert "at most 3 KiB" in answer["error"]
    assert sender.ask("health") == {"ok": True}


def test_longer_than_a_camera_reads(
    sender: Sender, receiver: Receiver, camera: CameraUnderTest
) -> None:
    # Retained: if it ended the connection it would do so on every one that follows.
    sender.send(b"x" * 100_000, retain=True)
    try:
        assert "at most 3 KiB" in sender.answer()["error"]
        assert sender.ask("health") == {"ok": True}
        camera.power_cut()
        camera.restart()
        assert "at most 3 KiB" in sender.answer()["error"]
        assert sender.ask("health") == {"ok": True}
    finally:
        sender.send(b"", retain=True)
    assert not [line for line in camera.console if "trying again" in line]


def test_unknown(sender: Sender) -> None:
    assert "must be one of snapshot, health, set" in sender.ask("fly")["error"]
    assert "nothing beside" in sender.ask("snapshot", now=True)["error"]
    sender.send(b'{"id": "n"}')
    assert '"do" must be one of' in sender.answer()["error"]


def test_the_same_id_is_not_run_twice(sender: Sender) -> None:
    sender.send(b'{"id": "same", "do": "set", "quality": 20}')
    assert sender.answer() == {"id": "same", "ok": True}
    sender.send(b'{"id": "same", "do": "set", "quality": 30}')
    assert sender.answer() == {"id": "same", "ok": True, "repeated": True}


def test_reboot_once_even_when_the_command_is_retained(
    sender: Sender, receiver: Receiver, camera: CameraUnderTest
) -> None:
    sender.send(b'{"id": "again", "do": "reboot"}', retain=True)
    try:
        assert sender.answer() == {"id": "again", "ok": True}
        birth = receiver.report("state", state="online", boot=2)
        assert birth["reset_cause"] == "hard"
        assert sender.answer() == {"id": "again", "ok": True, "repeated": True}
    finally:
        sender.send(b"", retain=True)
    assert receiver.snapshot().fields["boot"] == 2
    assert camera.is_running()


def test_maintenance_leaves_the_prompt(
    sender: Sender, camera: CameraUnderTest, broker: BrokerProcess
) -> None:
    assert sender.ask("maintenance") == {"ok": True}
    camera.line("maintenance: remove state/maintenance")
    camera.line("the camera is at its prompt")
    assert not camera.is_running()
    (camera.flash / "state/maintenance").unlink()
    before = len(camera.console)
    camera.restart()
    camera.line("connected to", after=before)


def test_maintenance_for_one_reset_is_not_for_a_power_cut(camera: CameraUnderTest) -> None:
    camera.power_on()
    camera.line("connected to")
    # What `anchorcam deploy` writes; then the power goes before its reset.
    marker = camera.flash / "state/maintenance"
    marker.write_text("once")
    camera.power_cut()
    before = len(camera.console)
    camera.restart()
    camera.line("connected to", after=before)
    assert not marker.exists()
