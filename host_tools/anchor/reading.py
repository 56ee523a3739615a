"""What mbedTLS reads of a certificate, and which ones it refuses to read.

A model of mbedTLS 3.6's parser (library/x509_crt.c, x509_crt_parse_der_core(); x509.c; oid.c;
pkparse.c). tests/anchor asks real mbedTLS about random certificates and about damaged ones.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, PublicKeyAlgorithmOID, SignatureAlgorithmOID

from host_tools.anchor import der, files

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_Value = TypeVar("_Value", bound=x509.ExtensionType)
# A Name as mbedTLS compares it: for each set each (type, kind of string, its bytes).
Comparable = tuple[tuple[tuple[bytes, int, bytes], ...], ...]

_SIGNATURES = (
    SignatureAlgorithmOID.RSA_WITH_MD5,
    SignatureAlgorithmOID.RSA_WITH_SHA1,
    # The same, from ISO.
    x509.ObjectIdentifier("1.3.14.3.2.29"),
    SignatureAlgorithmOID.RSA_WITH_SHA224,
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
    SignatureAlgorithmOID.ECDSA_WITH_SHA1,
    SignatureAlgorithmOID.ECDSA_WITH_SHA224,
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
)
_NETSCAPE_TYPE = x509.ObjectIdentifier("2.16.840.1.113730.1.1")
_PARSED = (
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.CERTIFICATE_POLICIES,
    _NETSCAPE_TYPE,
)
# RFC 4108, 5; the only otherName that mbedTLS looks into.
_HARDWARE_MODULE = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")
_ANY_POLICY = x509.ObjectIdentifier("2.5.29.32.0")
_BRAINPOOL = (ec.BrainpoolP256R1, ec.BrainpoolP384R1, ec.BrainpoolP512R1)
_REFUSABLE = (ec.SECP192R1, ec.SECP224R1, ec.SECP256K1)
_NIST = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_RSA_MOST_BITS = 8192
_INT_MAX = (1 << 31) - 1

_UTF8, _PRINTABLE = 0x0C, 0x13
# Bit, UTF-8, printable, Teletex, IA5, universal and BMP strings.
_STRINGS = (0x03, _UTF8, _PRINTABLE, 0x14, 0x16, 0x1C, 0x1E)


class Refused(Exception):
    """mbedTLS does not parse it, and says why."""


class UnknownSignature(Refused):
    """As Refused, for its signature: in a handshake mbedTLS goes on as if it had not been sent."""


class Unsaid(Exception):
    """What mbedTLS makes of it cannot be said beforehand, and why."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What mbedTLS has of a certificate that it has parsed."""

    certificate: x509.Certificate
    key: Key
    subject: Comparable
    issuer: Comparable
    basic: x509.BasicConstraints | None
    usage: x509.KeyUsage | None
    purposes: x509.ExtendedKeyUsage | None
    alternative: x509.SubjectAlternativeName | None

    @property
    def is_self_issued(self) -> bool:
        return self.subject == self.issuer

    @property
    def has_extensions(self) -> bool:
        """It is of version 3."""
        return self.certificate.version is x509.Version.v3

    def allows(self, bit: str) -> bool:
        """Whether its key usage, if it has one, has this bit, and does not limit what it is for
        (mbedtls_x509_crt_check_key_usage()).
        """
        usage = self.usage
        if usage is None:
            return True
        is_limited = usage.key_agreement and (usage.encipher_only or usage.decipher_only)
        return getattr(usage, bit) is True and not is_limited

    def common_names(self) -> Iterator[bytes]:
        """As they are encoded."""
        for each in self.subject:
            for kind, _, value in each:
                if kind == b"\x55\x04\x03":
                    yield value


def read(certificate: x509.Certificate) -> Reading:
    """What mbedTLS reads. Raises Refused and Unsaid."""
    try:
        return _read(certificate)
    except x509.DuplicateExtension as error:
        if error.oid in _PARSED:
            raise Refused("it has an extension twice") from None
        raise Unsaid("it has an extension twice") from None
    except files.UNREADABLE:
        raise Unsaid("it is damaged or unusual, and cannot be read here") from None


