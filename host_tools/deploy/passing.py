"""Does a broker pass on what a camera sends: account, rights, size, and the watcher's side."""

import contextlib
import json
import queue
import secrets as random_source
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.errors import UserError
from camera import topics
from host_tools.deploy.flash import Settings
from host_tools.watch import failures, options
from host_tools.watch.options import Options
from host_tools.watch.session import CONNECT_S, trust_only

# 1 MiB is the largest snapshot; AWS IoT Core passes 128 KB.
_SIZES = (1 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20)
_ARRIVAL_S = 10.0

Told = tuple[str, str, str]


def through(
    config: Path, secrets: Path, settings: Settings, broker: dict[str, Any]
) -> Iterator[Told]:
    """(step, "good" or "bad", what there is to say) of one broker, from this machine.

    Messages of growing size go from the camera's account to the watcher's, on the topic of
    answers to commands, which no ledger counts.
    """
    try:
        watcher = options.load(config, Path(), secrets=secrets)
    except UserError as error:
        yield "watcher sees it", "bad", str(error)
        return
    anchor = (config.parent / "anchors" / broker["anchors"][0]).read_bytes()
    watcher = replace(watcher, host=broker["host"], port=broker["port"], anchor=anchor)
    camera = replace(watcher, user=broker["user"], password=broker["password"])
    where = f"{broker['host']}:{broker['port']}"
    if broker.get("client_cert"):
        yield "MQTT login", "note", f"{where} asks for the camera's own key: not asked from here"
        return
    topic = topics.topic(settings["topics"]["prefix"], settings["camera"]["id"], topics.CMD_RESULT)
    try:
        with _connected(watcher) as listening, _connected(camera) as sending:
            yield "MQTT login", "good", f"{where} lets {camera.user} in"
            yield from _sizes(listening, sending, topic)
    except UserError as error:
        yield "MQTT login", "bad", str(error)


def _sizes(listening: Client, sending: Client, topic: str) -> Iterator[Told]:
    arrived: queue.Queue[int] = queue.Queue()
    subscribed = threading.Event()
    mark = random_source.token_hex(8)
    listening.on_message = lambda _c, _u, message: (
        arrived.put(len(message.payload)) if mark.encode() in message.payload[:64] else None
    )
    listening.on_subscribe = lambda *_: subscribed.set()
    listening.subscribe(topic, 1)
    subscribed.wait(CONNECT_S)
    passed = 0
    for size in _SIZES:
        head = json.dumps({"id": mark, "pad": ""})[:-2]
        sending.publish(topic, head + "." * (size - len(head) - 2) + '"}', 1)
        try:
            passed = arrived.get(timeout=_ARRIVAL_S)
        except queue.Empty:
            break
    if not passed:
        text = f"nothing of what the camera's account writes to {topic} comes to the watcher"
        yield "ACL", "bad", text
        return
    yield "ACL", "good", f"the camera may write, the watcher may read, {topic}"
    if passed < _SIZES[-1]:
        text = f"{passed:,} bytes are passed on, {size:,} are not; a snapshot may be larger"
        yield "payload", "bad", text
    else:
        yield "payload", "good", f"{passed:,} bytes are passed on, as many as a snapshot may have"
    yield "watcher sees it", "good", "what the camera's account sends arrives at the watcher's"


@contextlib.contextmanager
def _connected(account: Options) -> Iterator[Client]:
    """A client that is let in. Raises UserError."""
    answers: queue.Queue[ReasonCode] = queue.Queue()
    client = Client(
        CallbackAPIVersion.VERSION2,
        # The camera keeps its own connection.
        client_id=f"{account.user}/doctor-{random_source.token_hex(4)}",
        reconnect_on_failure=False,
    )
    client.username_pw_set(account.user, account.password)
    client.tls_set_context(trust_only(account.anchor))
    client.connect_timeout = CONNECT_S
    client.on_connect = lambda _c, _u, _f, code, _p: answers.put(code)
    try:
        client.connect(account.host, account.port)
    except (OSError, UnicodeError) as error:
        failure = failures.of_connecting(error, account.host, account.port, account.anchor_name)
        raise UserError(failure.text) from error
    client.loop_start()
    try:
        try:
            code = answers.get(timeout=CONNECT_S)
        except queue.Empty:
            raise UserError(
                f"{account.host}:{account.port} does not answer {account.user}"
            ) from None
        if code.is_failure:
            raise UserError(f"{account.host}:{account.port} refuses {account.user}: {code}")
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
