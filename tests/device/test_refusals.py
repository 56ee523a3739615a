"""Each failure has its reason code and one line that says what to do; nothing hangs."""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.clock import answer
from camera.errors import REASONS
from tests.brokers import DEADLINE_S, BrokerProcess, running_broker, wait_for
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving
from tests.packets import RawClient, packet
from tests.scripted import clock_answering, listening, self_signed, tls_listening

CONNACK = packet(2, b"\0\0")


def pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda good: self_signed().der, ("untrusted", "not correctly signed by the trusted CA")),
        (pem, ("anchor", "it is PEM", "openssl x509 -in FILE -outform DER")),
        (lambda good: good[:-10], ("anchor", "copy it again")),
        (lambda good: good + good, ("anchor", "one file holds one certificate")),
        (lambda good: b"", ("anchor", "it is empty")),
        (lambda good: b"<html>", ("anchor", "it is not a DER certificate")),
        (lambda good: b"\x30\x03\x02\x01\x00", ("anchor", "mbedTLS does not load it")),
    ],
    ids=["other CA", "PEM", "truncated", "two in one", "empty", "HTML", "DER, no certificate"],
)
def test_wrong_anchor(
    change: Callable[[bytes], bytes],
    words: tuple[str, ...],
    camera: CameraUnderTest,
) -> None:
    camera.anchor = change(camera.anchor)
    with camera:
        camera.line(words[0] + ": " + REASONS[words[0]], *words[1:])
        camera.line("trying again")
    assert not [line for line in camera.console if "connected to" in line]


def test_name_not_in_the_certificate(
    make_camera: Callable[..., CameraUnderTest], tmp_path: Path
) -> None:
    with (
        running_broker(tmp_path / "data", "--name", "broker.test") as broker,
        make_camera(broker) as camera,
    ):
        camera.line("name_mismatch", "does not match with the expected CN")


def test_no_such_host(camera: CameraUnderTest) -> None:
    camera.broker["host"] = "no-such-host.invalid"
    with camera:
        camera.line("dns: the broker's name was not found", "no-such-host.invalid")


