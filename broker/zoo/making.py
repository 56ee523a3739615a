"""Makes the zoo's certificates, once a month: they have to stay what their row says."""

import hashlib
import ipaddress
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.authority import Anchor, Authority, write_anchor
from broker.certificates import ISSUERS, authority_key, builder, key_usage, subject_of
from broker.files import make_folder, write_atomic
from broker.zoo.table import ANCHORS, CERTIFICATES, NAME, ROWS, Certificate, KeyKind, Row

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_RENEW_AFTER = timedelta(days=30)
_STAMP = "made.json"
# A private enterprise number that is reserved for documentation (RFC 5612).
_UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1")


_RSA_SHA256 = bytes.fromhex("2a864886f70d01010b")
_RSA_SHA1 = bytes.fromhex("2a864886f70d010105")


class Zoo:
    """The zoo's files in one folder, below the authority's root.

    names: what the good certificates are for, besides "localhost". now: as in Authority.
    """

    def __init__(
        self, folder: Path, authority: Authority, names: Sequence[str], now: Callable[[], datetime]
    ) -> None:
        self._folder = folder
        self._authority = authority
        self._names = (*names, *(name for name in (NAME, "127.0.0.1") if name not in names))
        self._now = now
        self._keys: dict[str, Key] = {}
        self._made: dict[str, x509.Certificate] = {}

    def ensure(self) -> None:
        """Make everything, unless it was made already and is not old. Raises OSError."""
        wanted = self._fingerprint()
        if not self._is_good(wanted):
            make_folder(self._folder.parent, 0o700)
            with tempfile.TemporaryDirectory(prefix=".zoo-", dir=self._folder.parent) as work:
                new = Path(work) / "zoo"
                new.mkdir(mode=0o700)
                self._make(new)
                stamp = {"fingerprint": wanted, "made": self._now().isoformat()}
                write_atomic(new / _STAMP, json.dumps(stamp).encode())
                shutil.rmtree(self._folder, ignore_errors=True)
                new.rename(self._folder)

    def server_file(self, row: Row) -> Path:
        """Key and certificates of a row, as Authority.server_file()."""
        return self._folder / f"{row.name}.pem"

    def certificate(self, name: str) -> x509.Certificate:
        """One of table.CERTIFICATES. Raises OSError, ValueError."""
        return x509.load_pem_x509_certificate((self._folder / f"{name}.crt").read_bytes())

    @property
    def devices(self) -> Path:
        """The certificate (PEM) of the authority of devices."""
        return self._authority.devices_file

    def write_anchors(self, folder: Path) -> list[Anchor]:
        """Write each anchor of table.ANCHORS to folder as DER. Raises OSError."""
        return [
            write_anchor(folder / f"{file}.der", self.certificate(name))
            for file, name in ANCHORS.items()
        ]

    def _fingerprint(self) -> str:
        root = self._authority.issuer(ISSUERS[0].name)[1].public_bytes(Encoding.DER)
        of = repr((CERTIFICATES, ROWS, self._names, hashlib.sha256(root).hexdigest()))
        return hashlib.sha256(of.encode()).hexdigest()

    def _is_good(self, wanted: str) -> bool:
        try:
            stamp = json.loads((self._folder / _STAMP).read_bytes())
            age = self._now() - datetime.fromisoformat(stamp["made"])
            return stamp["fingerprint"] == wanted and timedelta() <= age < _RENEW_AFTER
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _make(self, folder: Path) -> None:
        for issuer in ISSUERS:
            self._keys[issuer.name], self._made[issuer.name] = self._authority.issuer(issuer.name)
        for name, recipe in CERTIFICATES.items():
            made = self._made[name] = self._certificate(name, recipe)
            write_atomic(folder / f"{name}.crt", made.public_bytes(Encoding.PEM), 0o644)
        for row in ROWS:
            if row.sent:
                key = _key_bytes(self._keys[CERTIFICATES[row.sent[0]].key])
                chain = [self._made[name].public_bytes(Encoding.PEM) for name in row.sent]
                write_atomic(folder / f"{row.name}.pem", key + b"".join(chain))

    def _certificate(self, name: str, recipe: Certificate) -> x509.Certificate:
        if recipe.key not in self._keys:
            self._keys[recipe.key] = _new_key(recipe.kind)
        public = self._keys[recipe.key].public_key()
        if recipe.issuer == name:
            signer, signer_key = None, self._keys[recipe.key]
        else:
            signer = self._made[recipe.issuer]
            of_issuer = CERTIFICATES.get(recipe.issuer)
            signer_key = self._keys[of_issuer.key if of_issuer else recipe.issuer]
        subject = _subject(recipe)
        begins, ends = (self._now() + timedelta(days=days) for days in recipe.days)
        certificate = builder(subject, signer.subject if signer else subject, public, begins, ends)
        for extension, is_critical in self._extensions(recipe, signer):
            certificate = certificate.add_extension(extension, is_critical)
        if recipe.usage.startswith("signs"):
            key_id = x509.SubjectKeyIdentifier.from_public_key(public)
            certificate = certificate.add_extension(key_id, False)
        digest = None if isinstance(signer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        made = certificate.sign(signer_key, digest)
        return _with_sha1(made, signer_key) if recipe.is_sha1 else made

    def _extensions(
        self, recipe: Certificate, signer: x509.Certificate | None
    ) -> list[tuple[x509.ExtensionType, bool]]:
        found: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(recipe.is_authority, recipe.path_length), True)
        ]
        usage = key_usage(
            recipe.usage not in ("signs certificates", "server by encryption"),
            certificates=recipe.usage == "signs certificates",
            encrypts_keys=recipe.usage == "server by encryption",
        )
        found.append((usage, True))
        if not recipe.usage.startswith("signs"):
            is_server = recipe.usage != "client"
            purpose = (
                ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
            )
            found.append((x509.ExtendedKeyUsage([purpose]), False))
        if recipe.names:
            names = self._names if recipe.names[0] == NAME else recipe.names
            general = [_general_name(name) for name in names]
            # RFC 5280, 4.1.2.6: critical, when the subject is empty.
            found.append((x509.SubjectAlternativeName(general), not recipe.subject))
        if signer is not None:
            found.append((authority_key(signer), False))
        if recipe.only_below:
            below, is_critical = recipe.only_below
            found.append((x509.NameConstraints([x509.DNSName(below)], None), is_critical))
        if recipe.unknown:
            size, is_critical = recipe.unknown
            found.append((x509.UnrecognizedExtension(_UNKNOWN, bytes(size)), is_critical))
        return found


def _subject(recipe: Certificate) -> x509.Name:
    if not recipe.subject:
        return x509.Name([])
    if recipe.is_authority or recipe.usage == "signs certificates":
        return subject_of(recipe.subject)
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, recipe.subject)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _new_key(kind: KeyKind) -> Key:
    match kind:
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RSA 1024":
            # Refused by all; that is what it is here for.
            return rsa.generate_private_key(65537, 1024)  # noqa: S505
        case "RSA 2048":
            return rsa.generate_private_key(65537, 2048)
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()


def _key_bytes(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _with_sha1(certificate: x509.Certificate, signer: Key) -> x509.Certificate:
    """The same, signed with SHA-1, which no library does any more."""
    assert isinstance(signer, rsa.RSAPrivateKey)
    # RFC 8017, A.2.4: the object identifiers of the two differ in their last byte.
    tbs = certificate.tbs_certificate_bytes.replace(_RSA_SHA256, _RSA_SHA1)
    signature = signer.sign(tbs, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    der = certificate.public_bytes(Encoding.DER).replace(_RSA_SHA256, _RSA_SHA1)
    return x509.load_der_x509_certificate(der.replace(certificate.signature, signature))
