"""Home Assistant: each camera announced as a device by retained MQTT discovery, or taken back.

The cameras know nothing of it: Home Assistant reads the topics that they publish anyway. Field
names: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

import json
import queue
import threading
from collections.abc import Callable, Iterable
from importlib import metadata
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage

from broker.errors import UserError
from broker.rules import DISCOVERY
from camera import topics
from host_tools.exchange import client_of, listening
from host_tools.watch.options import Options
from host_tools.watch.session import CONNECT_S

_ORIGIN = "anchorcam"
_LOOK_S = 1.0
_RETRY_MOST_S = 30
# One id for each press, or the camera would take the second for the first come again: what
# Home Assistant renders, in microseconds of UTC, is a camera's id in form (camera/topics.py).
_PRESS = """{"id": "ha-{{ utcnow().strftime('%y%m%d-%H%M%S-%f') }}", "do": "snapshot"}"""

# Field of the health message: name, and the options of the sensor. What the camera does not
# say is rendered as "None", which Home Assistant takes for unknown.
_SENSORS: dict[str, dict[str, str]] = {
    "spooled": {"name": "Spooled", "state_class": "measurement"},
    "reconnects": {"name": "Reconnects", "state_class": "total_increasing"},
    "heap_free": {
        "name": "Free heap",
        "device_class": "data_size",
        "unit_of_measurement": "B",
        "state_class": "measurement",
    },
    "rssi": {
        "name": "Signal",
        "device_class": "signal_strength",
        "unit_of_measurement": "dBm",
        "state_class": "measurement",
    },
    "up_s": {"name": "Uptime", "device_class": "duration", "unit_of_measurement": "s"},
    "clock": {"name": "Clock"},
    "last_error": {"name": "Last error"},
    "leaf_days": {
        "name": "Certificate expires in",
        "device_class": "duration",
        "unit_of_measurement": "d",
    },
    "anchor_days": {
        "name": "Anchor expires in",
        "device_class": "duration",
        "unit_of_measurement": "d",
    },
}


def config_topic(prefix: str, camera: str) -> str:
    """Where a camera's discovery message is retained."""
    return f"{DISCOVERY}/device/{_device_id(prefix, camera)}/config"


def device(prefix: str, camera: str) -> dict[str, Any]:
    """The discovery message of a camera. Nothing in it is what a camera has sent but its id."""
    unique = _device_id(prefix, camera)
    state, health = (topics.topic(prefix, camera, kind) for kind in (topics.STATE, topics.HEALTH))
    components: dict[str, dict[str, Any]] = {
        "snapshot": {
            "platform": "camera",
            "name": None,  # that of the device
            "topic": topics.topic(prefix, camera, topics.JPEG),
        },
        "snapshot_now": {
            "platform": "button",
            "name": "Snapshot now",
            "command_topic": topics.topic(prefix, camera, topics.CMD),
            "command_template": _PRESS,
            "qos": 1,
        },
    }
    for field, options in _SENSORS.items():
        components[field] = {
            "platform": "sensor",
            "state_topic": health,
            "value_template": f"{{{{ value_json.get('{field}') }}}}",
            "entity_category": "diagnostic",
            **options,
        }
    for name, component in components.items():
        component["unique_id"] = f"{unique}_{name}"
    return {
        "dev": {"identifiers": [unique], "name": camera, "manufacturer": _ORIGIN},
        "o": {"name": _ORIGIN, "sw_version": metadata.version(_ORIGIN)},
        "availability": [{"topic": state, "value_template": "{{ value_json.state }}"}],
        "cmps": components,
    }


class Announcer:
    """Announces each camera that there is, from start() to stop(), and again to a new broker.

    names: the ids of the cameras by now; asked about every second, from another thread.
    """

    def __init__(self, options: Options, names: Callable[[], Iterable[str]]) -> None:
        self._options = options
        self._names = names
        self._announced: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="home-assistant", daemon=True)
        self._client = client_of(options, "home")

    def __enter__(self) -> Self:
        client = self._client
        client.on_connect = lambda *_: self._announced.clear()
        client.reconnect_delay_set(1, _RETRY_MOST_S)
        client.connect_async(self._options.host, self._options.port)
        client.loop_start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            # The watcher itself says why there is no connection.
            if not self._client.is_connected():
                continue
            for camera in set(self._names()) - self._announced:
                self._announced.add(camera)
                _retain(self._client, self._options.prefix, camera)


def remove(options: Options) -> list[str]:
    """Take back every announcement of a camera below this prefix; their ids. Raises UserError."""
    found: queue.Queue[MQTTMessage] = queue.Queue()
    with listening(options, f"{DISCOVERY}/device/+/config", found.put) as client:
        # What is retained comes first; this is how we know that it was all.
        end = f"{DISCOVERY}/device/{options.user}-end/config"
        client.publish(end, b"", 1)
        cameras = []
        while (message := _next_of(found)).topic != end:
            camera = _camera_of(message, options.prefix)
            if camera:
                client.publish(message.topic, b"", 1, retain=True).wait_for_publish(CONNECT_S)
                cameras.append(camera)
    return sorted(set(cameras))


def _device_id(prefix: str, camera: str) -> str:
    return f"{_ORIGIN}_{prefix.replace('/', '_')}_{camera}"


def _retain(client: Client, prefix: str, camera: str) -> None:
    client.publish(config_topic(prefix, camera), json.dumps(device(prefix, camera)), 1, retain=True)


def _next_of(found: "queue.Queue[MQTTMessage]") -> MQTTMessage:
    try:
        return found.get(timeout=CONNECT_S)
    except queue.Empty:
        raise UserError(
            f"the broker does not say what is retained below {DISCOVERY}/: give the account"
            " the right to read and write there"
        ) from None


def _camera_of(message: MQTTMessage, prefix: str) -> str | None:
    """The camera that this announces, if it is an announcement of ours below this prefix."""
    try:
        said = json.loads(message.payload)
        ours = said["o"]["name"] == _ORIGIN
        camera = said["dev"]["name"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    if not ours or not topics.is_id(camera) or message.topic != config_topic(prefix, camera):
        return None
    return str(camera)
