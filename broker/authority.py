"""The test certificate authority: made on first start, kept, and renewed in good time.

Every file is written whole and every step looks at what is there, so that a start that was
killed half-way is completed by the next one. The root is never replaced: it is in cameras.

    <folder>/x1.key x1.pem ...     keys and certificates of the issuers
    <folder>/devices.key .pem      those of the authority that signs devices' certificates
    <folder>/ecdsa.pem rsa.pem     each listener's key, leaf and chain, in one file, so that
                                   a key and a certificate that do not match cannot be read
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from broker.certificates import (
    CHAINS,
    DEVICES,
    ISSUERS,
    ROOT,
    Chain,
    Issuer,
    Key,
    issue,
    issue_device,
    issue_leaf,
    new_key,
    subject_names,
)
from broker.errors import UserError
from broker.files import locked, make_folder, write_atomic

LEAF_LIFE = timedelta(days=90)


@dataclass(frozen=True)
class Anchor:
    """A trust anchor as the camera takes it: a DER file and its SHA-256, in hexadecimal."""

    path: Path
    sha256: str


def write_anchor(path: Path, certificate: x509.Certificate) -> Anchor:
    """Write a certificate as DER. Raises OSError."""
    der = certificate.public_bytes(Encoding.DER)
    make_folder(path.parent)
    write_atomic(path, der, 0o644)
    return Anchor(path, hashlib.sha256(der).hexdigest())


class Authority:
    """The issuers and the listeners' certificates under one folder.

    names: host names and IP addresses for the leaves. Raises UserError for a bad name.
    now: the time to judge validity by, another in tests.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        leaf_life: timedelta = LEAF_LIFE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self.leaf_life = leaf_life
        self.now = now
        self._names = subject_names(names)
        self._issuers: dict[str, tuple[Key, x509.Certificate]] = {}

    def ensure(self) -> list[Chain]:
        """Make or renew whatever is missing or due; the chains that are new because of it.

        Raises UserError when the folder cannot be used or the root in it is damaged.
        """
        try:
            make_folder(self.folder, 0o700)
            for issuer in ISSUERS:
                self._issuers[issuer.name] = self._ensure_issuer(issuer)
            self._ensure_devices()
            return [chain for chain in CHAINS if self._ensure_chain(chain)]
        except OSError as error:
            raise UserError(
                f"cannot keep the certificates in {self.folder}: {error.strerror or error}; "
                "make it writable or choose another folder with --data"
            ) from error

    def issue_device(
        self, name: str, key: ec.EllipticCurvePublicKey, life: timedelta
    ) -> x509.Certificate:
        """A device's certificate in the name of its account. Raises UserError.

        Needs no ensure(), and may be called while a broker uses the folder.
        """
        try:
            signer_key, signer = self._ensure_devices()
        except OSError as error:
            raise UserError(
                f"cannot use the authority in {self.folder}: {error.strerror or error}"
            ) from error
        return issue_device(key, name, signer, signer_key, self.now(), life)

    @property
    def devices_file(self) -> Path:
        """The certificate (PEM) of the authority that signs devices' certificates."""
        return self.folder / f"{DEVICES.name}.pem"

    def issuer(self, name: str) -> tuple[Key, x509.Certificate]:
        """Key and certificate of one of certificates.ISSUERS, after ensure()."""
        return self._issuers[name]

    def server_file(self, chain: Chain) -> Path:
        """The PEM file with this listener's key, leaf and issuers (for load_cert_chain)."""
        return self.folder / f"{chain.name}.pem"

    def sent(self, chain: Chain) -> list[x509.Certificate]:
        """What this listener sends, the leaf first. Raises OSError, ValueError."""
        return x509.load_pem_x509_certificates(self.server_file(chain).read_bytes())

    def write_anchors(self, folder: Path) -> list[Anchor]:
        """Write each trust anchor to folder as DER. Raises UserError."""
        path = folder / "test-root-x1.der"
        try:
            return [write_anchor(path, self._issuers[ROOT][1])]
        except OSError as error:
            raise UserError(
                f"cannot write the anchor {path}: {error.strerror or error}; "
                "make the folder writable or choose another with --anchors"
            ) from error

    def _ensure_devices(self) -> tuple[Key, x509.Certificate]:
        # A broker that starts and a command may come at the same time.
        with locked(self.folder / f"{DEVICES.name}.lock", wait=True):
            return self._ensure_issuer(DEVICES)

    def _ensure_issuer(self, issuer: Issuer) -> tuple[Key, x509.Certificate]:
        key_path = self.folder / f"{issuer.name}.key"
        path = self.folder / f"{issuer.name}.pem"
        key = _load_key(key_path)
        certificate = _load_certificate(path)
        if not issuer.issuer:
            self._refuse_damage(key, key_path, certificate, path)
        if key is None:
            key = new_key(issuer.key)
            write_atomic(key_path, _key_bytes(key))
        signer_key, signer = self._issuers[issuer.issuer] if issuer.issuer else (key, None)
        is_kept = certificate is not None and _matches(certificate, key, signer)
        if is_kept and certificate and (not issuer.issuer or not self._is_due(certificate)):
            return key, certificate
        certificate = issue(issuer, key, signer, signer_key, self.now())
        write_atomic(path, certificate.public_bytes(Encoding.PEM))
        return key, certificate

    def _refuse_damage(
        self, key: Key | None, key_path: Path, certificate: x509.Certificate | None, path: Path
    ) -> None:
        """Refuse to go on without a root that was there: every camera depends on it."""
        if certificate and key and not _matches(certificate, key, None):
            broken, why = path, "is not the certificate of the key beside it"
        elif certificate is None and path.exists():
            broken, why = path, "is not a certificate"
        elif key is None and (certificate or key_path.exists()):
            broken, why = key_path, "is not a private key" if key_path.exists() else "is missing"
        elif certificate and certificate.not_valid_after_utc <= self.now():
            # Also of a root that was made while the clock was decades behind.
            end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
            broken, why = path, f"expired on {end} by this machine's clock"
        else:
            return
        raise UserError(
            f"the test root cannot be used: {broken} {why}; restore it from a backup, or "
            f"remove the folder {self.folder} to begin with a new root, which every camera "
            "then needs as its anchor, with a new certificate of its own where it has one"
        )

    def _ensure_chain(self, chain: Chain) -> bool:
        """Write the chain's server file if it is not good any more; True if written."""
        signer_key, signer = self._issuers[chain.issuers[0]]
        issuers = [self._issuers[name][1] for name in chain.issuers]
        path = self.server_file(chain)
        key = _load_key(path)
        try:
            leaf, *others = self.sent(chain)
        except (OSError, ValueError):
            leaf, others = None, []
        if (
            key is None
            or leaf is None
            or not _matches(leaf, key, signer)
            or self._is_due(leaf)
            or _names_of(leaf) != self._names
        ):
            key = new_key(chain.leaf_key)
            leaf = issue_leaf(key, self._names, signer, signer_key, self.now(), self.leaf_life)
        elif others == issuers:
            return False
        pem = [certificate.public_bytes(Encoding.PEM) for certificate in (leaf, *issuers)]
        write_atomic(path, _key_bytes(key) + b"".join(pem))
        return True

    def _is_due(self, certificate: x509.Certificate) -> bool:
        """Within the last third of its life, or not valid yet (a clock was set back)."""
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return not begin <= self.now() < end - (end - begin) / 3


def _load_key(path: Path) -> Key | None:
    try:
        # Not validated anew (0.2 s for each RSA 4096): it is our own file, and _matches tells.
        key = load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return key if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) else None


def _load_certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _key_bytes(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _matches(certificate: x509.Certificate, key: Key, signer: x509.Certificate | None) -> bool:
    """The certificate is of this key and signed by signer (None: by itself)."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        return False
    try:
        certificate.verify_directly_issued_by(signer or certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _names_of(leaf: x509.Certificate) -> list[x509.GeneralName]:
    return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
