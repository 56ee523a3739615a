"""A camera's own certificate and key, for brokers that ask for them: read, judged, written."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from broker.errors import UserError
from broker.files import make_folder, write_atomic
from camera import der

# Beside config.json, and on the flash.
FOLDER = "keys"
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def files(config: Path, certificate_name: str, key_name: str) -> dict[str, bytes]:
    """Both, as they come onto the flash: path there -> contents. Raises UserError (exit code 2)."""
    paths = [config.parent / FOLDER / name for name in (certificate_name, key_name)]
    certificate_path, key_path = paths
    certificate = _certificate(certificate_path)
    key = read_key(key_path)
    if not fits(certificate, key):
        raise UserError(
            f"{certificate_path} is not the certificate of the key {key_path}: name the two that"
            " belong together",
            exit_code=2,
        )
    end = certificate.not_valid_after_utc
    if end <= datetime.now(UTC):
        raise UserError(
            f"the client certificate {certificate_path} expired on {end:%Y-%m-%d}: make a new one,"
            " `anchorcam device-cert` does for the test broker",
            exit_code=2,
        )
    return {f"{FOLDER}/{path.name}": path.read_bytes() for path in paths}


def read_key(path: Path) -> PrivateKeyTypes:
    """The private key in a DER file that only its owner reads. Raises UserError (exit code 2)."""
    data = _read(path, "the client key")
    if path.stat().st_mode & 0o077:
        raise UserError(f"others can read the client key {path}: chmod 600 {path}", exit_code=2)
    try:
        key = load_der_private_key(data, None)
    except (ValueError, TypeError):
        hint = "it is PEM, the camera reads only DER" if data[:10] == b"-----BEGIN" else "not DER"
        raise UserError(
            f"{path} is not a private key that a camera can use ({hint}): convert it with"
            " `openssl pkey -in FILE -outform DER -out FILE.der`, or make one with"
            " `anchorcam device-cert`",
            exit_code=2,
        ) from None
    is_usable = isinstance(key, rsa.RSAPrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)
    )
    if not is_usable:
        raise UserError(
            f"mbedTLS on a camera cannot use the key {path}: take one on P-256, as"
            " `anchorcam device-cert` makes it",
            exit_code=2,
        )
    return key


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key as DER, for its owner only. Raises OSError."""
    make_folder(path.parent, 0o700)
    write_atomic(path, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def fits(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    """Whether a certificate is this key's."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    of_certificate = certificate.public_key().public_bytes(*form)
    return of_certificate == key.public_key().public_bytes(*form)


def _certificate(path: Path) -> x509.Certificate:
    data = _read(path, "the client certificate")
    problem = der.problem(data)
    if problem is None:
        try:
            return x509.load_der_x509_certificate(data)
        except ValueError:
            problem = "it is not a certificate"
    raise UserError(f"the client certificate {path} is of no use: {problem}", exit_code=2)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{what} {path} cannot be read ({error.strerror}): `anchorcam device-cert` makes it",
            exit_code=2,
        ) from None
