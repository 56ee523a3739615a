"""The certificates' shape: what Let's Encrypt issues today, under names marked as test.

Checked against its published certificates and profiles, autumn 2026: issuer and key type of
each step (design, section 5); the "tlsserver" profile's leaf has an empty subject, a critical
subjectAltName, serverAuth only, and no subjectKeyIdentifier.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.errors import UserError

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KeyKind = Literal["P-256", "P-384", "RSA 2048", "RSA 4096"]

YEAR = timedelta(days=365)
# A client's clock that is a little behind must not find its new certificate in the future.
BACKDATE = timedelta(hours=1)

_DOMAIN_VALIDATED = x509.ObjectIdentifier("2.23.140.1.2.1")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*", re.I)


@dataclass(frozen=True)
class Issuer:
    """One certificate authority of the tree. issuer: its signer's name, "" for itself."""

    name: str
    common_name: str
    issuer: str
    key: KeyKind
    life: timedelta
    # False: it signs authorities; True: it signs leaves only (pathlen 0).
    signs_leaves: bool = False


@dataclass(frozen=True)
class Chain:
    """What one listener sends: a leaf and these issuers, in this order. Never the root."""

    name: Literal["ecdsa", "rsa"]
    leaf_key: KeyKind
    issuers: tuple[str, ...]


ROOT = "x1"
# An issuer comes after its own issuer.
ISSUERS = (
    Issuer(ROOT, "(TEST) Root X1", "", "RSA 4096", 20 * YEAR),
    Issuer("x2", "(TEST) Root X2", ROOT, "P-384", 15 * YEAR),
    Issuer("ye", "(TEST) Root YE", "x2", "P-384", 10 * YEAR),
    Issuer("ye1", "(TEST) YE1", "ye", "P-384", 3 * YEAR, signs_leaves=True),
    Issuer("yr", "(TEST) Root YR", ROOT, "RSA 4096", 10 * YEAR),
    Issuer("yr1", "(TEST) YR1", "yr", "RSA 2048", 3 * YEAR, signs_leaves=True),
)
# Signs the certificates of devices, and no server's.
DEVICES = Issuer("devices", "(TEST) Devices", "", "P-256", 20 * YEAR)
CHAINS = (
    Chain("ecdsa", "P-256", ("ye1", "ye", "x2")),
    Chain("rsa", "RSA 2048", ("yr1", "yr")),
)


def new_key(kind: KeyKind) -> Key:
    """A new private key of this kind."""
    match kind:
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "RSA 2048":
            return rsa.generate_private_key(65537, 2048)
        case "RSA 4096":
            return rsa.generate_private_key(65537, 4096)


def subject_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """The subjectAltName entries of these host names and IP addresses.

    Raises UserError for what is neither.
    """
    return [_general_name(name) for name in names]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    # All digits after the last dot would be a mistyped IP address (RFC 1123, 2.1).
    if len(name) > 253 or not _DNS_NAME.fullmatch(name) or name.rpartition(".")[2].isdigit():
        raise UserError(
            f"--name {name!r} is neither a host name nor an IP address: "
            'give it as "camera-broker.lan" or "192.168.1.10", without port or "mqtts://"',
            exit_code=2,
        )
    return x509.DNSName(name)


def issue(
    issuer: Issuer, key: Key, signer: x509.Certificate | None, signer_key: Key, now: datetime
) -> x509.Certificate:
    """The certificate of one authority. signer None: it signs itself."""
    subject = subject_of(issuer.common_name)
    not_before = now - BACKDATE
    not_after = not_before + issuer.life
    if signer:
        not_after = min(not_after, signer.not_valid_after_utc)
    certificate = (
        builder(
            subject,
            signer.subject if signer else subject,
            key.public_key(),
            not_before,
            not_after,
        )
        .add_extension(x509.BasicConstraints(True, 0 if issuer.signs_leaves else None), True)
        .add_extension(key_usage(issuer.signs_leaves, certificates=True), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if signer:
        certificate = certificate.add_extension(authority_key(signer), False)
    if issuer.signs_leaves:
        certificate = certificate.add_extension(_SERVER_AUTH, False)
        certificate = certificate.add_extension(_policy(), False)
    return _sign(certificate, signer_key)


def issue_leaf(
    key: Key,
    names: Sequence[x509.GeneralName],
    signer: x509.Certificate,
    signer_key: Key,
    now: datetime,
    life: timedelta,
) -> x509.Certificate:
    """A server's certificate for these names, valid for life from an hour ago."""
    not_before = now - BACKDATE
    not_after = min(not_before + life, signer.not_valid_after_utc)
    return _sign(
        builder(x509.Name([]), signer.subject, key.public_key(), not_before, not_after)
        # RFC 5280, 4.1.2.6: critical, because the subject is empty.
        .add_extension(x509.SubjectAlternativeName(names), True)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(key_usage(True, certificates=False), True)
        .add_extension(_SERVER_AUTH, False)
        .add_extension(authority_key(signer), False)
        .add_extension(_policy(), False),
        signer_key,
    )


def issue_device(
    key: ec.EllipticCurvePublicKey,
    name: str,
    signer: x509.Certificate,
    signer_key: Key,
    now: datetime,
    life: timedelta,
) -> x509.Certificate:
    """A client's certificate in the name of one account, valid for life from an hour ago."""
    not_before = now - BACKDATE
    not_after = min(now + life, signer.not_valid_after_utc)
    return _sign(
        builder(device_subject(name), signer.subject, key, not_before, not_after)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(key_usage(True, certificates=False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .add_extension(authority_key(signer), False),
        signer_key,
    )


def device_subject(name: str) -> x509.Name:
    """The subject of a device's certificate: the account's name and nothing else."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


_SERVER_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def subject_of(common_name: str) -> x509.Name:
    """The subject of an authority of ours."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "anchorcam test, not for use"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificatePublicKeyTypes,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    """A certificate without extensions."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def key_usage(
    signs_data: bool, *, certificates: bool, encrypts_keys: bool = False
) -> x509.KeyUsage:
    """For data (a handshake), certificates, or both; or for a handshake without a signature."""
    return x509.KeyUsage(
        digital_signature=signs_data,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=encrypts_keys,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def authority_key(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What says that this signer's key has signed."""
    key_id = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)


def _policy() -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(_DOMAIN_VALIDATED, None)])


def _sign(builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
    # As Let's Encrypt: SHA-384 goes with P-384, SHA-256 with RSA.
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    return builder.sign(key, hashes.SHA256() if is_rsa else hashes.SHA384())
