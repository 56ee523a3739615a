"""The document on verifying a public server, its script and its claims, on real mbedTLS.

Where mbedTLS differs from the document, the test says so: docs/operations.md has the list.
"""

import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.brokers import BrokerProcess
from tests.cameras import CameraUnderTest
from tests.scripted import listening, self_signed, tls_listening

# Step 3 of the document, with the file, the host and the port of the test.
SCRIPT = """
import socket
import ssl
import ntptime

ntptime.settime()                  # validity check needs the clock

addr = socket.getaddrinfo("127.0.0.1", {port})[0][-1]
sock = socket.socket()
sock.connect(addr)

ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ctx.verify_mode = ssl.CERT_REQUIRED
ctx.load_verify_locations(cafile="anchors/root.der")
try:
    ssock = ctx.wrap_socket(sock, server_hostname="{host}")
    print("accepted")
except ValueError as error:
    print("refused:", *str(error).split())
"""


def der(authority: Path, name: str) -> bytes:
    pem = (authority / f"{name}.pem").read_bytes()
    return x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER)


def served(broker: BrokerProcess) -> list[bytes]:
    """The chain that this broker sends on its ECDSA port, leaf first."""
    pem = (authority_of(broker) / "ecdsa.pem").read_bytes()
    return [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(pem)]


def authority_of(broker: BrokerProcess) -> Path:
    """The folder with every certificate of the broker's."""
    return Path(broker.ready["secrets"]).parent / "authority"


def test_the_script_as_it_stands(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    camera.run(SCRIPT.format(port=camera.broker["port"], host="localhost"))
    camera.line("accepted")


def test_the_name_is_checked(camera: CameraUnderTest) -> None:
    camera.run(SCRIPT.format(port=camera.broker["port"], host="api.example.com"))
    camera.line("refused:", "does not match with the expected CN")


def test_server_hostname_is_required(camera: CameraUnderTest) -> None:
    script = SCRIPT.format(port=camera.broker["port"], host="localhost")
    camera.run(script.replace(', server_hostname="localhost"', ""))
    camera.line("refused: CERT_REQUIRED requires server_hostname")


def test_without_the_clock_it_is_refused(camera: CameraUnderTest) -> None:
    script = SCRIPT.format(port=camera.broker["port"], host="localhost")
    camera.run(script.replace("ntptime.settime()", "pass"))
    camera.line("refused:", "validity starts in the future")


@pytest.mark.parametrize(
    ("position", "verdict"),
    [
        (1, "accepted"),  # the intermediate
        (2, "accepted"),  # the cross-signed root above it
        (3, "accepted"),
        # The document: the tightest choice. mbedTLS takes a leaf as its own anchor only when
        # it is self-signed.
        (0, "refused: The certificate is not correctly signed by the trusted CA"),
    ],
    ids=["intermediate", "root YE", "X2", "leaf"],
)
def test_which_certificate_to_trust(
    position: int, verdict: str, camera: CameraUnderTest, broker: BrokerProcess
) -> None:
    camera.anchor = served(broker)[position]
    camera.run(SCRIPT.format(port=camera.broker["port"], host="localhost"))
    camera.line(verdict)


def test_a_self_signed_leaf_is_its_own_anchor(camera: CameraUnderTest, tmp_path: Path) -> None:
    with tls_listening(tmp_path, lambda stream: None) as (port, anchor):
        camera.anchor = anchor
        camera.run(SCRIPT.format(port=port, host="localhost"))
        camera.line("accepted")


@pytest.mark.parametrize(
    ("anchor", "verdict"),
    [("ye1", "accepted"), ("x1", "refused:")],
    ids=["intermediate", "root"],
)
def test_a_server_that_omits_its_intermediates(
    anchor: str, verdict: str, camera: CameraUnderTest, broker: BrokerProcess, tmp_path: Path
) -> None:
    folder = authority_of(broker)
    pem = (folder / "ecdsa.pem").read_text()
    end = "-----END CERTIFICATE-----\n"
    alone = tmp_path / "alone.pem"
    alone.write_text(pem[: pem.index(end) + len(end)])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(alone)

    def serve(stream: socket.socket) -> None:
        context.wrap_socket(stream, server_side=True).close()

    camera.anchor = der(folder, anchor)
    with listening(serve) as port:
        camera.run(SCRIPT.format(port=port, host="localhost"))
        camera.line(verdict)


def test_one_anchor_for_each_context(camera: CameraUnderTest) -> None:
    good = camera.anchor
    # Two in one file: only the first is loaded, without a word.
    for anchor, verdict in (
        (good + self_signed().der, "accepted"),
        (self_signed().der + good, "refused: The certificate is not correctly signed"),
    ):
        camera.anchor = anchor
        before = len(camera.console)
        camera.run(SCRIPT.format(port=camera.broker["port"], host="localhost"))
        camera.line(verdict, after=before)
        camera.power_cut()


def test_an_anchor_of_another_ca(camera: CameraUnderTest) -> None:
    camera.anchor = self_signed().der
    camera.run(SCRIPT.format(port=camera.broker["port"], host="localhost"))
    camera.line("refused: The certificate is not correctly signed by the trusted CA")
