"""Anchors sent over the air: tried in a connection of their own, kept only if that works."""

import hashlib
import json
import queue
import socket
from typing import Any

import pytest

from tests.brokers import DEADLINE_S, BrokerProcess
from tests.cameras import CameraUnderTest
from tests.device.anchors.sending import (
    NEW,
    OLD,
    Roots,
    Sender,
    anchor,
    listed,
    name_of,
    online,
    sent_files,
)
from tests.device.receiving import receiving
from tests.faults.proxy import FaultProxy, Mode
from tests.scripted import listening


def test_the_roll_over(
    camera: CameraUnderTest, sender: Sender, network: FaultProxy, zoo: BrokerProcess, roots: Roots
) -> None:
    new = roots("root-ye")
    old_digest = hashlib.sha256(camera.anchor).hexdigest()[:16]
    new_digest = hashlib.sha256(new).hexdigest()[:16]
    with receiving(zoo.endpoint()) as receiver, camera:
        receiver.report("state", state="online", anchors=[old_digest])
        assert sender.send(new) == {"ok": True, "anchor": name_of(new)}
        assert (camera.flash / "state" / name_of(new)).read_bytes() == new
        # The old session is still there: no connection but the first was made.
        assert len([line for line in camera.console if "connected to" in line]) == 1
        # A power cut, and the broker's chain no longer leads to the old root.
        camera.power_cut()
        network.upstream = zoo.ready["zoo"][NEW]
        after = len(camera.console)
        camera.restart()
        camera.line("root.der: trying the next anchor", after=after)
        camera.line("verified with " + name_of(new), after=after)
        birth = receiver.report("state", state="online", boot=2)
        assert birth["anchors"] == [old_digest, new_digest]
        assert birth["anchor"] == name_of(new)
        # It is in use: whoever removed it would lose the camera.
        in_use = sender.ask(remove=hashlib.sha256(new).hexdigest())
        assert in_use == {"ok": False, "error": "it is in use"}
        receiver.report("health", boot=2, anchor=name_of(new))
    assert not [line for line in camera.console if "Traceback" in line]


def test_without_a_restart_too(
    camera: CameraUnderTest, sender: Sender, network: FaultProxy, zoo: BrokerProcess, roots: Roots
) -> None:
    with camera:
        online(camera)
        assert sender.send(roots("root-ye"))["ok"]
        after = len(camera.console)
        network.upstream = zoo.ready["zoo"][NEW]
        network.cut_now()
        camera.line("verified with sent-", after=after)


def test_pictures_are_taken_while_it_is_tried(
    camera: CameraUnderTest, sender: Sender, network: FaultProxy, zoo: BrokerProcess, roots: Roots
) -> None:
    # Whoever connects now meets one who says nothing; the session goes on.
    with (
        listening(drain) as silent,
        receiving(zoo.endpoint()) as receiver,
        camera,
    ):
        online(camera)
        network.upstream = silent
        before = receiver.report("health")["captured"]
        answer = sender.send(roots("root-ye"))
        assert answer["code"] == "timeout"
        assert receiver.report("health")["conn"] == 1
        last = receiver.report("health")
        assert (last["conn"], last["seq"] > before + 10) == (1, True)
        assert sent_files(camera) == []
    assert len([line for line in camera.console if "connected to" in line]) == 1


def drain(stream: socket.socket) -> None:
    while stream.recv(4096):
        pass


@pytest.mark.parametrize("root", ["other-root", "root-yr"])
def test_a_root_that_the_broker_is_not_below(
    camera: CameraUnderTest, sender: Sender, roots: Roots, root: str
) -> None:
    with camera:
        online(camera)
        answer = sender.send(roots(root))
        assert (answer["ok"], answer["code"]) == (False, "untrusted")
        assert sent_files(camera) == listed(camera) == []
        # Nothing is changed: it is asked again, and refused again.
        assert sender.send(roots(root))["code"] == "untrusted"
        assert len([line for line in camera.console if "connected to" in line]) == 1


def test_what_is_refused_without_a_trial(
    camera: CameraUnderTest, sender: Sender, roots: Roots
) -> None:
    good = roots("root-ye")
    with camera:
        online(camera)
        for request, words in (
            ({}, 'it takes "sha256" and "der", or "remove"'),
            ({**anchor(good), "remove": "a" * 64}, 'it takes "sha256"'),
            ({"sha256": "a" * 63, "der": ""}, "64 hexadecimal digits"),
            ({"sha256": 5, "der": ""}, "64 hexadecimal digits"),
            ({"remove": None}, "64 hexadecimal digits"),
            ({"remove": "a" * 64}, "no anchor that was sent has this SHA-256"),
            ({"sha256": "a" * 64, "der": 5}, "must be base64 of at most 2048 bytes"),
            ({"sha256": "a" * 64, "der": "a"}, "must be base64"),
            ({"sha256": "a" * 64, "der": anchor(good)["der"]}, "its SHA-256 is another"),
            (anchor(b""), "it is empty"),
            (anchor(b"nonsense"), "not a DER certificate"),
            (anchor(good[:-1]), "it ends after"),
            (anchor(good + good), "something follows the certificate"),
            (anchor(bytes(2049)), "must be base64 of at most 2048 bytes"),
            # Whatever is a SEQUENCE gets as far as mbedTLS.
            (anchor(b"\x30\x03\x02\x01\x00"), "anchor: the anchor file is missing or is not"),
            (anchor(b"\x30\x82\x07\xfc" + bytes(2044)), "anchor: the anchor file is missing"),
        ):
            answer = sender.ask(**request)
            assert answer["ok"] is False, request
            assert words in answer["error"], request
        # More than a camera keeps of a request: it does not even see the id.
        answer = sender.say({"id": "long", "do": "anchor", **anchor(bytes(3000))})
        assert (answer["id"], answer["ok"]) == (None, False)
        assert "at most 3 KiB" in answer["error"]
        assert sent_files(camera) == listed(camera) == []
        assert sender.send(good)["ok"]
    assert not [line for line in camera.console if "Traceback" in line]


