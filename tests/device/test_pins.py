"""Leaf pins: checked by the camera in mbedTLS's own handshake, on top of an anchor."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from host_tools.anchor import mbedtls
from host_tools.anchor.mbedtls import Question
from host_tools.virtual_camera.micropython import MicroPython
from tests.brokers import BrokerProcess
from tests.cameras import LIMITS, CameraUnderTest
from tests.faults.proxy import FaultProxy, proxied

# Two listeners with one key and two certificates, as before and after a renewal; both lead to X1.
ONE, OTHER = "ecdsa", "ecdsa-2025"
# Of nothing.
WRONG = "0" * 64


def leaf(data: Path, row: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((data / f"zoo/{row}.crt").read_bytes())


def pin_of_certificate(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def pin_of_key(certificate: x509.Certificate) -> str:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(certificate.public_key().public_bytes(*form)).hexdigest()


@pytest.fixture
def network(zoo: BrokerProcess) -> Iterator[FaultProxy]:
    """The way to the broker: its certificate is ONE's, until `upstream` is set to OTHER's."""
    with proxied(zoo.ready["zoo"][ONE]) as proxy:
        yield proxy


@pytest.fixture
def camera(
    make_camera: Callable[..., CameraUnderTest], zoo: BrokerProcess, network: FaultProxy
) -> CameraUnderTest:
    camera = make_camera(zoo)
    camera.broker["port"] = network.port
    return camera


def renew(network: FaultProxy, zoo: BrokerProcess) -> None:
    network.upstream = zoo.ready["zoo"][OTHER]
    network.cut_now()


def test_a_pinned_certificate_and_its_renewal(
    camera: CameraUnderTest, network: FaultProxy, zoo: BrokerProcess, zoo_data: Path
) -> None:
    camera.broker["pin_sha256"] = [pin_of_certificate(leaf(zoo_data, ONE)).upper()]
    with camera:
        camera.line("connected to localhost")
        after = len(camera.console)
        renew(network, zoo)
        other = pin_of_certificate(leaf(zoo_data, OTHER))
        camera.line("pin_mismatch: ", other[:16], after=after)
        assert not [line for line in camera.console[after:] if "connected to" in line]
        # The camera goes on, and so it is there when the pinned certificate is back.
        network.upstream = zoo.ready["zoo"][ONE]
        camera.line("connected to localhost", after=after)
    assert not [line for line in camera.console if "Traceback" in line]


def test_a_pinned_key_outlives_the_certificate(
    camera: CameraUnderTest, network: FaultProxy, zoo: BrokerProcess, zoo_data: Path
) -> None:
    camera.broker["pin_sha256"] = [WRONG, pin_of_key(leaf(zoo_data, ONE))]
    with camera:
        camera.line("connected to localhost")
        after = len(camera.console)
        renew(network, zoo)
        camera.line("connected to localhost", after=after)
    assert not [line for line in camera.console if "pin_mismatch" in line]


def test_what_mbedtls_says_of_each_pin(
    runtime: MicroPython, zoo: BrokerProcess, zoo_data: Path
) -> None:
    root = (zoo_data / "anchors/test-root-x1.der").read_bytes()
    other_root = (zoo_data / "anchors/test-other-root.der").read_bytes()
    right = leaf(zoo_data, ONE)
    issuer = x509.load_pem_x509_certificate((zoo_data / "authority/ye1.pem").read_bytes())
    key = pin_of_key(right)
    cases: list[tuple[str, tuple[str, ...], bytes, str]] = [
        (ONE, (key,), root, "accepted"),
        (ONE, (pin_of_certificate(right),), root, "accepted"),
        (ONE, (WRONG, WRONG, key.upper()), root, "accepted"),
        (OTHER, (key,), root, "accepted"),
        (ONE, (WRONG,), root, "pin_mismatch"),
        (OTHER, (pin_of_certificate(right),), root, "pin_mismatch"),
        # It is the leaf that counts.
        (ONE, (pin_of_key(issuer), pin_of_certificate(issuer)), root, "pin_mismatch"),
        # A pin is never in place of an anchor.
        (ONE, (key,), other_root, "untrusted"),
        ("wrong-name", (key,), root, "name_mismatch"),
        ("expired", (key,), root, "expired"),
        ("self-signed", (key,), root, "untrusted"),
        # One context, made once: the pins of one connection are not those of the next.
        (ONE, (), root, "accepted"),
    ]
    asked = [
        Question(anchor, "localhost", "127.0.0.1", zoo.ready["zoo"][row], pins)
        for row, pins, anchor, _ in cases
    ]
    answers = mbedtls.ask(runtime, asked, LIMITS)
    assert [answer.code for answer in answers] == [code for *_, code in cases]


def test_two_brokers_with_one_anchor_and_different_pins(
    camera: CameraUnderTest, zoo: BrokerProcess, zoo_data: Path
) -> None:
    # One context for both: the first refuses its broker, the second must not inherit that.
    camera.broker["pin_sha256"] = [WRONG]
    second = dict(camera.broker) | {"port": zoo.ready["zoo"][OTHER]}
    second["pin_sha256"] = [pin_of_key(leaf(zoo_data, ONE))]
    camera.config["brokers"].append(second)
    camera.config["recovery"] |= {"next_broker_after": 1, "return_after_s": 1}
    with camera:
        camera.line("pin_mismatch: ")
        camera.line(f"connected to localhost:{second['port']}")
        # And back: what the second was allowed the first is not.
        camera.line("localhost is still out of reach: pin_mismatch")
    first = f"connected to localhost:{camera.broker['port']}"
    assert not [line for line in camera.console if first in line]
