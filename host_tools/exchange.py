"""A command to a camera and its answer: one connection to the broker for each exchange."""

import json
import math
import queue
import secrets as random_source
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.errors import UserError
from camera import topics
from host_tools.watch import failures
from host_tools.watch.evidence import printable
from host_tools.watch.options import Options
from host_tools.watch.session import CONNECT_S, trust_only

_TOLD_MAX = 200


class Verb(StrEnum):
    """What a camera can be asked for; two of them take a value."""

    snapshot = "snapshot"
    interval = "interval"
    quality = "quality"
    health = "health"
    reboot = "reboot"
    maintenance = "maintenance"


# In camera/commands.py the settings have one verb for both.
_SETTINGS = {Verb.interval: "interval_s", Verb.quality: "quality"}


def request_of(verb: Verb, value: float | None) -> dict[str, Any]:
    """The request without its id. Raises UserError (exit code 2) for a value too many or few.

    value: for interval seconds, for quality 1 to 100; the camera says what it can do.
    """
    setting = _SETTINGS.get(verb)
    if setting is None:
        if value is not None:
            raise UserError(f"{verb} takes no value; only interval and quality do", exit_code=2)
        return {"do": verb.value}
    if value is None or not math.isfinite(value):
        what = "seconds between snapshots" if verb is Verb.interval else "JPEG quality, 1 to 100"
        raise UserError(f"{verb} needs a number: {what}", exit_code=2)
    return {"do": "set", setting: int(value) if value == int(value) else value}


def granted(camera: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What the answer tells besides that it was done. Raises UserError when the camera refuses."""
    if answer.get("ok") is not True:
        why = printable(str(answer.get("error", "it does not say why")), _TOLD_MAX)
        raise UserError(f"{camera} refuses: {why}")
    return {name: value for name, value in answer.items() if name not in ("id", "ok")}


def outcome(camera: str, answer: dict[str, Any]) -> str:
    """One line that says what came of it. Raises UserError when the camera refuses."""
    told = (f"{name} {value}" for name, value in granted(camera, answer).items())
    return printable(", ".join([f"{camera}: done", *told]), _TOLD_MAX)


def exchange(
    broker: Options, camera: str, request: dict[str, Any], timeout: float
) -> dict[str, Any]:
    """The camera's answer to the request, which gets an id of its own. Raises UserError.

    timeout: seconds for the answer, once the broker has confirmed that it will come here.
    """
    command_id = random_source.token_hex(8)
    answers: queue.Queue[dict[str, Any]] = queue.Queue()

    def take(payload: bytes | bytearray) -> None:
        try:
            answer = json.loads(payload)
        except (ValueError, RecursionError):
            return
        # Others may be asking the same camera.
        if isinstance(answer, dict) and answer.get("id") == command_id:
            answers.put(answer)

    result = topics.topic(broker.prefix, camera, topics.CMD_RESULT)
    with listening(broker, result, lambda message: take(message.payload)) as client:
        command = topics.topic(broker.prefix, camera, topics.CMD)
        client.publish(command, json.dumps({"id": command_id, **request}), 1)
        answer: dict[str, Any] | None = _next(answers, timeout)
    if answer is None:
        raise UserError(
            f"{camera} did not answer within {timeout:g} s: is it online? `anchorcam watch` shows"
        )
    return answer


@contextmanager
def listening(
    broker: Options, topic_filter: str, take: Callable[[MQTTMessage], None]
) -> Iterator[Client]:
    """A client that gets what comes on these topics, from the start of the block to its end.

    take: called in the client's own thread. Raises UserError when the broker does not let us.
    """
    subscribed: queue.Queue[bool] = queue.Queue()

    def connected(
        client: Client, _user: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            subscribed.put(False)
        else:
            client.subscribe(topic_filter, 1)

    client = client_of(broker, "send")
    client.on_connect = connected
    client.on_subscribe = lambda _c, _u, _m, codes, _p: subscribed.put(not codes[0].is_failure)
    client.on_message = lambda _c, _u, message: take(message)
    try:
        client.connect(broker.host, broker.port)
    except (OSError, UnicodeError) as error:
        failure = failures.of_connecting(error, broker.host, broker.port, broker.anchor_name)
        raise UserError(failure.text) from error
    client.loop_start()
    try:
        if not _next(subscribed, CONNECT_S):
            raise UserError(
                f"{broker.host}:{broker.port} does not let {broker.user} in, or not hear"
                f" {topic_filter}: check the account's password and rights"
            )
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def client_of(broker: Options, name: str) -> Client:
    """A client of the watcher's account beside its session, not connected yet."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=f"{broker.user}/{name}-{random_source.token_hex(4)}"
    )
    client.username_pw_set(broker.user, broker.password)
    client.tls_set_context(trust_only(broker.anchor))
    client.connect_timeout = CONNECT_S
    return client


def _next(waiting: "queue.Queue[Any]", seconds: float) -> Any:
    try:
        return waiting.get(timeout=seconds)
    except queue.Empty:
        return None
