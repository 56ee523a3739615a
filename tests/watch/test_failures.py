"""Each way of not getting a connection, through the front door: one line, and it goes on."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.errors import UserError
from host_tools.watch import failures, options
from tests.brokers import BrokerProcess, Endpoint
from tests.watch.conftest import Watch, write_settings


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def authority(
    name: str, begins_days: int = -1, ends_days: int = 1, host: str = "localhost"
) -> tuple[bytes, bytes, bytes]:
    """A self-signed anchor (DER), and the chain and key (PEM) of a server below it."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    subjects = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, "s")]
    made = []
    for number, (key, subject) in enumerate(zip(keys, subjects, strict=True)):
        days = (-2, 2) if number == 0 else (begins_days, ends_days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subjects[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(number == 0, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        )
        made.append(builder.sign(keys[0], hashes.SHA256()))
    pem = serialization.Encoding.PEM
    key_pem = keys[1].private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made[0].public_bytes(serialization.Encoding.DER), made[1].public_bytes(pem), key_pem


@contextlib.contextmanager
def tls_server(file: Path, chain: bytes, key: bytes) -> Iterator[int]:
    """Something that shakes hands and then says nothing; its port."""
    file.write_bytes(chain + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with serving(lambda connection: context.wrap_socket(connection, server_side=True)) as port:
        yield port


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """A TCP server that gives each connection to `answer`; its port."""
    held = []

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with contextlib.suppress(OSError):
                    held.append(answer(connection))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        # close() alone would leave the accept() of the other thread waiting.
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_no_connection_is_one_line_with_its_reason(
    watch: Watch, shared_broker: BrokerProcess, tmp_path: Path
) -> None:
    """All of them at once: each is a process that mostly waits."""
    right = shared_broker.endpoint()
    other_anchor, _, _ = authority("other")
    (tmp_path / "other.der").write_bytes(other_anchor)
    impostor = Endpoint(right.port, tmp_path / "other.der", right.passwords)
    anchor, *expired = authority("test", begins_days=-2, ends_days=-1)
    (tmp_path / "expired.der").write_bytes(anchor)
    anchor, *elsewhere = authority("test", host="elsewhere.example")
    (tmp_path / "elsewhere.der").write_bytes(anchor)

    def settings(name: str, endpoint: Endpoint, **broker: object) -> Path:
        return write_settings(tmp_path / name, endpoint, **broker)

    with (
        tls_server(tmp_path / "expired.pem", *expired) as expired_port,
        tls_server(tmp_path / "elsewhere.pem", *elsewhere) as elsewhere_port,
        serving(lambda connection: connection.close()) as closing_port,
        serving(lambda connection: connection.sendall(b"HTTP/1.1 400\r\n\r\n")) as http_port,
    ):
        wrong_login = settings("auth", right)
        (wrong_login.parent / "secrets.json").write_text('{"passwords": {"watcher": "wrong"}}')
        old = Endpoint(expired_port, tmp_path / "expired.der", right.passwords)
        misnamed = Endpoint(elsewhere_port, tmp_path / "elsewhere.der", right.passwords)
        cases = {
            ("auth", "secrets.json"): wrong_login,
            ("untrusted", "test-root-x1.der"): settings("untrusted", impostor),
            ("name_mismatch", "not for localhost"): settings("name", misnamed),
            ("expired", "renew"): settings("expired", old),
            ("dns", "no-such-host.invalid"): settings("dns", right, host="no-such-host.invalid"),
            ("refused", "start the broker"): settings("refused", right, port=refused_port()),
            ("tls", "TLS"): settings("closes", right, port=closing_port),
            ("tls", "plain MQTT"): settings("http", right, port=http_port),
        }
        running = [
            (*expected, watch(config, "--expect", "1")) for expected, config in cases.items()
        ]
        for reason, word, watcher in running:
            told = watcher.event(event="connection")
            assert (told["connected"], told["reason"]) == (False, reason)
            assert word in told["text"]
            ended = watcher.end()
            assert ended.status == 1
            why = f"0 of 1 snapshots verified: never connected: {told['text']}"
            assert ended.errors == f"anchorcam: {why}\n"


def test_the_same_failure_is_told_once(watch: Watch, config: Path) -> None:
    watcher = watch(config, "--expect", "1", "--timeout", "4", "--port", str(refused_port()))
    ended = watcher.end(None)
    # Tried at once, after 1 s and after 3 s.
    assert (ended.status, len(ended.events)) == (1, 1)


class TestTexts:
    """The reasons that take too long to come about, or need a broken system."""

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (TimeoutError("timed out"), "timeout"),
            (TimeoutError("_ssl.c:990: The handshake operation timed out"), "timeout"),
            (ConnectionResetError(104, "Connection reset by peer"), "tls"),
            (OSError(113, "No route to host"), "internal"),
            (UnicodeError("label too long"), "dns"),
        ],
    )
    def test_connecting(self, error: Exception, code: str) -> None:
        failure = failures.of_connecting(error, "host", 8883, "x.der")
        assert failure.code == code
        assert "\n" not in failure.text
        assert "; " in failure.text

    @pytest.mark.parametrize(
        "failure",
        [
            failures.of_silence("host", 8883, 10),
            failures.of_nonsense(ValueError("x"), "host", 8883),
            failures.of_subscribing("cameras", "watcher", "host", 8883),
            failures.of_hanging_up("host", 8883, answered=True),
        ],
    )
    def test_talking(self, failure: failures.Failure) -> None:
        assert failure.text.startswith("host:8883 ")
        assert "; " in failure.text


def problem(config: Path) -> str:
    with pytest.raises(UserError) as caught:
        options.load(config, config.parent)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_anchors_and_secrets_that_cannot_be_used(config: Path) -> None:
    anchor = config.parent / "anchors" / "test-root-x1.der"
    secrets, der = config.parent / "secrets.json", anchor.read_bytes()

    anchor.write_text(ssl.DER_cert_to_PEM_cert(der))
    assert "it is PEM" in problem(config)
    for wrong, why in (
        (der[:-10], "ends after"),
        (der + der, "something follows"),
        (b"", "empty"),
        (b"\x30\x03\x02\x01\x00", "no certificate"),
    ):
        anchor.write_bytes(wrong)
        assert why in problem(config)
    anchor.unlink()
    assert "cannot read" in problem(config)
    anchor.write_bytes(der)

    secrets.write_text('{"passwords": {}}')
    assert "account watcher" in problem(config)
    secrets.write_text("[" * 100_000)
    assert "not JSON" in problem(config)
    secrets.write_bytes(b"\xff")
    assert "not UTF-8" in problem(config)
    secrets.unlink()
    assert "cannot read" in problem(config)


def test_settings_that_cannot_be_used(config: Path) -> None:
    settings = json.loads(config.read_text())
    settings["brokers"][0]["port"] = 0
    settings["camera"]["id"] = "../x"
    config.write_text(json.dumps(settings))
    assert "brokers[0].port" in problem(config)
    assert "camera.id" in problem(config)
    config.write_text("{")
    assert "is not JSON" in problem(config)


def test_usage_errors_are_a_line_and_status_2(watch: Watch, config: Path) -> None:
    ended = watch(config, "--timeout", "5").end(None)
    assert (ended.status, ended.events) == (2, [])
    assert ended.errors == "anchorcam: --timeout is for --expect; give both\n"
