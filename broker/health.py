"""The health check: what a camera does, once - verified TLS, MQTT, an account."""

import secrets
import ssl
import threading
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.accounts import WATCHER, read_password
from broker.errors import UserError
from broker.streams import describe

LIMIT_S = 5.0


def check(host: str, port: int, anchor: Path, secrets_path: Path) -> None:
    """Connect to the broker as the watcher and leave again. Raises UserError saying why not."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=f"{WATCHER}/health-{secrets.token_hex(4)}"
    )
    client.username_pw_set(WATCHER, read_password(secrets_path, WATCHER))
    client.tls_set_context(_context(anchor))
    client.connect_timeout = LIMIT_S
    answers: list[ReasonCode] = []
    answered = threading.Event()

    def on_connect(_c: object, _u: object, _f: object, code: ReasonCode, _p: object) -> None:
        answers.append(code)
        answered.set()

    client.on_connect = on_connect
    where = f"the broker at {host} port {port}"
    try:
        client.connect(host, port)
    except ssl.SSLCertVerificationError as error:
        raise UserError(
            f"{where} cannot be verified with {anchor}: {error.verify_message}; "
            "check that --anchors belongs to this broker, and that --host is one of its --name"
        ) from error
    except (OSError, ValueError) as error:
        reason = "it did not answer" if isinstance(error, TimeoutError) else describe(error)
        raise UserError(f"{where} cannot be reached: {reason}; is it running?") from error
    client.loop_start()
    try:
        if not answered.wait(LIMIT_S):
            raise UserError(f"{where} did not answer MQTT within {LIMIT_S:g} s; restart it")
        if answers[0].is_failure:
            raise UserError(
                f"{where} refused the account {WATCHER}: {answers[0]}; "
                f"check that {secrets_path} belongs to this broker"
            )
    finally:
        client.disconnect()
        client.loop_stop()


def _context(anchor: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=anchor.read_bytes())
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"cannot use the anchor {anchor}: {error}; start the broker, which writes it, "
            "or name its folder with --anchors",
            exit_code=2,
        ) from error
    return context