def test_switched_off(camera: CameraUnderTest, sender: Sender, roots: Roots) -> None:
    del camera.config["camera"]["accept_anchors"]
    with camera:
        online(camera)
        for request in (anchor(roots("root-ye")), {"remove": "a" * 64}):
            answer = sender.ask(**request)
            assert answer["error"] == "camera.accept_anchors is off in config.json"
        assert sent_files(camera) == []


def test_known_ones_and_a_full_list(camera: CameraUnderTest, sender: Sender, roots: Roots) -> None:
    camera.broker["anchors"] = ["root.der", "two.der", "three.der"]
    camera.anchors |= {"two.der": roots("other-root"), "three.der": roots("root-yr")}
    new = roots("root-ye")
    with camera:
        online(camera)
        known = sender.send(roots("root-yr"))
        assert known == {"ok": True, "anchor": "three.der", "known": True}
        assert sender.send(new) == {"ok": True, "anchor": name_of(new)}
        assert sender.send(new) == {"ok": True, "anchor": name_of(new), "known": True}
        full = sender.send(roots("root-x2"))
        assert full == {"ok": False, "error": "the broker has 4 anchors: remove one that was sent"}
        assert sender.ask(remove=hashlib.sha256(new).hexdigest().upper()) == {"ok": True}
        assert sent_files(camera) == listed(camera) == []
        assert sender.send(roots("root-x2"))["ok"]


def test_it_is_the_anchor_of_the_broker_in_use(
    camera: CameraUnderTest, sender: Sender, network: FaultProxy, zoo: BrokerProcess, roots: Roots
) -> None:
    new = roots("root-ye")
    first = dict(camera.broker)
    second = dict(camera.broker) | {"port": zoo.ready["zoo"][OLD]}
    camera.config["brokers"] = [first, second]
    camera.config["recovery"] |= {"next_broker_after": 1, "return_after_s": 1}
    network.set_mode(Mode.REFUSE)
    with receiving(zoo.endpoint()) as receiver, camera:
        camera.line(f"connected to localhost:{second['port']}")
        online(camera)
        conn = receiver.report("state", state="online", boot=1)["conn"]
        assert sender.send(new)["ok"]
        kept = json.loads((camera.flash / "state/sent").read_text())["sent"]
        assert kept == [[], [hashlib.sha256(new).hexdigest()]]
        # The first has the anchors of config.json, as before.
        network.calm()
        camera.line(f"connected to localhost:{first['port']}")
        birth = receiver.report("state", state="online")
        assert birth["conn"] > conn
        assert birth["anchors"] == [hashlib.sha256(camera.anchor).hexdigest()[:16]]
        gone = sender.ask(remove=hashlib.sha256(new).hexdigest())
        assert "no anchor that was sent" in gone["error"]


def test_another_config_begins_anew(camera: CameraUnderTest, sender: Sender, roots: Roots) -> None:
    with camera:
        online(camera)
        assert sender.send(roots("root-ye"))["ok"]
        camera.power_cut()
        after = len(camera.console)
        camera.power_on()
        online(camera, after)
        assert sent_files(camera) == [name_of(roots("root-ye"))]
        camera.power_cut()
        after = len(camera.console)
        camera.config["camera"]["quality"] = 50
        camera.power_on()
        online(camera, after)
        assert sent_files(camera) == []


def test_a_retained_command_runs_once(
    camera: CameraUnderTest, sender: Sender, zoo: BrokerProcess, roots: Roots
) -> None:
    request = {"id": "kept", "do": "anchor", **anchor(roots("root-ye"))}
    with camera:
        online(camera)
        try:
            assert sender.say(request, retain=True)["ok"]
            # Removed since, and not brought back by the broker's memory of the command.
            removed = hashlib.sha256(roots("root-ye")).hexdigest()
            assert sender.ask(remove=removed) == {"ok": True}
            camera.power_cut()
            answers: queue.Queue[dict[str, Any]] = queue.Queue()
            with zoo.endpoint().paho("watcher", client_id="watcher/two") as client:
                client.on_message = lambda _c, _u, message: answers.put(json.loads(message.payload))
                client.subscribe("cameras/cam1/cmd/result", 1)
                camera.restart()
                again = answers.get(timeout=DEADLINE_S)
            assert again == {"id": "kept", "ok": True, "repeated": True}
        finally:
            with zoo.endpoint().paho("watcher", client_id="watcher/two") as client:
                client.publish("cameras/cam1/cmd", b"", 1, True).wait_for_publish(DEADLINE_S)
        assert sent_files(camera) == []


def test_damage_on_the_flash(camera: CameraUnderTest, sender: Sender, roots: Roots) -> None:
    new = roots("root-ye")
    with camera:
        online(camera)
        assert sender.send(new)["ok"]
        camera.power_cut()
        path = camera.flash / "state" / name_of(new)
        for damage in (lambda: path.write_bytes(new[:-1]), lambda: path.write_bytes(b"")):
            damage()
            after = len(camera.console)
            camera.restart()
            online(camera, after)
            assert sent_files(camera) == []
            assert sender.send(new)["ok"]
            camera.power_cut()
        (camera.flash / "state/sent").write_text("{")
        after = len(camera.console)
        camera.restart()
        online(camera, after)
        assert sent_files(camera) == []
        assert sender.send(new)["ok"]
