"""What an anchor that was sent leaves when the power is cut at any step, or the flash is full."""

import hashlib
import itertools
import json
import queue
from typing import Any

import pytest

from tests.brokers import BrokerProcess, wait_for
from tests.cameras import CameraUnderTest
from tests.device.anchors.sending import (
    Roots,
    Sender,
    anchor,
    listed,
    name_of,
    online,
    sent_files,
)
from tests.device.receiving import receiving


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
