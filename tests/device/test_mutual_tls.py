"""A broker that asks for the camera's own certificate: who is let in, and who is not."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.authority import Authority
from host_tools.anchor import mbedtls
from host_tools.anchor.mbedtls import Question
from host_tools.virtual_camera.micropython import MicroPython
from tests.broker.local import NAMES
from tests.brokers import BrokerProcess, running_broker
from tests.cameras import LIMITS, CameraUnderTest
from tests.device.receiving import receiving
from tests.host.commands import anchorcam


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, made_once: Path) -> Path:
    """The data folder of the broker."""
    data = tmp_path_factory.mktemp("broker")
    shutil.copytree(made_once / "authority", data / "authority")
    return data


@pytest.fixture(scope="module")
def broker(data: Path) -> Iterator[BrokerProcess]:
    """A broker that asks devices for their certificate, on one more port."""
    with running_broker(data, "--device-port=0", "--camera=cam1", "--camera=cam2") as process:
        yield process


@pytest.fixture
def camera(make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess) -> CameraUnderTest:
    """A camera that goes to that port, without a certificate yet."""
    camera = make_camera(broker)
    camera.broker["port"] = broker.ready["device"]["port"]
    return camera


def give(camera: CameraUnderTest, data: Path, name: str = "cam1", days: int = 30) -> None:
    """Give the camera a certificate of this name, as a user does."""
    where = (f"--data={data}", f"--into={camera.keys}", f"--days={days}")
    done = anchorcam("device-cert", name, *where)
    assert done.status == 0, done.err
    # What it says is what config.json needs.
    said = done.out.splitlines()[-1]
    camera.broker.update(json.loads("{" + said + "}"))


def test_let_in_and_told_until_when(
    camera: CameraUnderTest, broker: BrokerProcess, data: Path
) -> None:
    give(camera, data)
    with receiving(broker.endpoint()) as receiver, camera:
        receiver.snapshot()
        # SNTP sets the camera's clock to whole seconds: 30 days less a second, or just 30.
        assert receiver.report("health")["client_days"] in (29, 30)
    broker.event("connect", account="cam1", listener="device")


def test_without_a_certificate_of_its_own(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    with camera:
        camera.line("tls: ", "alert")
    broker.event("refused", listener="device", reason="TLS: peer did not return a certificate")


def test_the_certificate_of_another_camera(
    camera: CameraUnderTest, broker: BrokerProcess, data: Path
) -> None:
    give(camera, data, "cam2")
    with camera:
        camera.line("auth: ", "CONNACK 5")
    broker.event("refused", listener="device", reason="cam1 showed the certificate of cam2")


def test_an_expired_certificate(camera: CameraUnderTest, broker: BrokerProcess, data: Path) -> None:
    give(camera, data)
    camera.power_on()
    camera.line("connected to localhost")
    camera.power_cut()
    after = len(camera.console)
    old, key = expired(data)
    (camera.flash / "keys/cam1.der").write_bytes(old)
    (camera.flash / "keys/cam1.key.der").write_bytes(key)
    camera.restart()
    camera.line("tls: ", "alert", after=after)
    why = "TLS: the client's certificate: certificate has expired"
    broker.event("refused", listener="device", reason=why)
    assert not [line for line in camera.console[after:] if "connected to" in line]


@pytest.mark.parametrize(
    ("name", "contents", "words"),
    [
        ("cam1.der", b"", "it is empty"),
        ("cam1.der", b"\x30\x03\x02\x01\x00", "mbedTLS does not load it"),
        ("cam1.key.der", b"\x30\x03\x02\x01\x00", "mbedTLS does not load it"),
        ("cam1.key.der", b"-----BEGIN PRIVATE KEY-----", "it is PEM"),
    ],
)
def test_files_that_are_of_no_use(
    camera: CameraUnderTest, data: Path, name: str, contents: bytes, words: str
) -> None:
    give(camera, data)
    camera.power_on()
    camera.power_cut()
    after = len(camera.console)
    (camera.flash / "keys" / name).write_bytes(contents)
    camera.restart()
    camera.line("client_cert: ", words, after=after)
    assert not [line for line in camera.console if "Traceback" in line]


def test_one_anchor_with_and_without_a_certificate(
    camera: CameraUnderTest, broker: BrokerProcess, data: Path
) -> None:
    # Two brokers, one root: a context for each, so the certificate is shown to one of them only.
    second = dict(camera.broker) | {"port": broker.ready["rsa"]["port"]}
    camera.config["brokers"].append(second)
    camera.config["recovery"] |= {"next_broker_after": 1, "return_after_s": 1}
    give(camera, data, "cam2")
    with camera:
        camera.line("auth: ")
        camera.line(f"connected to localhost:{second['port']}")
        camera.line("localhost is still out of reach: auth")


def test_the_probe_shows_a_certificate_too(
    runtime: MicroPython, broker: BrokerProcess, data: Path, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    authority = Authority(data / "authority", NAMES)
    certificate = authority.issue_device("cam1", key.public_key(), timedelta(days=1))
    root = (data / "anchors/test-root-x1.der").read_bytes()
    port = broker.ready["device"]["port"]
    shown = (certificate.public_bytes(Encoding.DER), der_of(key))
    other = der_of(ec.generate_private_key(ec.SECP256R1()))
    asked = [
        Question(root, "localhost", "127.0.0.1", port, (), *each)
        for each in (shown, (b"", b""), (b"nonsense", shown[1]), (shown[0], other))
    ]
    answers = mbedtls.ask(runtime, asked, LIMITS)
    assert [each.code for each in answers] == ["accepted", "tls", "client_cert", "tls"]


def test_the_zoo_asks_for_the_same_certificates(
    runtime: MicroPython, zoo: BrokerProcess, zoo_data: Path, data: Path
) -> None:
    root = (zoo_data / "anchors/test-root-x1.der").read_bytes()
    port = zoo.ready["zoo"]["mutual-tls"]
    asked = []
    # The devices' authority of this broker, and one that another broker would have made.
    for folder in (zoo_data / "authority", data / "elsewhere"):
        folder.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        made = Authority(folder, NAMES).issue_device("cam1", key.public_key(), timedelta(days=1))
        shown = (made.public_bytes(Encoding.DER), der_of(key))
        asked.append(Question(root, "localhost", "127.0.0.1", port, (), *shown))
    answers = mbedtls.ask(runtime, asked, LIMITS)
    assert [each.code for each in answers] == ["accepted", "tls"]


def der_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def expired(data: Path) -> tuple[bytes, bytes]:
    """A certificate for cam1 that expired yesterday, and its key."""
    authority = Authority(data / "authority", NAMES)
    authority.now = lambda: datetime.now(UTC) - timedelta(days=2)
    key = ec.generate_private_key(ec.SECP256R1())
    made: x509.Certificate = authority.issue_device("cam1", key.public_key(), timedelta(days=1))
    return made.public_bytes(Encoding.DER), der_of(key)
