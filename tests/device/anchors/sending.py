"""Commands about anchors, and what a camera has on its flash because of them."""

import hashlib
import itertools
import json
import queue
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.brokers import DEADLINE_S, BrokerProcess
from tests.cameras import CameraUnderTest

# Two chains below two roots: X1 cross-signs YE, so that a camera with either accepts the first.
OLD, NEW = "ecdsa", "ecdsa-ye"


# Gives a root by its name, DER.
Roots = Callable[[str], bytes]


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
