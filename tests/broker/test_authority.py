"""The certificate authority: shape, renewal, file modes, and starts that were killed half-way."""

import hashlib
import itertools
import os
import shutil
import socket
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from broker import authority as module
from broker.authority import Authority
from broker.certificates import CHAINS, DEVICES, ISSUERS, Chain, subject_names
from broker.errors import UserError
from broker.files import write_atomic
from tests.broker.local import NAMES, LocalBroker

ECDSA, RSA = CHAINS


@pytest.fixture
def made(data: Path) -> Authority:
    authority = Authority(data / "authority", NAMES)
    assert authority.ensure() == []
    return authority


def common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def sent_on_the_wire(port: int) -> list[x509.Certificate]:
    """The certificates in the server's Certificate message, in the order they came.

    Read from the bytes of a TLS 1.2 handshake, where it is not encrypted (RFC 5246, 7.4.2).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing, received = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
    client = context.wrap_bio(incoming, outgoing)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stream:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                stream.sendall(outgoing.read())
                piece = stream.recv(65536)
                received += piece
                incoming.write(piece)
    handshake = b""
    while received and received[0] == 22:
        length = int.from_bytes(received[3:5], "big")
        handshake, received = handshake + received[5 : 5 + length], received[5 + length :]
    while handshake[0] != 11:
        handshake = handshake[4 + int.from_bytes(handshake[1:4], "big") :]
    left = handshake[7 : 7 + int.from_bytes(handshake[4:7], "big")]
    certificates = []
    while left:
        end = 3 + int.from_bytes(left[:3], "big")
        certificates.append(x509.load_der_x509_certificate(left[3:end]))
        left = left[end:]
    return certificates


class TestChain:
    def test_ecdsa_as_sent(self, local_broker: LocalBroker) -> None:
        chain = sent_on_the_wire(local_broker.server.ports["ecdsa"])
        assert [common_name(c.issuer) for c in chain] == [
            "(TEST) YE1",
            "(TEST) Root YE",
            "(TEST) Root X2",
            "(TEST) Root X1",
        ]
        curves = [c.public_key().curve.name for c in chain]  # type: ignore[union-attr]
        assert curves == ["secp256r1", "secp384r1", "secp384r1", "secp384r1"]

    def test_rsa_as_sent(self, local_broker: LocalBroker) -> None:
        chain = sent_on_the_wire(local_broker.server.ports["rsa"])
        assert [common_name(c.issuer) for c in chain] == [
            "(TEST) YR1",
            "(TEST) Root YR",
            "(TEST) Root X1",
        ]
        sizes = [c.public_key().key_size for c in chain]  # type: ignore[union-attr]
        assert sizes == [2048, 2048, 4096]

    @pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
    def test_each_certificate_is_signed_by_the_next(
        self, made: Authority, chain: Chain, tmp_path: Path
    ) -> None:
        anchor = x509.load_der_x509_certificate(made.write_anchors(tmp_path)[0].path.read_bytes())
        sent = made.sent(chain)
        assert anchor not in sent
        for certificate, signer in zip(sent, [*sent[1:], anchor], strict=True):
            certificate.verify_directly_issued_by(signer)
            assert certificate.not_valid_after_utc <= signer.not_valid_after_utc
        verifier = (
            PolicyBuilder().store(Store([anchor])).build_server_verifier(x509.DNSName("localhost"))
        )
        assert len(verifier.verify(sent[0], sent[1:])) == len(sent) + 1

    @pytest.mark.parametrize("name", ["ecdsa", "rsa"])
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_openssl_strictly(
        self, local_broker: LocalBroker, name: str, version: ssl.TLSVersion
    ) -> None:
        context = local_broker.endpoint.context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.minimum_version = context.maximum_version = version
        for host in NAMES:
            plain = socket.create_connection((host, local_broker.server.ports[name]), timeout=20)
            with context.wrap_socket(plain, server_hostname=host) as stream:
                assert stream.version() == version.name.replace("_", ".")

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_old_tls_is_refused(self, local_broker: LocalBroker) -> None:
        context = local_broker.endpoint.context()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        port = local_broker.server.ports["ecdsa"]
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain, server_hostname="localhost")
        assert local_broker.event("refused")["reason"] == "TLS: unsupported protocol"

    def test_leaf_like_the_tlsserver_profile(self, made: Authority) -> None:
        leaf = made.sent(ECDSA)[0]
        assert leaf.subject == x509.Name([])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.critical
        assert list(names.value) == subject_names(NAMES)
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.digital_signature
        assert not usage.key_cert_sign
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
        assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=90)
        age = datetime.now(UTC) - leaf.not_valid_before_utc
        assert timedelta(hours=1) <= age < timedelta(hours=2)

    def test_issuers(self, made: Authority) -> None:
        for certificate in (*made.sent(ECDSA)[1:], *made.sent(RSA)[1:]):
            name = common_name(certificate.subject)
            organization = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            assert organization[0].value == "anchorcam test, not for use"
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            assert constraints.critical
            assert constraints.value.ca
            assert constraints.value.path_length == (None if "Root" in name else 0)
            certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
            certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)

    def test_anchor_file(self, made: Authority, tmp_path: Path) -> None:
        old = os.umask(0o077)
        try:
            (anchor,) = made.write_anchors(tmp_path / "anchors")
        finally:
            os.umask(old)
        assert anchor.path.name == "test-root-x1.der"
        assert stat.S_IMODE(anchor.path.stat().st_mode) == 0o644
        root = x509.load_der_x509_certificate(anchor.path.read_bytes())
        assert common_name(root.subject) == "(TEST) Root X1"
        assert isinstance(root.public_key(), rsa.RSAPublicKey)
        assert root.public_key().key_size == 4096  # type: ignore[union-attr]
        assert hashlib.sha256(anchor.path.read_bytes()).hexdigest() == anchor.sha256


class TestRenewal:
    def at(self, authority: Authority, moment: datetime) -> Authority:
        authority.now = lambda: moment
        return authority

    def test_not_before_two_thirds_of_the_life(self, made: Authority) -> None:
        leaf = made.sent(ECDSA)[0]
        due = leaf.not_valid_after_utc - timedelta(days=30)
        assert self.at(made, due - timedelta(hours=1)).ensure() == []
        assert self.at(made, due + timedelta(hours=1)).ensure() == [ECDSA, RSA]
        renewed = made.sent(ECDSA)
        assert renewed[0].serial_number != leaf.serial_number
        assert renewed[0].public_key() != leaf.public_key()

    def test_intermediates_are_renewed_and_the_root_is_kept(
        self, made: Authority, tmp_path: Path
    ) -> None:
        root = made.write_anchors(tmp_path)[0].sha256
        before = made.sent(ECDSA)
        self.at(made, datetime.now(UTC) + timedelta(days=365 * 2.5)).ensure()
        after = made.sent(ECDSA)
        assert after[1].serial_number != before[1].serial_number
        assert after[2:] == before[2:]
        assert made.write_anchors(tmp_path)[0].sha256 == root

    def test_other_names(self, made: Authority) -> None:
        other = Authority(made.folder, ["broker.lan", "192.168.1.10", "::1"])
        assert other.ensure() == [ECDSA, RSA]
        names = other.sent(ECDSA)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value.get_values_for_type(x509.DNSName) == ["broker.lan"]
        addresses = [str(a) for a in names.value.get_values_for_type(x509.IPAddress)]
        assert addresses == ["192.168.1.10", "::1"]
        assert other.ensure() == []

    def test_a_clock_that_was_set_back(self, made: Authority) -> None:
        assert self.at(made, datetime.now(UTC) - timedelta(days=10)).ensure() == [ECDSA, RSA]

    @pytest.mark.parametrize("name", ["", "a b", "mqtts://x", "x:8883", "1.2.3", "-", "a" * 64])
    def test_bad_names(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UserError, match="neither a host name nor an IP") as caught:
            Authority(tmp_path, [name])
        assert caught.value.exit_code == 2


class TestFiles:
    def test_modes_under_any_umask(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small_keys(monkeypatch)
        old = os.umask(0)
        try:
            Authority(tmp_path / "new" / "authority", NAMES).ensure()
        finally:
            os.umask(old)
        folder = tmp_path / "new" / "authority"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert set(modes.values()) == {0o600}
        assert {"x1.key", "x1.pem", "ecdsa.pem", "rsa.pem"} <= modes.keys()

    def test_a_start_killed_after_any_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_keys(monkeypatch)
        write = write_atomic
        files = 2 * len((*ISSUERS, DEVICES)) + len(CHAINS)
        for survivors in range(files):
            folder = tmp_path / str(survivors)
            written = iter(range(survivors))

            def dying(
                path: Path, data: bytes, mode: int = 0o600, left: Iterator[int] = written
            ) -> None:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                write(path, data, mode)

            monkeypatch.setattr(module, "write_atomic", dying)
            with pytest.raises(KeyboardInterrupt):
                Authority(folder, NAMES).ensure()
            monkeypatch.setattr(module, "write_atomic", write)
            kept = {path: path.read_bytes() for path in folder.glob("x1.*")}
            authority = Authority(folder, NAMES)
            authority.ensure()
            assert all(path.read_bytes() == contents for path, contents in kept.items())
            assert Authority(folder, NAMES).ensure() == []
            for chain in CHAINS:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(authority.server_file(chain))

    @pytest.mark.parametrize("name", ["x2.key", "ye.pem", "yr1.key", "ecdsa.pem"])
    def test_damage_below_the_root_is_mended(self, made: Authority, name: str) -> None:
        (made.folder / name).write_bytes(b"damaged")
        assert made.ensure() != []
        for chain in CHAINS:
            sent = made.sent(chain)
            for certificate, signer in itertools.pairwise(sent):
                certificate.verify_directly_issued_by(signer)
        assert made.ensure() == []

    @pytest.mark.parametrize("name", ["x1.key", "x1.pem", "devices.key", "devices.pem"])
    def test_a_damaged_root_is_never_replaced(self, made: Authority, name: str) -> None:
        (made.folder / name).write_bytes(b"damaged")
        with pytest.raises(UserError, match=f"{name} is not a .*restore it from a backup"):
            made.ensure()
        assert (made.folder / name).read_bytes() == b"damaged"

    def test_a_missing_root_key(self, made: Authority) -> None:
        (made.folder / "x1.key").unlink()
        with pytest.raises(UserError, match=r"x1\.key is missing; restore"):
            made.ensure()

    def test_a_root_of_another_key(self, made: Authority) -> None:
        shutil.copy(made.folder / "yr.key", made.folder / "x1.key")
        with pytest.raises(UserError, match=r"x1\.pem is not the certificate of the key"):
            made.ensure()

    def test_a_root_that_has_expired(self, made: Authority) -> None:
        made.now = lambda: datetime.now(UTC) + timedelta(days=365 * 21)
        with pytest.raises(UserError, match=r"x1\.pem expired on 20\d\d-.* begin with a new root"):
            made.ensure()

    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match=r"cannot keep the certificates in .*--data"):
            Authority(tmp_path / "file", NAMES).ensure()


def small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """P-256 for every key: RSA 4096 takes a second each, and sizes do not matter here."""
    monkeypatch.setattr(module, "new_key", lambda _: ec.generate_private_key(ec.SECP256R1()))
