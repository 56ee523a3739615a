"""A broker and clients for tests of any folder: started by a test, gone after it."""

import contextlib
import json
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from tests.packets import CONNACK, DEADLINE_S, RawClient, connect

REPOSITORY = Path(__file__).parent.parent


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of condition(); AssertionError, naming `what`, if it never is."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline_s:g} s in vain for {what}")


@dataclass(frozen=True)
class Endpoint:
    """Where a broker listens and what is needed to be let in. pid: its process, where known."""

    port: int
    anchor: Path
    passwords: Mapping[str, str]
    host: str = "localhost"
    pid: int = 0

    def context(self) -> ssl.SSLContext:
        """A client's context that trusts the anchor and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.anchor.read_bytes())
        return context

    def tls(self) -> ssl.SSLSocket:
        """A verified TLS connection."""
        plain = socket.create_connection((self.host, self.port), timeout=DEADLINE_S)
        return self.context().wrap_socket(plain, server_hostname=self.host)

    def raw(self, account: str, *, client_id: str = "", **options: Any) -> RawClient:
        """A client that says exactly what a test wants, connected (CONNACK 0)."""
        client = RawClient(self.tls())
        client.send(connect(client_id or account, account, self.passwords[account], **options))
        kind, _, body = client.receive()
        assert (kind, body[1]) == (CONNACK, 0), body
        client.has_session = bool(body[0])
        return client

    @contextlib.contextmanager
    def paho(self, account: str, **options: Any) -> Iterator[paho.Client]:
        """An ordinary client, connected and with its loop running."""
        client = paho_client(self, account, **options)
        connected = threading.Event()

        def on_connect(_c: object, _u: object, _f: object, code: ReasonCode, _p: object) -> None:
            if not code.is_failure:
                connected.set()

        client.on_connect = on_connect
        client.connect(self.host, self.port)
        client.loop_start()
        try:
            assert connected.wait(DEADLINE_S), f"{account} was not let in"
            yield client
        finally:
            client.disconnect()
            client.loop_stop()


def paho_client(endpoint: Endpoint, account: str, **options: Any) -> paho.Client:
    """A paho client for the broker, not connected yet. options: of paho.Client."""
    options.setdefault("client_id", account)
    client = paho.Client(CallbackAPIVersion.VERSION2, **options)
    client.username_pw_set(account, endpoint.passwords[account])
    client.tls_set_context(endpoint.context())

    def on_socket_open(_client: object, _userdata: object, stream: Any) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    client.on_socket_open = on_socket_open
    return client


class BrokerProcess:
    """`python -m broker --json` on free ports, as a user starts it.

    ready: its first line; events: the lines after it, so far.
    """

    def __init__(self, data: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "broker", "--json", "--data", str(data)),
                *("--port=0", "--rsa-port=0", "--clock-port=0"),
                *arguments,
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.ready = json.loads(self._lines.get(timeout=DEADLINE_S))
        except (queue.Empty, ValueError):
            self._process.kill()
            raise AssertionError(f"no ready line: {self._process.communicate()[1]}") from None

    def _read(self) -> None:
        assert self._process.stdout
        self._lines.put(self._process.stdout.readline())
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    @property
    def pid(self) -> int:
        return self._process.pid

    def endpoint(self, listener: str = "ecdsa") -> Endpoint:
        """How to reach one listener, "ecdsa" or "rsa"."""
        secrets = json.loads(Path(self.ready["secrets"]).read_text())
        anchor = Path(self.ready["anchors"][0]["path"])
        return Endpoint(
            self.ready[listener]["port"], anchor, secrets["passwords"], pid=self._process.pid
        )

    def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """The first event with this name and these fields, waited for."""

        def found() -> dict[str, Any] | None:
            for event in list(self.events):
                if {"event": name, **fields}.items() <= event.items():
                    return event
            return None

        return dict(wait_for(found, f"event {name} {fields}; there are {self.events}"))

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; its exit status and everything it wrote to stderr."""
        self._process.send_signal(number)
        try:
            self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
        self._reader.join(DEADLINE_S)
        assert self._process.stderr
        assert self._process.stdout
        with self._process.stderr, self._process.stdout:
            return self._process.returncode, self._process.stderr.read()


@contextlib.contextmanager
def running_broker(data: Path, *arguments: str) -> Iterator[BrokerProcess]:
    """A broker process for the length of a with block; it must end cleanly and silently."""
    broker = BrokerProcess(data, *arguments)
    try:
        yield broker
    finally:
        status, errors = broker.stop()
    assert (status, errors) == (0, "")
