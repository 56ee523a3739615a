"""What is asked of the broker in its container, each as one function that raises Failure."""

import hashlib
import json
import os
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from camera.topics import ANY, JPEG, topic
from tests.compose.project import DECOY, Project
from tests.compose.shell import Failure

_LIMIT_S = 10.0
_PREFIX = "cameras"
# Seconds between the epochs of NTP (1900) and of Unix (1970).
_NTP_EPOCH = 2208988800


@dataclass(frozen=True)
class TakenOut:
    """What a user copies out of the container: the anchors and the passwords."""

    anchors: dict[str, bytes]
    passwords: dict[str, str]

    @property
    def hashes(self) -> dict[str, str]:
        """Anchor file name -> SHA-256."""
        return {name: hashlib.sha256(der).hexdigest() for name, der in self.anchors.items()}

    def context(self) -> ssl.SSLContext:
        """A context that believes these anchors and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for der in self.anchors.values():
            context.load_verify_locations(cadata=der)
        return context


def take_out(project: Project, target: Path) -> TakenOut:
    """The README's two copies; the files must be the user's, and the passwords theirs alone."""
    target.mkdir()
    project.copy_out("/data/anchors", target)
    project.copy_out("/data/secrets.json", target)
    secrets = target / "secrets.json"
    anchors = sorted((target / "anchors").glob("*.der"))
    _require(bool(anchors), f"/data/anchors has no .der file, only {_names(target / 'anchors')}")
    for path in (target / "anchors", *anchors, secrets):
        status = path.stat()
        _require(status.st_uid == os.getuid(), f"{path.name} belongs to user {status.st_uid}")
        _require(bool(status.st_mode & 0o400), f"{path.name} has mode {status.st_mode & 0o777:o}")
    mode = secrets.stat().st_mode & 0o777
    _require(mode == 0o600, f"secrets.json has mode {mode:o} on the host instead of 600")
    passwords = json.loads(secrets.read_text())["passwords"]
    return TakenOut({path.name: path.read_bytes() for path in anchors}, passwords)


def confinement(project: Project) -> None:
    """Not root, no capabilities, no way to gain any, nothing to write to but /data and /tmp."""
    probe = """
