"""`anchorcam anchor send` and `remove` against a real camera and broker."""

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from host_tools.virtual_camera.micropython import MicroPython
from tests.brokers import BrokerProcess
from tests.cameras import CameraUnderTest
from tests.host.commands import anchorcam
from tests.scripted import self_signed


@pytest.fixture
def camera(
    tmp_path: Path, runtime: MicroPython, library: Path, zoo: BrokerProcess
) -> Iterator[CameraUnderTest]:
    """A camera that accepts anchors; its config.json is in tmp_path."""
    camera = CameraUnderTest(tmp_path, runtime, library, zoo)
    camera.config["camera"] |= {"interval_s": 3600, "accept_anchors": True}
    with camera:
        (tmp_path / "anchors/root.der").write_bytes(camera.anchor)
        camera.line("listening for commands")
        yield camera


def test_sent_known_and_removed(camera: CameraUnderTest, tmp_path: Path, zoo_data: Path) -> None:
    der = (zoo_data / "anchors/test-root-ye.der").read_bytes()
    digest = hashlib.sha256(der).hexdigest()
    name = f"sent-{digest[:16]}.der"
    # PEM, as a CA publishes it.
    (tmp_path / "ye.pem").write_text("Root YE\n" + ssl.DER_cert_to_PEM_cert(der))
    (tmp_path / "ye.der").write_bytes(der)
    done = anchorcam("anchor", "send", "cam1", "ye.pem", cwd=tmp_path)
    assert done.status == 0, done.err
    assert done.out == (
        f"cam1 verified its broker with it and keeps it: {name}\nSHA-256 {digest}\n"
    )
    assert (camera.flash / "state" / name).read_bytes() == der
    done = anchorcam("anchor", "send", "cam1", "ye.der", cwd=tmp_path)
    assert done.out.startswith(f"cam1 has it already: {name}\n")
    for what, status in (("ye.pem", 0), (digest, 1)):
        done = anchorcam("anchor", "remove", "cam1", what, cwd=tmp_path)
        assert done.status == status
    assert "no anchor that was sent has this SHA-256" in done.err
    assert not (camera.flash / "state" / name).exists()


def test_one_that_is_not_kept(camera: CameraUnderTest, tmp_path: Path, zoo_data: Path) -> None:
    other = zoo_data / "anchors/test-other-root.der"
    done = anchorcam("anchor", "send", "cam1", str(other), cwd=tmp_path)
    assert done.status == 1
    assert "cam1 refuses: untrusted: the broker's chain does not lead to the anchor" in done.err
    assert camera.is_running()


def test_what_is_never_sent(tmp_path: Path) -> None:
    one = self_signed()
    key = load_pem_private_key(one.key_pem, None)
    key_der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    large = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), bytes(2048))
    for contents, words in (
        (b"", "it is empty"),
        (b"nonsense", "it is no certificate"),
        (one.der + one.der, "it is no certificate"),
        (one.pem + one.pem, "holds 2 certificates"),
        (one.key_pem, "it is a private key"),
        (one.pem + one.key_pem, "it is a private key"),
        (key_der, "it is a private key"),
        (self_signed(large).der, "a camera takes at most 2,048"),
        (bytes(1 << 20), "it is no certificate"),
    ):
        (tmp_path / "file").write_bytes(contents)
        done = anchorcam("anchor", "send", "cam1", "file", cwd=tmp_path)
        assert done.status == 2, words
        assert words in done.err
        assert len(done.err) < 200
        assert "MIG" not in done.err
    done = anchorcam("anchor", "send", "cam1", "missing", cwd=tmp_path)
    assert (done.status, "cannot be read" in done.err) == (2, True)
    (tmp_path / "file").write_bytes(one.pem)
    done = anchorcam("anchor", "send", "a b", "file", cwd=tmp_path)
    assert (done.status, "is no camera id" in done.err) == (2, True)
