"""Anchors sent over the air: tried in a connection of their own, kept only if that works."""

import hashlib
import itertools
import json
import queue
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import DEADLINE_S, BrokerProcess, wait_for
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving
from tests.faults.proxy import FaultProxy, proxied
from tests.scripted import listening

# Two chains below two roots: X1 cross-signs YE, so that a camera with either accepts the first.
OLD, NEW = "ecdsa", "ecdsa-ye"


class Sender:
    """Sends commands about anchors to cam1, one at a time."""

    def __init__(self, broker: BrokerProcess) -> None:
        self._broker = broker
        self._ids = itertools.count(1)

    def send(self, der: bytes, **other: Any) -> dict[str, Any]:
        return self.ask(**anchor(der), **other)

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer, without its id."""
        command_id = f"s{next(self._ids)}"
        answer = self.say({"id": command_id, "do": "anchor", **request})
        assert answer.pop("id") == command_id
        return answer

    def say(self, request: dict[str, Any], retain: bool = False) -> dict[str, Any]:
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        endpoint = self._broker.endpoint()
        with endpoint.paho("watcher", client_id="watcher/sender") as client:
            client.on_message = lambda _c, _u, message: answers.put(json.loads(message.payload))
            client.on_subscribe = lambda *_: answers.put({})
            client.subscribe("cameras/cam1/cmd/result", 1)
            assert answers.get(timeout=DEADLINE_S) == {}
            client.publish("cameras/cam1/cmd", json.dumps(request), 1, retain)
            return answers.get(timeout=DEADLINE_S)


def anchor(der: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(der).hexdigest(), "der": b64encode(der).decode()}


def name_of(der: bytes) -> str:
    return f"sent-{hashlib.sha256(der).hexdigest()[:16]}.der"


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
def roots(zoo_data: Path) -> Callable[[str], bytes]:
    """A root by its name, DER."""
    return lambda name: (zoo_data / f"anchors/test-{name}.der").read_bytes()


Roots = Callable[[str], bytes]


def online(camera: CameraUnderTest, after: int = 0) -> None:
    camera.line("listening for commands", after=after)


def sent_files(camera: CameraUnderTest) -> list[str]:
    return sorted(path.name for path in (camera.flash / "state").glob("sent-*"))


def listed(camera: CameraUnderTest) -> list[str]:
    """The digests in the list on the flash; none while there is none, or half of the first."""
    try:
        return list(json.loads((camera.flash / "state/sent").read_text())["sent"][0])
    except (FileNotFoundError, ValueError):
        return []


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


@pytest.mark.parametrize("name", ["anchored_by", "sent-%s.der", "sent"])
def test_a_flash_that_is_full(
    camera: CameraUnderTest, sender: Sender, roots: Roots, name: str
) -> None:
    new = roots("root-ye")
    digest = hashlib.sha256(new).hexdigest()
    with camera:
        online(camera)
        full = camera.flash / "state" / ((name % digest[:16] if "%" in name else name) + ".new")
        assert "no anchor that was sent" in sender.ask(remove=digest)["error"]
        full.symlink_to("/dev/full")
        answer = sender.send(new)
        assert answer == {"ok": False, "error": "the flash cannot be written"}
        assert sent_files(camera) == listed(camera) == []
        full.unlink(missing_ok=True)
        assert sender.send(new)["ok"]
        # Removing it writes too: it stays whole, or it goes.
        if name != "sent-%s.der":
            full.symlink_to("/dev/full")
            assert sender.ask(remove=digest)["error"] == "the flash cannot be written"
            assert (listed(camera), sent_files(camera)) == ([digest], [name_of(new)])
            full.unlink()
        assert sender.ask(remove=digest) == {"ok": True}
        assert sent_files(camera) == listed(camera) == []
    assert not [line for line in camera.console if "Traceback" in line]


# In front of main.py: from the command on, the n-th thing that is done to a file is not done,
# or half of it, and the camera stands still until the test cuts its power.
_POWER_CUT = """
import os, time
from camera import app, files, state

left = None

def step(what):
    global left
    if left is not None:
        left -= 1
        if left == 0:
            print("power is lost before", what)
            time.sleep(3600)

class File:
    def __init__(self, path, mode):
        self._file = open(path, mode)
    def write(self, data):
        self._file.write(data[:len(data) // 2])
        step("the rest is written")
        self._file.write(data[len(data) // 2:])
    def read(self):
        return self._file.read()
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self._file.close()

class Disk:
    def __getattr__(self, name):
        return getattr(os, name)
    def rename(self, old, new):
        step("rename")
        os.rename(old, new)
    def remove(self, path):
        step("remove")
        os.remove(path)

def opened(path, mode="r"):
    if "w" in mode:
        step("open")
    return File(path, mode)

state.open = opened
state.os = files.os = Disk()
change_anchors = app.App.change_anchors

def armed(self, route, command_id, request):
    global left
    if {verb!r} in request:
        left = {at}
    return change_anchors(self, route, command_id, request)

app.App.change_anchors = armed
"""


@pytest.mark.parametrize("verb", ["der", "remove"])
def test_a_power_cut_at_each_step(
    camera: CameraUnderTest, sender: Sender, zoo: BrokerProcess, roots: Roots, verb: str
) -> None:
    new = roots("root-ye")
    digest = hashlib.sha256(new).hexdigest()
    change: dict[str, Any] = anchor(new) if verb == "der" else {"remove": digest}
    undo: dict[str, Any] = {"remove": digest} if verb == "der" else anchor(new)
    camera.power_on()
    online(camera)
    main = (camera.flash / "main.py").read_text()
    for at in itertools.count(1):
        camera.power_cut()
        script = _POWER_CUT.replace("{verb!r}", repr(verb)).replace("{at}", str(at))
        (camera.flash / "main.py").write_text(script + main)
        after = len(camera.console)
        with receiving(zoo.endpoint()) as receiver:
            camera.restart()
            online(camera, after)
            while (birth := receiver.report("state", state="online"))["boot"] != at + 1:
                pass
        # The old anchors, or the old ones and the new one, and no file beside them.
        digests = listed(camera)
        assert digests in ([], [digest])
        assert sent_files(camera) == [name_of(new)][: len(digests)]
        assert birth["anchors"][1:] == [digest[:16]][: len(digests)]
        if bool(digests) == (verb == "der"):
            assert sender.ask(**undo)["ok"]
        if not publish(zoo, camera, {"id": f"{verb}{at}", "do": "anchor", **change}):
            break
    assert at > 8
    # Done: that is what is there after the next power cut.
    camera.power_cut()
    (camera.flash / "main.py").write_text(main)
    after = len(camera.console)
    camera.restart()
    online(camera, after)
    assert listed(camera) == ([digest] if verb == "der" else [])


def publish(zoo: BrokerProcess, camera: CameraUnderTest, request: dict[str, Any]) -> bool:
    """Send a command; True when the power was lost in it, False when it was answered."""
    answers: queue.Queue[bytes] = queue.Queue()
    after = len(camera.console)
    with zoo.endpoint().paho("watcher", client_id="watcher/cutter") as client:
        client.on_message = lambda _c, _u, message: answers.put(message.payload)
        client.subscribe("cameras/cam1/cmd/result", 1)
        client.publish("cameras/cam1/cmd", json.dumps(request), 1)

        def is_lost() -> bool:
            return any("power is lost" in line for line in camera.console[after:])

        wait_for(lambda: is_lost() or not answers.empty(), "an answer, or no power")
        return is_lost()
