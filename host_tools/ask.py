"""`anchorcam ask`: send a camera a command and show its answer."""

import json
import queue
import secrets as random_source
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.errors import UserError
from camera import topics
from host_tools.config import CONFIG, SecretsFile
from host_tools.watch import failures, options
from host_tools.watch.options import Options
from host_tools.watch.session import CONNECT_S, trust_only


class Verb(StrEnum):
    """What a camera can be asked for (camera/commands.py)."""

    snapshot = "snapshot"
    health = "health"
    set = "set"
    reboot = "reboot"
    maintenance = "maintenance"


CameraId = Annotated[str, typer.Argument(help="The camera's id.")]


def ask(
    camera: CameraId,
    verb: Annotated[Verb, typer.Argument(help="What it is to do.")],
    interval_s: Annotated[
        float | None, typer.Option("--interval-s", help="For set: seconds between snapshots.")
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", help="For set: JPEG quality, 1 to 100.")
    ] = None,
    config: Annotated[Path, typer.Option(help="The settings.")] = CONFIG,
    secrets: SecretsFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for the answer.")] = 10.0,
) -> None:
    """Ask a camera for something; exit code 1 when it does not answer or does not do it."""
    values = {"interval_s": interval_s, "quality": quality}
    given = {name: value for name, value in values.items() if value is not None}
    if bool(given) != (verb is Verb.set):
        raise UserError(
            "set needs --interval-s, --quality or both; the other verbs take neither", exit_code=2
        )
    answer = request(config, secrets, camera, {"do": verb.value, **given}, timeout)
    told = ", ".join(f"{name} {value}" for name, value in answer.items())
    print(f"{camera}: done" + (f", {told}" if told else ""))


def request(
    config: Path, secrets: Path | None, camera: str, command: dict[str, Any], timeout: float
) -> dict[str, Any]:
    """What a camera tells once it has done a command (without id), which it has `timeout` s for.

    The broker and its anchor are those of config. Raises UserError when there is no answer, or
    when it is a refusal.
    """
    if not topics.is_id(camera):
        raise UserError(f"{camera!r} is no camera id: give the id in its config.json", exit_code=2)
    answer = _exchange(options.load(config, Path(), secrets=secrets), camera, command, timeout)
    if not answer.pop("ok", False):
        raise UserError(f"{camera} refuses: {answer.get('error', 'it does not say why')}")
    answer.pop("id", None)
    return answer


def _exchange(
    broker: Options, camera: str, request: dict[str, Any], timeout: float
) -> dict[str, Any]:
    """The answer to the request. Raises UserError."""
    command_id = random_source.token_hex(8)
    answers: queue.Queue[dict[str, Any]] = queue.Queue()
    subscribed: queue.Queue[bool] = queue.Queue()

    def take(payload: bytes | bytearray) -> None:
        try:
            answer = json.loads(payload)
        except (ValueError, RecursionError):
            return
        # Others may be asking the same camera.
        if isinstance(answer, dict) and answer.get("id") == command_id:
            answers.put(answer)

    def connected(
        client: Client, _user: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            subscribed.put(False)
        else:
            client.subscribe(result, 1)

    result = topics.topic(broker.prefix, camera, topics.CMD_RESULT)
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=f"{broker.user}/ask-{random_source.token_hex(4)}"
    )
    client.username_pw_set(broker.user, broker.password)
    client.tls_set_context(trust_only(broker.anchor))
    client.connect_timeout = CONNECT_S
    client.on_connect = connected
    client.on_subscribe = lambda _c, _u, _m, codes, _p: subscribed.put(not codes[0].is_failure)
    client.on_message = lambda _c, _u, message: take(message.payload)
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
                f" {result}: check the account's password and rights"
            )
        command = topics.topic(broker.prefix, camera, topics.CMD)
        client.publish(command, json.dumps({"id": command_id, **request}), 1)
        answer: dict[str, Any] | None = _next(answers, timeout)
    finally:
        client.disconnect()
        client.loop_stop()
    if answer is None:
        raise UserError(
            f"{camera} did not answer within {timeout:g} s: is it online? `anchorcam watch` shows"
        )
    return answer


def _next(waiting: "queue.Queue[Any]", seconds: float) -> Any:
    try:
        return waiting.get(timeout=seconds)
    except queue.Empty:
        return None