def test_port_closed(camera: CameraUnderTest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        camera.broker["port"] = server.getsockname()[1]
    with camera:
        camera.line("refused: nothing listens")


def test_wrong_password(camera: CameraUnderTest) -> None:
    camera.secrets["passwords"]["cam1"] = "not-the-password"
    with camera:
        camera.line("auth: the broker refused the account or its password")
    assert "not-the-password" not in "\n".join(camera.console)


def test_a_host_that_drops_packets(camera: CameraUnderTest) -> None:
    # A listener whose queue is full answers no SYN.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        camera.config["limits_s"]["connect"] = 0.5
        camera.broker["port"] = port
        with camera:
            camera.line("timeout: an answer did not come in time")
        for each in waiting:
            each.close()


def silent(stream: socket.socket) -> None:
    while stream.recv(4096):
        pass


def greet_by(said: bytes) -> Callable[[socket.socket], None]:
    def serve(stream: socket.socket) -> None:
        RawClient(stream).receive()
        stream.sendall(said)
        silent(stream)

    return serve


@pytest.mark.parametrize(
    ("serve", "code"),
    [
        (silent, "timeout"),
        (lambda stream: stream.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" * 20), "tls"),
        (lambda stream: None, "broker_closed"),
    ],
    ids=["never answers", "garbage", "closes"],
)
def test_a_port_that_is_not_tls(
    serve: Callable[[socket.socket], None], code: str, camera: CameraUnderTest
) -> None:
    camera.config["limits_s"]["handshake"] = 1
    with listening(serve) as port:
        camera.broker["port"] = port
        with camera:
            camera.line(code + ": " + REASONS[code])
            camera.line("trying again")


def refuse_pings(stream: socket.socket) -> None:
    client = RawClient(stream)
    client.receive()
    client.send(CONNACK)
    while True:
        kind, flags, body = client.receive()
        if kind == 8:
            client.send(packet(9, body[:2] + b"\1"))
        if kind == 3 and flags & 2:
            end = 2 + struct.unpack_from("!H", body)[0]
            client.send(packet(4, body[end : end + 2]))


@pytest.mark.parametrize(
    ("serve", "code", "words"),
    [
        (silent, "timeout", "2000 ms"),
        (greet_by(b"\xff" * 64), "protocol", "no CONNACK"),
        (greet_by(packet(2, b"\0\3")), "refused", "CONNACK 3"),
        (greet_by(CONNACK), "timeout", "2000 ms"),
        # A PUBLISH of 256 MiB, which umqtt.simple would try to read at once.
        (greet_by(CONNACK + b"\x30\xff\xff\xff\x7f\0\1t"), "timeout", "2000 ms"),
        (greet_by(CONNACK + b"\x30\x03\0\5hello"), "protocol", "-4 bytes at once"),
        (greet_by(CONNACK + b"\x30" + b"\x80" * 999), "protocol", "a length of more than 4 bytes"),
        (greet_by(CONNACK + packet(4, b"\0\1\2")), "protocol", "type 4 of 3 bytes"),
        (greet_by(CONNACK + packet(9, b"\0\1\0")), "protocol", "packet type 9"),
        (refuse_pings, "timeout", "no PINGRESP"),
    ],
    ids=[
        "never answers",
        "garbage",
        "server unavailable",
        "no PUBACK",
        "huge PUBLISH",
        "PUBLISH that ends inside its topic",
        "length without end",
        "long PUBACK",
        "SUBACK that nobody asked for",
        "no PINGRESP",
    ],
)
def test_a_broker_that_misbehaves(
    serve: Callable[[socket.socket], None],
    code: str,
    words: str,
    camera: CameraUnderTest,
    tmp_path: Path,
) -> None:
    # Time for pings between the snapshots.
    camera.config["camera"] |= {"interval_s": 60, "health_s": 60}
    camera.broker["keepalive_s"] = 5
    with tls_listening(tmp_path, serve) as (port, anchor):
        camera.broker["port"] = port
        camera.anchor = anchor
        with camera:
            camera.line(code + ": " + REASONS[code], words)
            camera.line("trying again")


def test_a_broker_that_stops_reading(
    camera: CameraUnderTest, broker: BrokerProcess, tmp_path: Path
) -> None:
    # The kernel's buffers on this machine hold more than one snapshot: write without end.
    done = threading.Event()
    with camera:
        camera.line("connected to")
    with tls_listening(tmp_path, lambda stream: done.wait(DEADLINE_S)) as (port, anchor):
        (camera.flash / "anchors/root.der").write_bytes(anchor)
        (camera.flash / "main.py").write_text(
            "from camera import anchors, clock, settings, transport, uptime\n"
            "read = lambda path: open(path).read()\n"
            "complete = settings.load(read('config.json'), read('secrets.json'))\n"
            "limits = complete['limits_s']\n"
            "class Here: resolve = staticmethod(lambda host: host)\n"
            "limits['write'] = 1\n"
            "clock.Clock(complete['clock'], 1, uptime.Uptime(), Here).sync()\n"
            "anchor = anchors.Anchor('anchors/root.der')\n"
            f"pipe = transport.Transport('localhost', '127.0.0.1', {port}, anchor, limits)\n"
            "pipe.write(b'hello')\n"
            "pipe.handshake(5)\n"
            "print('shaken')\n"
            "block = bytes(65536)\n"
            "try:\n"
            "    for _ in range(1000):\n"
            "        pipe.write(block)\n"
            "except Exception as error:\n"
            "    print(error)\n"
        )
        camera.restart()
        camera.line("shaken")
        camera.line("timeout: an answer did not come in time", "1000 ms")
        done.set()


def test_puback_of_another_id_is_passed_over(camera: CameraUnderTest, tmp_path: Path) -> None:
    def serve(stream: socket.socket) -> None:
        client = RawClient(stream)
        client.receive()
        client.send(CONNACK)
        while True:
            kind, _, body = client.receive()
            if kind == 8:
                client.send(packet(9, b"\xab\xcd\1") + packet(9, body[:2] + b"\1"))
                continue
            end = 2 + struct.unpack_from("!H", body)[0]
            seen.append(body[:end])
            client.send(packet(4, b"\xab\xcd") + packet(4, body[end : end + 2]))

    seen: list[bytes] = []
    with tls_listening(tmp_path, serve) as (port, anchor):
        camera.broker["port"] = port
        camera.anchor = anchor
        with camera:
            wait_for(lambda: len(seen) > 5, "messages with their PUBACKs")
    assert not [line for line in camera.console if "trying again" in line]


def test_without_a_clock_there_is_no_tls(camera: CameraUnderTest) -> None:
    connections: list[socket.socket] = []
    with listening(connections.append) as port:
        camera.broker["port"] = port
        camera.config["clock"]["servers"] = ["127.0.0.1:9"]
        with camera:
            camera.line("clock_unset: no clock server gave a time")
            camera.line("trying again")
            camera.line("clock_unset", after=2)
    assert not connections


def test_mbedtls_itself_would_have_refused(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    # What a program does that skips the clock: same anchor, same name, CERT_REQUIRED.
    with camera:
        camera.line("connected to")
    (camera.flash / "main.py").write_text(
        "import socket, ssl, time\n"
        "print('year', time.gmtime()[0])\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "context.verify_mode = ssl.CERT_REQUIRED\n"
        "context.load_verify_locations(cafile='anchors/root.der')\n"
        "sock = socket.socket()\n"
        f"sock.connect(socket.getaddrinfo('127.0.0.1', {camera.broker['port']})[0][-1])\n"
        "try:\n"
        "    context.wrap_socket(sock, server_hostname='localhost')\n"
        "except ValueError as error:\n"
        "    print('refused:', error)\n"
    )
    camera.restart()
    camera.line("year 2000")
    camera.line("refused:")
    camera.line("validity starts in the future")


def test_the_firmware_verifies_nothing_by_default(
    camera: CameraUnderTest, broker: BrokerProcess
) -> None:
    # The trap that anchors.py is there for: the document's first warning.
    with camera:
        camera.line("connected to")
    (camera.flash / "main.py").write_text(
        "import socket, ssl\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "sock = socket.socket()\n"
        f"sock.connect(socket.getaddrinfo('127.0.0.1', {camera.broker['port']})[0][-1])\n"
        "context.wrap_socket(sock, server_hostname='anything')\n"
        "print('connected, mode', context.verify_mode == ssl.CERT_NONE)\n"
    )
    camera.restart()
    camera.line("connected, mode True")


def year_ago(request: bytes) -> bytes | None:
    return answer(request, time.time() - 400 * 86400)


def forged(request: bytes) -> bytes | None:
    """By somebody who has not seen the request: its transmit timestamp does not come back."""
    good = answer(request, time.time() + 86400)
    return good and good[:24] + bytes(8) + good[32:]


def kiss_of_death(request: bytes) -> bytes | None:
    good = answer(request, time.time() + 86400)
    return good and good[:1] + b"\0" + good[2:]


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (year_ago, "its time is before one that was right already"),
        (forged, "no answer in 500 ms"),
        (kiss_of_death, "its time is not to be used"),
        (lambda request: request, "no answer in 500 ms"),
        (lambda request: b"\x24", "no answer in 500 ms"),
    ],
    ids=["before the floor", "forged", "kiss of death", "echo", "too short"],
)
def test_a_clock_that_lies_is_not_believed(
    lie: Callable[[bytes], bytes | None],
    words: str,
    camera: CameraUnderTest,
    broker: BrokerProcess,
) -> None:
    honest = camera.config["clock"]["servers"][0]
    with clock_answering(lie) as liar, receiving(broker.endpoint()) as receiver:
        camera.config["clock"]["servers"] = [liar]
        with camera:
            camera.line("clock_unset: ", liar, words)
        # The next server in the list sets it right.
        camera.config["clock"]["servers"] = [liar, honest]
        with camera:
            # The first are taken before there is a clock.
            while (sent_ms := receiver.snapshot().fields.get("ts")) is None:
                pass
            assert abs(sent_ms / 1000 - time.time()) < 5
            assert receiver.report("health")["clock_source"] == honest


def test_settings_with_several_mistakes(camera: CameraUnderTest) -> None:
    with camera:
        camera.line("connected to")
    config = json.loads((camera.flash / "config.json").read_text())
    config["camera"]["quality"] = 101
    config["brokers"][0]["port"] = "8883"
    config["colour"] = True
    (camera.flash / "config.json").write_text(json.dumps(config))
    before = len(camera.console)
    camera.restart()
    camera.line("camera.quality is 101; right would be: a whole number from 1 to 100", after=before)
    camera.line('brokers[0].port is "8883"; right would be: a whole number', after=before)
    camera.line("colour is not a setting", after=before)
    # It stays up to be mended, and starts again by itself.
    camera.line("restarting in 30 s", after=before)
    assert camera.is_running()


def obliging(stream: socket.socket, say: Callable[[bytes], None]) -> None:
    """A broker that takes everything; its answers go through say()."""
    client = RawClient(stream)
    client.receive()
    say(CONNACK)
    while True:
        kind, flags, body = client.receive()
        if kind == 8:
            say(packet(9, body[:2] + b"\1"))
        if kind == 3 and flags & 2:
            end = 2 + struct.unpack_from("!H", body)[0]
            say(packet(4, body[end : end + 2]))


def test_answers_that_come_byte_by_byte(camera: CameraUnderTest, tmp_path: Path) -> None:
    answers: list[bytes] = []

    def serve(stream: socket.socket) -> None:
        def say(data: bytes) -> None:
            answers.append(data)
            for byte in data:
                stream.sendall(bytes([byte]))

        obliging(stream, say)

    with tls_listening(tmp_path, serve) as (port, anchor):
        camera.broker["port"] = port
        camera.anchor = anchor
        with camera:
            wait_for(lambda: len(answers) > 10, "messages with their PUBACKs")
    assert not [line for line in camera.console if "trying again" in line]


def test_packet_ids_wrap_and_leave_out_0(camera: CameraUnderTest, tmp_path: Path) -> None:
    ids: list[int] = []

    def serve(stream: socket.socket) -> None:
        def say(data: bytes) -> None:
            if data[0] == 0x40:
                ids.append(struct.unpack("!H", data[2:])[0])
            stream.sendall(data)

        obliging(stream, say)

    with tls_listening(tmp_path, serve) as (port, anchor):
        camera.broker["port"] = port
        camera.anchor = anchor
        camera.power_on()
        camera.power_cut()
        main = camera.flash / "main.py"
        main.write_text(
            "from camera import session\n"
            "made = session.Session.__init__\n"
            "def near_the_end(self, *args):\n"
            "    made(self, *args)\n"
            "    self.pid = 65530\n"
            "session.Session.__init__ = near_the_end\n" + main.read_text()
        )
        ids.clear()
        camera.console.clear()
        camera.restart()
        wait_for(lambda: len(ids) > 10, "PUBACKs")
        camera.power_cut()
    # 65532 was the SUBSCRIBE's.
    assert ids[:8] == [65531, 65533, 65534, 65535, 1, 2, 3, 4]
    assert not [line for line in camera.console if "trying again" in line]
