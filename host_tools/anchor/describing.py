"""What a certificate is, in words and as JSON."""

import hashlib
from datetime import datetime
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from host_tools.anchor import der, files

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_TEXT_MAX = 200


def sha256(certificate: x509.Certificate) -> str:
    """The fingerprint: SHA-256 of the DER, hexadecimal."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def spki_sha256(certificate: x509.Certificate) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, hexadecimal; a renewal with the same key keeps it."""
    return hashlib.sha256(public_key_bytes(certificate)).hexdigest()


def public_key_bytes(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo, DER (RFC 5280, 4.1), of whatever kind it is."""
    return der.parts(certificate).public_key


def colons(digest: str) -> str:
    """A digest as openssl and CAs print it, to be compared by eye."""
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)).upper()


def name(certificate: x509.Certificate) -> str:
    """Its common name, else its first subjectAltName, else its whole subject."""
    named = _common_name(certificate.subject) or next(iter(hosts(certificate)), "")
    return shown(named) if named else subject(certificate)


def subject(certificate: x509.Certificate) -> str:
    """The whole subject as openssl shows it; "(none)" for an empty one."""
    return _distinguished(certificate.subject)


def issuer(certificate: x509.Certificate) -> str:
    """The whole issuer, likewise."""
    return _distinguished(certificate.issuer)


def issuer_name(certificate: x509.Certificate) -> str:
    """The issuer's common name, else the whole of it."""
    return shown(_common_name(certificate.issuer)) or issuer(certificate)


def hosts(certificate: x509.Certificate) -> list[str]:
    """The host names and IP addresses of its subjectAltName."""
    found = extension(certificate, x509.SubjectAlternativeName)
    if found is None:
        return []
    names = found.get_values_for_type(x509.DNSName)
    addresses = found.get_values_for_type(x509.IPAddress)
    return [shown(each) for each in names] + [str(each) for each in addresses]


def key(certificate: x509.Certificate) -> str:
    """What kind of key it has: "P-256", "RSA 2048", "Ed25519" ..."""
    try:
        found = certificate.public_key()
    except files.UNREADABLE:
        return "a key that cannot be read"
    if isinstance(found, rsa.RSAPublicKey):
        return f"RSA {found.key_size}"
    if isinstance(found, ec.EllipticCurvePublicKey):
        return _CURVES.get(found.curve.name, found.curve.name)
    if isinstance(found, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "Ed448" if isinstance(found, ed448.Ed448PublicKey) else type(found).__name__


def size(certificate: x509.Certificate) -> int:
    """Its length in bytes, DER."""
    return len(certificate.public_bytes(Encoding.DER))


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Subject and issuer are the same, as in a root."""
    return certificate.subject == certificate.issuer


def is_authority(certificate: x509.Certificate) -> bool:
    """It may issue certificates (RFC 5280, 4.2.1.9)."""
    basic = extension(certificate, x509.BasicConstraints)
    return basic is not None and basic.ca


def extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    """This extension of it; None too where a hostile one cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *files.UNREADABLE):
        return None


def days_left(certificate: x509.Certificate, at: datetime) -> int:
    """Whole days until it expires; negative afterwards."""
    return (certificate.not_valid_after_utc - at).days


def shown(text: str) -> str:
    """Somebody's text, cut, without what could command a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:_TEXT_MAX])


def as_json(certificate: x509.Certificate, at: datetime) -> dict[str, Any]:
    """Everything that is shown of it, for a program."""
    return {
        "name": name(certificate),
        "subject": subject(certificate),
        "issuer": issuer(certificate),
        "names": hosts(certificate),
        "key": key(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "days_left": days_left(certificate, at),
        "bytes": size(certificate),
        "sha256": sha256(certificate),
        "spki_sha256": spki_sha256(certificate),
    }


def _common_name(distinguished: x509.Name) -> str:
    found = distinguished.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _distinguished(distinguished: x509.Name) -> str:
    parts = [f"{each.rfc4514_attribute_name}={each.value!s}" for each in distinguished]
    return shown(", ".join(parts)) or "(none)"