import errno, json, os, pathlib
def written(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return errno.errorcode[error.errno]
    pathlib.Path(path).unlink()
    return "written"
keys = ("Name", "Uid", "CapEff", "CapBnd", "NoNewPrivs")
fields = {}
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit():
        lines = (entry / "status").read_text().splitlines()
        status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
        fields[entry.name] = [status[key] for key in keys]
places = ("/app/x", "/venv/x", "/etc/x", "/usr/bin/x", "/data/x", "/tmp/x")
print(json.dumps({"processes": fields, "written": {place: written(place) for place in places}}))
"""
    found = json.loads(project.python(probe))
    for pid, (name, uids, effective, bounding, no_new) in found["processes"].items():
        what = f"process {pid} ({name}) in the container"
        _require("0" not in uids.split(), f"{what} is root: Uid {uids}")
        _require(int(effective, 16) == int(bounding, 16) == 0, f"{what} has capabilities")
        _require(no_new == "1", f"{what} may gain privileges: NoNewPrivs {no_new}")
    for place, outcome in found["written"].items():
        wanted = "written" if place in ("/data/x", "/tmp/x") else "EROFS"
        _require(outcome == wanted, f"writing {place} gave {outcome} instead of {wanted}")


def contents(project: Project) -> None:
    """Only the broker, the camera's modules that it uses and their dependencies are inside."""
    probe = """
import importlib.util as util, json, pathlib
files = [str(path) for path in pathlib.Path("/app").rglob("*") if path.is_file()]
extra = [name for name in ("pip", "pytest", "mypy", "PIL") if util.find_spec(name)]
print(json.dumps([files, extra]))
"""
    files, extra = json.loads(project.python(probe))
    strange = [name for name in files if not name.endswith((".py", ".pyc"))]
    strange += [name for name in files if not name.startswith(("/app/broker/", "/app/camera/"))]
    _require(not strange, f"the image has {', '.join(strange)}; .dockerignore should stop it")
    _require(f"/app/{DECOY}" not in files, f"the image has /app/{DECOY}")
    _require(not extra, f"the image has {', '.join(extra)}, which the broker does not need")


def published_ports(project: Project) -> None:
    """Unless told otherwise only this machine can reach the broker."""
    ports = project.inspect()["NetworkSettings"]["Ports"]
    wanted = {
        "8883/tcp": project.port,
        "8884/tcp": project.rsa_port,
        "11123/udp": project.clock_port,
    }
    _require(set(ports) == set(wanted), f"the container's ports are {', '.join(sorted(ports))}")
    for inside, outside in wanted.items():
        where = {(each["HostIp"], int(each["HostPort"])) for each in ports[inside] or []}
        _require(where == {("127.0.0.1", outside)}, f"{inside} is published at {sorted(where)}")


def round_trip(project: Project, taken: TakenOut) -> None:
    """What cam1 publishes arrives at the watcher, byte for byte, over each chain."""
    payload = b"\xff\xd8" + os.urandom(30_000) + b"\xff\xd9"
    arrived: list[bytes] = []
    event = threading.Event()
    watcher = _connect("localhost", project.port, "watcher", taken)
    try:

        def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
            arrived.append(bytes(message.payload))
            event.set()

        subscribed = threading.Event()
        watcher.on_message = on_message
        watcher.on_subscribe = lambda *_: subscribed.set()
        watcher.subscribe(topic(_PREFIX, ANY, JPEG), qos=1)
        _require(subscribed.wait(_LIMIT_S), "the broker did not answer SUBSCRIBE")
        for host, port in (("localhost", project.port), ("127.0.0.1", project.rsa_port)):
            event.clear()
            camera = _connect(host, port, "cam1", taken)
            try:
                camera.publish(topic(_PREFIX, "cam1", JPEG), payload, qos=1).wait_for_publish(
                    _LIMIT_S
                )
                _require(event.wait(_LIMIT_S), f"what cam1 published at port {port} never arrived")
            finally:
                _disconnect(camera)
    finally:
        _disconnect(watcher)
    _require(arrived == [payload, payload], f"{len(arrived)} messages arrived, or changed ones")


def verification(project: Project, taken: TakenOut) -> None:
    """The certificate is for the names it should be for, and only our anchor vouches for it."""
    for name in ("localhost", "127.0.0.1", "broker"):
        _handshake(project.port, name, taken.context())
    try:
        _handshake(project.port, "elsewhere.example", taken.context())
    except ssl.SSLCertVerificationError:
        pass
    else:
        raise Failure("the certificate was accepted for a name that is not in it")
    try:
        _handshake(project.port, "localhost", ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        pass
    else:
        raise Failure("the certificate was accepted without our anchor")


def wrong_password(project: Project, taken: TakenOut) -> None:
    """Neither a wrong password nor an unknown account gets in."""
    other = TakenOut(taken.anchors, {"watcher": "wrong", "nobody": "wrong"})
    for account in other.passwords:
        try:
            client = _connect("localhost", project.port, account, other)
        except Refused:
            continue
        _disconnect(client)
        raise Failure(f"account {account} got in with a wrong password")


def clock(project: Project) -> None:
    """The SNTP service gives the time of day."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(_LIMIT_S)
        udp.connect(("127.0.0.1", project.clock_port))
        try:
            udp.send(b"\x1b" + bytes(47))
            answer = udp.recv(512)
        except OSError as error:
            raise Failure(f"the clock service did not answer over UDP: {error}") from error
    _require(len(answer) >= 48, f"the clock service answered {len(answer)} bytes instead of 48")
    seconds: int = struct.unpack_from(">I", answer, 40)[0]
    off = seconds - _NTP_EPOCH - time.time()
    _require(abs(off) < 5, f"the clock service is {off:.0f} s off")


def stalled_broker(project: Project) -> None:
    """The health check notices a broker whose ports are open but which no longer answers."""
    _signal_broker(project, "SIGSTOP")
    try:
        project.wait_for_health("unhealthy")
    finally:
        _signal_broker(project, "SIGCONT")
    project.wait_for_health("healthy")


def clean_stop(project: Project) -> None:
    """`docker compose stop` ends the broker by its own means, before the time for that is up."""
    project.compose("stop", "broker")
    code = project.inspect()["State"]["ExitCode"]
    _require(code == 0, f"the stopped broker's exit code is {code} (137: it had to be killed)")


class Refused(Failure):
    """The broker refused the account."""


def _connect(host: str, port: int, account: str, taken: TakenOut) -> mqtt.Client:
    """A connected client; its network loop runs. Raises Refused or Failure."""
    # The broker keeps client ids apart by account, so that nobody takes over another's session.
    client_id = f"{account}/compose-test"
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
    client.username_pw_set(account, taken.passwords[account])
    client.tls_set_context(taken.context())
    answers: list[ReasonCode] = []
    answered = threading.Event()

    def on_connect(_c: object, _u: object, _f: object, code: ReasonCode, _p: object) -> None:
        answers.append(code)
        answered.set()

    client.on_connect = on_connect
    try:
        client.connect(host, port)
    except OSError as error:
        raise Failure(f"cannot connect to {host} port {port} as {account}: {error}") from error
    client.loop_start()
    if answered.wait(_LIMIT_S) and not answers[0].is_failure:
        return client
    _disconnect(client)
    if answers:
        raise Refused(f"the broker refused {account} at port {port}: {answers[0]}")
    raise Failure(f"the broker at port {port} did not answer CONNECT of {account}")


def _disconnect(client: mqtt.Client) -> None:
    client.disconnect()
    client.loop_stop()


def _handshake(port: int, name: str, context: ssl.SSLContext) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=name),
    ):
        pass


def _signal_broker(project: Project, name: str) -> None:
    # From inside, as the same user: works with any engine and needs no rights on the host.
    # PID 1 is the init; a signal to it would not stop the broker.
    project.python(f"""
import os, pathlib, signal
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and entry.name not in ("1", str(os.getpid())):
        words = (entry / "cmdline").read_bytes().split(b"\\0")
        if b"broker" in words and b"health" not in words:
            os.kill(int(entry.name), signal.{name})
""")


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failure(otherwise)
