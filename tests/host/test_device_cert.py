"""`anchorcam device-cert`, and what `config check` and `bundle` make of its files."""

import json
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.authority import Authority
from tests.broker.local import NAMES
from tests.host.commands import ROOT, anchorcam
from tests.scripted import self_signed


@pytest.fixture
def project(tmp_path: Path, made_once: Path) -> Path:
    """A folder with config.json, secrets, an anchor, and a test broker's data beside it."""
    shutil.copy(ROOT / "config.json", tmp_path)
    (tmp_path / "secrets.json").write_text('{"passwords": {"cam1": "s3cret"}}')
    (tmp_path / "anchors").mkdir()
    (tmp_path / "anchors/test-root-x1.der").write_bytes(self_signed().der)
    shutil.copytree(made_once / "authority", tmp_path / "data/broker/authority")
    return tmp_path


def use(project: Path, **fields: str) -> None:
    """Put these into the broker's section of config.json."""
    config = json.loads((project / "config.json").read_text())
    config["brokers"][0] |= fields
    (project / "config.json").write_text(json.dumps(config))


def use_made(project: Path) -> None:
    assert anchorcam("device-cert", "cam1", cwd=project).status == 0
    use(project, client_cert="cam1.der", client_key="cam1.key.der")


def test_key_and_certificate(project: Path) -> None:
    done = anchorcam("device-cert", "cam1", "--days=90", cwd=project)
    assert (done.status, done.err) == (0, "")
    key_path, path = project / "keys/cam1.key.der", project / "keys/cam1.der"
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_path.parent.stat().st_mode) == 0o700
    key = load_der_private_key(key_path.read_bytes(), None)
    certificate = x509.load_der_x509_certificate(path.read_bytes())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=cam1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    authority = Authority(project / "data/broker/authority", NAMES)
    root = x509.load_pem_x509_certificate(authority.devices_file.read_bytes())
    certificate.verify_directly_issued_by(root)
    end = f"{datetime.now(UTC) + timedelta(days=90):%Y-%m-%d}"
    assert f"keys/cam1.der  valid until {end}, 89 days" in done.out
    assert '"client_cert": "cam1.der", "client_key": "cam1.key.der"' in done.out


def test_a_key_is_not_overwritten_unless_that_is_asked_for(project: Path) -> None:
    use_made(project)
    before = (project / "keys/cam1.key.der").read_bytes()
    for options in ((), ("--csr",)):
        done = anchorcam("device-cert", "cam1", *options, cwd=project)
        assert done.status == 2
        assert "there is a key in keys/cam1.key.der already" in done.err
    assert (project / "keys/cam1.key.der").read_bytes() == before
    assert anchorcam("device-cert", "cam1", "--force", cwd=project).status == 0
    assert (project / "keys/cam1.key.der").read_bytes() != before
    assert anchorcam("config", "check", cwd=project).status == 0


def test_a_request_and_the_answer_to_it(project: Path) -> None:
    done = anchorcam("device-cert", "cam1", "--csr", cwd=project)
    assert done.status == 0
    assert "device-cert cam1 --into keys --from FILE" in done.out
    request = x509.load_pem_x509_csr((project / "keys/cam1.csr.pem").read_bytes())
    assert request.is_signature_valid
    key = request.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    authority = Authority(project / "data/broker/authority", NAMES)
    certificate = authority.issue_device("cam1", key, timedelta(days=10))
    answer = project / "answer.pem"
    # A CA sends its own along, in whichever order.
    answer.write_bytes(authority.devices_file.read_bytes() + certificate.public_bytes(Encoding.PEM))
    done = anchorcam("device-cert", "cam1", "--from", "answer.pem", cwd=project)
    assert done.status == 0, done.err
    assert "the broker has to know the intermediates" in done.out
    der = certificate.public_bytes(Encoding.DER)
    assert (project / "keys/cam1.der").read_bytes() == der
    # DER is taken too.
    answer.write_bytes(der)
    assert anchorcam("device-cert", "cam1", "--from", "answer.pem", cwd=project).status == 0
    for contents, words in (
        (authority.devices_file.read_bytes(), "it answers another request"),
        (b"nonsense", "holds no certificate"),
        ((project / "keys/cam1.key.der").read_bytes(), "holds no certificate"),
    ):
        answer.write_bytes(contents)
        done = anchorcam("device-cert", "cam1", "--from", "answer.pem", cwd=project)
        assert done.status == 2
        assert words in done.err
    assert (project / "keys/cam1.der").read_bytes() == der


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a b",), "is no camera id"),
        (("cam1", "--data=elsewhere"), "start `anchorcam broker` once"),
        (("cam1", "--csr", "--from=x"), "--csr comes before"),
        (("cam1", "--from=x"), "cam1.key.der cannot be read"),
        (("cam1", "--days=0"), "--days"),
    ],
)
def test_usage(project: Path, arguments: tuple[str, ...], words: str) -> None:
    done = anchorcam("device-cert", *arguments, cwd=project)
    assert done.status == 2
    assert words in done.err
    assert not (project / "keys").exists()


def test_the_bundle_has_both_and_nobody_else_reads_them(project: Path) -> None:
    use_made(project)
    (project / "keys/cam2.key.der").write_bytes(b"of another camera")
    assert anchorcam("bundle", "--into", "flash", cwd=project).status == 0
    keys = project / "flash/keys"
    assert sorted(path.name for path in keys.iterdir()) == ["cam1.der", "cam1.key.der"]
    for path in keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_bytes() == (project / "keys" / path.name).read_bytes()


def test_check_says_what_is_wrong_with_them(project: Path) -> None:
    use_made(project)
    assert anchorcam("config", "check", cwd=project).status == 0
    path, key_path = project / "keys/cam1.der", project / "keys/cam1.key.der"
    good, key = path.read_bytes(), key_path.read_bytes()
    for changed, contents, words in (
        (path, self_signed().der, "is not the certificate of the key"),
        (path, self_signed().pem, "it is PEM"),
        (path, b"", "it is empty"),
        (path, b"\x30\x03\x02\x01\x00", "it is not a certificate"),
        (path, expired(project, key), "expired on 20"),
        (key_path, self_signed().key_pem, "it is PEM"),
        (key_path, b"0123456789", "not DER"),
        (key_path, self_signed().der, "is not a private key"),
    ):
        changed.write_bytes(contents)
        done = anchorcam("config", "check", cwd=project)
        assert done.status == 2, words
        assert words in done.err
        assert "PRIVATE KEY" not in done.err
        path.write_bytes(good)
        key_path.write_bytes(key)
    key_path.chmod(0o644)
    assert "others can read" in anchorcam("config", "check", cwd=project).err
    key_path.unlink()
    assert "cannot be read" in anchorcam("config", "check", cwd=project).err


def test_one_of_the_two_is_not_enough(project: Path) -> None:
    use(project, client_cert="cam1.der")
    done = anchorcam("config", "check", cwd=project)
    assert "brokers[0].client_key is missing" in done.err


def expired(project: Path, key: bytes) -> bytes:
    """The same certificate as it was a year ago."""
    loaded = load_der_private_key(key, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    authority = Authority(project / "data/broker/authority", NAMES)
    authority.now = lambda: datetime.now(UTC) - timedelta(days=365)
    made = authority.issue_device("cam1", loaded.public_key(), timedelta(days=1))
    return made.public_bytes(Encoding.DER)