def _read(certificate: x509.Certificate) -> Reading:
    parts = der.parts(certificate)
    if parts.inside != parts.outside:
        raise Unsaid("its two signature algorithms differ")
    if parts.signature[:1] != b"\0":
        raise Unsaid("its signature is not of whole bytes")
    algorithm = certificate.signature_algorithm_oid
    if algorithm == SignatureAlgorithmOID.RSASSA_PSS:
        raise Unsaid("its signature is RSA-PSS, which not every firmware has")
    if algorithm not in _SIGNATURES:
        what = getattr(algorithm, "_name", algorithm.dotted_string)
        raise UnknownSignature(f"mbedTLS does not have its signature algorithm ({what})")
    issuer, subject = _comparable(certificate.issuer), _comparable(certificate.subject)
    if not issuer:
        raise Refused("its issuer is empty")
    key = _key(certificate)
    extensions = certificate.extensions
    if len(extensions) and certificate.version is not x509.Version.v3:
        raise Refused("it has extensions, but is not of version 3")
    for extension in extensions:
        _check(extension)
    return Reading(
        certificate,
        key,
        subject,
        issuer,
        _value(extensions, x509.BasicConstraints),
        _value(extensions, x509.KeyUsage),
        _value(extensions, x509.ExtendedKeyUsage),
        _value(extensions, x509.SubjectAlternativeName),
    )


def _value(extensions: x509.Extensions, kind: type[_Value]) -> _Value | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _key(certificate: x509.Certificate) -> Key:
    algorithm = certificate.public_key_algorithm_oid
    if algorithm in (PublicKeyAlgorithmOID.X25519, PublicKeyAlgorithmOID.X448):
        raise Unsaid("its key cannot sign")
    if algorithm not in (
        PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5,
        PublicKeyAlgorithmOID.EC_PUBLIC_KEY,
    ):
        what = getattr(algorithm, "_name", algorithm.dotted_string)
        raise Refused(f"its key is {what}, which mbedTLS does not have")
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        if key.key_size > _RSA_MOST_BITS:
            raise Unsaid(f"its RSA key has {key.key_size} bits")
        if not numbers.n % 2 or not numbers.e % 2 or not 2 < numbers.e < numbers.n:
            raise Refused("its RSA key is damaged")
        return key
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Unsaid(f"its key is {type(key).__name__}")
    if isinstance(key.curve, _BRAINPOOL):
        raise Unsaid(f"its key is on {key.curve.name}, which not every firmware has")
    if not isinstance(key.curve, _NIST + _REFUSABLE):
        raise Refused(f"its key is on the curve {key.curve.name}, which mbedTLS does not have")
    return key


def _check(extension: x509.Extension[x509.ExtensionType]) -> None:
    """Raises Refused and Unsaid."""
    value = extension.value
    if extension.critical and extension.oid not in _PARSED:
        # Also name constraints (RFC 5280, 4.2.1.10): mbedTLS does not have them.
        what = getattr(extension.oid, "_name", "Unknown OID")
        label = extension.oid.dotted_string if what == "Unknown OID" else what
        raise Refused(f"mbedTLS does not know its critical extension {label}")
    if isinstance(value, x509.CertificatePolicies) and extension.critical:
        policies = {each.policy_identifier for each in value}
        if policies != {_ANY_POLICY}:
            raise Refused("mbedTLS does not know a policy in its critical certificatePolicies")
    elif isinstance(value, x509.SubjectAlternativeName):
        _check_names(value)
    elif isinstance(value, x509.AuthorityKeyIdentifier):
        _check_names(value.authority_cert_issuer or ())
    elif isinstance(value, x509.BasicConstraints) and (value.path_length or 0) >= _INT_MAX:
        raise Refused("its path length is absurd")
    elif isinstance(value, x509.ExtendedKeyUsage) and not list(value):
        raise Refused("its extended key usage is empty")
    elif extension.oid == _NETSCAPE_TYPE and not _is_one_byte_of_bits(value.public_bytes()):
        raise Unsaid("its Netscape certificate type is damaged")


def _is_one_byte_of_bits(data: bytes) -> bool:
    return len(data) == 4 and data[:2] == b"\x03\x02" and data[2] < 8


def _check_names(names: Iterable[x509.GeneralName]) -> None:
    for each in names:
        if isinstance(each, x509.DirectoryName):
            if not _comparable(each.value):
                raise Refused("a directory name in it is empty")
        elif isinstance(each, x509.IPAddress):
            if len(getattr(each.value, "packed", b"")) not in (4, 16):
                raise Refused("an IP address in it is a network")
        elif isinstance(each, x509.OtherName) and each.type_id == _HARDWARE_MODULE:
            raise Unsaid("it names a hardware module")


def _comparable(name: x509.Name) -> Comparable:
    """Raises Refused."""
    [(_, sets)] = der.elements(name.public_bytes())
    return tuple(
        tuple(_attribute(attribute) for _, attribute in der.elements(each))
        for _, each in der.elements(sets)
    )


def _attribute(attribute: bytes) -> tuple[bytes, int, bytes]:
    (_, kind), (tag, value) = der.elements(attribute)
    if tag not in _STRINGS:
        raise Refused(f"a name in it is a string of a kind that mbedTLS does not read ({tag})")
    if tag in (_UTF8, _PRINTABLE):
        # The case of ASCII plays no part, nor which of the two it is (x509_string_cmp()).
        return kind, _UTF8, value.lower()
    return kind, tag, value
