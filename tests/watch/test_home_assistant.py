"""Home Assistant's device discovery: against its documented fields, a broker, and a camera."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from camera import topics
from host_tools.virtual_camera.micropython import MicroPython
from host_tools.watch.home_assistant import config_topic, device
from tests.brokers import DEADLINE_S, BrokerProcess, running_broker, wait_for
from tests.cameras import CameraUnderTest
from tests.host.commands import anchorcam
from tests.watch.cameras import stamped
from tests.watch.conftest import (
    Publisher,
    Watch,
    WatchProcess,
    publishing,
    use_certificates,
    write_settings,
)

# As documented, of what we use or could: https://www.home-assistant.io/integrations/mqtt/
# (device discovery payload), .../camera.mqtt, .../sensor.mqtt, .../button.mqtt.
_ROOT = {"dev", "o", "cmps", "availability", "availability_mode", "qos", "encoding"}
_DEVICE = {
    *("identifiers", "connections", "manufacturer", "model", "name", "hw_version", "sw_version"),
    *("serial_number", "suggested_area", "via_device", "configuration_url"),
}
_ORIGIN = {"name", "sw_version", "support_url"}
_AVAILABILITY = {"topic", "payload_available", "payload_not_available", "value_template"}
_ENTITY = {
    *("platform", "unique_id", "name", "icon", "entity_category", "enabled_by_default"),
    *("object_id", "qos", "availability"),
}
_PLATFORMS = {
    "camera": {"topic", "image_encoding"},
    "sensor": {
        *("state_topic", "value_template", "unit_of_measurement", "device_class", "state_class"),
        *("expire_after", "force_update", "options", "suggested_display_precision"),
    },
    "button": {"command_topic", "command_template", "payload_press", "retain", "device_class"},
}
_REQUIRED = {"camera": {"topic"}, "sensor": {"state_topic"}, "button": {"command_topic"}}
# Device classes of sensors with units that they may have.
_UNITS = {"data_size": {"B"}, "signal_strength": {"dB", "dBm"}, "duration": {"s", "d"}}
_STATE_CLASSES = {"measurement", "total", "total_increasing"}
_TOPIC = re.compile(r"homeassistant/device/[a-zA-Z0-9_-]+/config")


def check(message: dict[str, Any]) -> None:
    """Every rule of the documentation that a message of ours could break."""
    assert set(message) <= _ROOT
    assert {"dev", "o", "cmps"} <= set(message)
    assert set(message["dev"]) <= _DEVICE
    assert message["dev"]["identifiers"]
    assert set(message["o"]) <= _ORIGIN
    assert message["o"]["name"]
    for entry in message["availability"]:
        assert set(entry) <= _AVAILABILITY
        assert entry["topic"]
    ids = [component["unique_id"] for component in message["cmps"].values()]
    assert len(set(ids)) == len(ids)
    for component in message["cmps"].values():
        platform = component["platform"]
        assert set(component) <= _ENTITY | _PLATFORMS[platform], component
        assert set(component) >= _REQUIRED[platform] | {"unique_id"}
        assert component.get("entity_category") in (None, "diagnostic", "config")
        if "device_class" in component:
            assert component["unit_of_measurement"] in _UNITS[component["device_class"]]
        assert component.get("state_class") in {None, *_STATE_CLASSES}


@pytest.mark.parametrize("prefix", ["cameras", "site/a-b/north_3"])
def test_the_message_is_as_documented(prefix: str) -> None:
    message = json.loads(json.dumps(device(prefix, "cam-1_x")))
    check(message)
    assert _TOPIC.fullmatch(config_topic(prefix, "cam-1_x"))
    assert {each["platform"] for each in message["cmps"].values()} == {"camera", "sensor", "button"}
    assert message["availability"][0]["topic"] == f"{prefix}/cam-1_x/state"
    assert message["cmps"]["snapshot"]["topic"] == f"{prefix}/cam-1_x/jpeg"


@contextmanager
def home_assistant(broker: BrokerProcess) -> Iterator[dict[str, bytes]]:
    """What Home Assistant has heard on its discovery topics by now; b"": it was taken back."""
    heard: dict[str, bytes] = {}
    subscribed = threading.Event()
    with broker.endpoint().paho("watcher", client_id="watcher/home-assistant") as client:
        client.on_message = lambda _c, _u, message: heard.update({message.topic: message.payload})
        client.on_subscribe = lambda *_: subscribed.set()
        client.subscribe("homeassistant/#", 1)
        assert subscribed.wait(DEADLINE_S)
        yield heard


def announced(heard: dict[str, bytes], camera: str) -> dict[str, Any]:
    message = wait_for(lambda: heard.get(config_topic("cameras", camera)), f"news of {camera}")
    return dict(json.loads(message))


def remove(process: WatchProcess) -> str:
    done = anchorcam("watch", str(process.config), "--home-assistant", "remove")
    assert done.status == 0, done.err
    return done.out


def test_announced_retained_and_removed_again(
    watch: Watch, config: Path, shared_broker: BrokerProcess, publisher: Publisher
) -> None:
    camera, topic = publisher.camera, config_topic("cameras", publisher.camera)
    process = watch(config, "--home-assistant").connected()
    publisher.send(stamped(camera, 1))
    with home_assistant(shared_broker) as heard:
        check(announced(heard, camera))
    process.end()
    # Home Assistant that starts later hears of it too.
    with (
        home_assistant(shared_broker) as heard,
        shared_broker.endpoint().paho("watcher", client_id="watcher/other") as other,
    ):
        announced(heard, camera)
        theirs = "homeassistant/device/somebody-elses/config"
        other.publish(theirs, b'{"o": {"name": "other"}}', 1, True).wait_for_publish(DEADLINE_S)
        other.publish("homeassistant/device/junk/config", b"[", 1, True)
        wait_for(lambda: theirs in heard, "the other device")
        assert camera in remove(process)
        wait_for(lambda: heard[topic] == b"", "its removal")
        assert heard[theirs]
        assert "none was announced" in remove(process)
    with home_assistant(shared_broker) as heard:
        wait_for(lambda: theirs in heard, "what is retained")
        assert topic not in heard


def test_a_broker_that_forgot_is_told_again(watch: Watch, tmp_path: Path, made_once: Path) -> None:
    data = tmp_path / "broker"
    data.mkdir(mode=0o700)
    use_certificates(made_once, data)
    with running_broker(data) as broker:
        port = broker.endpoint().port
        config = write_settings(tmp_path / "here", broker.endpoint())
        watch(config, "--home-assistant").connected()
        with publishing(broker, "cam1") as publisher, home_assistant(broker) as heard:
            publisher.send(stamped("cam1", 1))
            announced(heard, "cam1")
    with running_broker(data, f"--port={port}") as broker, home_assistant(broker) as heard:
        announced(heard, "cam1")


def pressed(message: dict[str, Any]) -> bytes:
    """What Home Assistant publishes when the button is pressed now: the template rendered."""
    template = message["cmps"]["snapshot_now"]["command_template"]
    call = re.compile(r"\{\{ utcnow\(\)\.strftime\('([^']+)'\) \}\}")
    assert call.search(template)
    return call.sub(lambda found: datetime.now(UTC).strftime(found[1]), template).encode()


def test_the_button_works_each_time_it_is_pressed(
    tmp_path: Path, runtime: MicroPython, library: Path, made_once: Path
) -> None:
    data = tmp_path / "broker"
    data.mkdir(mode=0o700)
    use_certificates(made_once, data)
    button = device("cameras", "cam1")["cmps"]["snapshot_now"]
    with running_broker(data) as broker:
        camera = CameraUnderTest(tmp_path, runtime, library, broker)
        camera.config["camera"]["interval_s"] = 3600
        answers: list[dict[str, Any]] = []
        subscribed = threading.Event()
        with camera, broker.endpoint().paho("watcher") as client:
            client.on_message = lambda _c, _u, said: answers.append(json.loads(said.payload))
            client.on_subscribe = lambda *_: subscribed.set()
            client.subscribe(topics.topic("cameras", "cam1", topics.CMD_RESULT), 1)
            assert subscribed.wait(DEADLINE_S)
            camera.line("listening for commands")
            for presses in (1, 2, 3):
                command = pressed(device("cameras", "cam1"))
                assert topics.is_id(json.loads(command)["id"])
                client.publish(button["command_topic"], command, button["qos"])
                wait_for(lambda n=presses: len(answers) == n, "the answer")
    assert [answer.get("seq") for answer in answers] == [2, 3, 4]
    assert all(answer["ok"] for answer in answers)
