"""What mbedTLS will make of a chain: its path building, step by step, and its reason.

A model of mbedTLS 3.6 (library/x509_crt.c, x509_crt_verify_chain(); ssl_tls.c,
ssl_parse_certificate()). tests/anchor asks real mbedTLS the same about every row of the zoo:
where the two disagree this model is wrong.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from host_tools.anchor import describing
from host_tools.anchor.hello import RECORD_BUFFER, Sent

ACCEPTED = "accepted"
# MBEDTLS_X509_MAX_INTERMEDIATE_CA
INTERMEDIATES_MAX = 8

# mbedtls_x509_crt_profile_default
_DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_RSA_LEAST_BITS = 2048

_KNOWN_EXTENSIONS = (
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
)


@dataclass(frozen=True)
class Prediction:
    """code: "accepted", a reason code, or "" where nothing can be said beforehand; why: in words;
    path: what mbedTLS builds, leaf first, as far as it comes.
    """

    code: str
    why: str = ""
    path: tuple[x509.Certificate, ...] = ()


@dataclass
class _Flags:
    """Reason code -> why, of what mbedTLS finds; the order is that of camera/anchors.py."""

    found: dict[str, str] = field(default_factory=dict)

    def add(self, code: str, why: str) -> None:
        self.found.setdefault(code, why)


_ORDER = ("untrusted", "name_mismatch", "not_yet_valid", "expired", "unacceptable")


def predict(sent: Sent, anchor: x509.Certificate, name: str, at: datetime) -> Prediction:
    """What a camera that trusts the anchor makes of what was sent, asked as `name`, at a time."""
    unusable = _unreadable(anchor)
    if unusable:
        return Prediction("anchor", f"the anchor: {unusable}")
    if sent.code:
        return Prediction(sent.code, sent.why)
    if sent.message_bytes > RECORD_BUFFER:
        why = f"{sent.message_bytes} bytes of certificates do not fit into {RECORD_BUFFER}"
        return Prediction("tls", why)
    chain = []
    for position, der in enumerate(sent.certificates):
        try:
            chain.append(x509.load_der_x509_certificate(der))
            why = _unreadable(chain[-1])
        except ValueError:
            why = "it is no certificate"
        if why:
            return Prediction("tls", f"certificate {position}: {why}")
    if not chain:
        return Prediction("tls", "it sends no certificate")
    predicted = _verify(chain, anchor, name, at)
    if predicted.code == ACCEPTED and sent.asks_client:
        return Prediction("", "it asks the client for a certificate", predicted.path)
    return predicted


def builds_on(chain: Sequence[x509.Certificate], anchor: x509.Certificate, at: datetime) -> bool:
    """Whether mbedTLS finds a path from the leaf to the anchor, whatever else is wrong."""
    path, flags, fatal = _build(chain, anchor, at)
    return not fatal and "untrusted" not in flags.found and len(path) > 0


def signed(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether the child's signature is by the parent's key; names and dates play no part."""
    key = parent.public_key()
    try:
        digest = child.signature_hash_algorithm
        if digest is None:
            return False
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(child.signature, child.tbs_certificate_bytes, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(child.signature, child.tbs_certificate_bytes, ec.ECDSA(digest))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _unreadable(certificate: x509.Certificate) -> str:
    """Why mbedTLS cannot parse it, which ends the handshake; "" when it can."""
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _KNOWN_EXTENSIONS:
            # Also name constraints (RFC 5280, 4.2.1.10): mbedTLS does not have them.
            what = getattr(extension.oid, "_name", "Unknown OID")
            label = extension.oid.dotted_string if what == "Unknown OID" else what
            return f"mbedTLS does not know its critical extension {label}"
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return f"mbedTLS does not have its kind of key ({type(key).__name__})"
    return ""


def _verify(
    chain: Sequence[x509.Certificate], anchor: x509.Certificate, name: str, at: datetime
) -> Prediction:
    path, flags, fatal = _build(chain, anchor, at)
    if fatal:
        return Prediction("tls", fatal, tuple(path))
    leaf = chain[0]
    if not _has_name(leaf, name):
        flags.add("name_mismatch", f"the certificate is not for {name}")
    weak = _weak_key(leaf)
    if weak:
        flags.add("unacceptable", f"the leaf's key is {weak}")
    for code in _ORDER:
        if code in flags.found:
            reason = "untrusted" if code == "unacceptable" else code
            return Prediction(reason, flags.found[code], tuple(path))
    why = _wrong_usage(leaf)
    if why:
        return Prediction("tls", why, tuple(path))
    return Prediction(ACCEPTED, "", tuple(path))


def _build(
    chain: Sequence[x509.Certificate], anchor: x509.Certificate, at: datetime
) -> tuple[list[x509.Certificate], _Flags, str]:
    """(path, what was found, what ended it at once)."""
    flags = _Flags()
    path: list[x509.Certificate] = []
    child, rest, is_anchor, self_issued = chain[0], list(chain[1:]), False, 0
    while True:
        path.append(child)
        if child.not_valid_after_utc < at:
            flags.add("expired", f"{describing.name(child)} has expired")
        if child.not_valid_before_utc > at:
            flags.add("not_yet_valid", f"{describing.name(child)} is not valid yet")
        if is_anchor:
            return path, flags, ""
        if not isinstance(child.signature_hash_algorithm, _DIGESTS):
            flags.add("unacceptable", f"{describing.name(child)} is signed with an old digest")
        if len(path) == 1 and child == anchor and child.issuer == child.subject:
            return path, flags, ""
        parents = [anchor], rest
        below = len(path) - 1 - self_issued
        for is_anchor, candidates in zip((True, False), parents, strict=True):
            found = _find_parent(child, candidates, is_anchor, below, at)
            if found is not None:
                break
        else:
            flags.add(
                "untrusted",
                f"nothing that was sent, nor the anchor, signs {describing.name(child)}",
            )
            return path, flags, ""
        parent, is_signed = found
        if len(path) > 1 and child.issuer == child.subject:
            self_issued += 1
        if not is_anchor and len(path) > INTERMEDIATES_MAX:
            return path, flags, f"more than {INTERMEDIATES_MAX} intermediates"
        if not is_signed:
            flags.add(
                "untrusted",
                f"{describing.name(child)} is not signed by the {describing.name(parent)} sent",
            )
        weak = _weak_key(parent)
        if weak:
            flags.add("unacceptable", f"the key of {describing.name(parent)} is {weak}")
        if not is_anchor:
            # Only what was sent after it is looked at: mbedTLS does not sort.
            rest = rest[rest.index(parent) + 1 :]
        child = parent


def _find_parent(
    child: x509.Certificate,
    candidates: Sequence[x509.Certificate],
    is_anchor: bool,
    below: int,
    at: datetime,
) -> tuple[x509.Certificate, bool] | None:
    """(parent, whether its signature is good): the first that is valid now, else the first."""
    fallback = None
    for parent in candidates:
        if not _may_sign(parent, child, below):
            continue
        is_signed = signed(child, parent)
        if is_anchor and not is_signed:
            continue
        if parent.not_valid_before_utc <= at <= parent.not_valid_after_utc:
            # Of what was sent the first with the right name, even if its key is another.
            return parent, is_signed
        fallback = fallback or (parent, is_signed)
    return fallback


def _may_sign(parent: x509.Certificate, child: x509.Certificate, below: int) -> bool:
    if _comparable(parent.subject) != _comparable(child.issuer):
        return False
    try:
        basic = parent.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not basic.ca or (basic.path_length is not None and basic.path_length < below):
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        usage = parent.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.key_cert_sign


def _comparable(name: x509.Name) -> list[tuple[str, str]]:
    # mbedTLS compares without regard to case (x509_string_cmp()).
    return [(each.oid.dotted_string, str(each.value).lower()) for each in name]


def _has_name(leaf: x509.Certificate, name: str) -> bool:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return any(_matches(str(each.value), name) for each in common)
    if any(_matches(each, name) for each in names.get_values_for_type(x509.DNSName)):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address in names.get_values_for_type(x509.IPAddress)


def _matches(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower(), name.lower()
    if pattern == name:
        return True
    # A wildcard stands for exactly one label.
    label, dot, parent = name.partition(".")
    return bool(label and dot) and pattern == f"*.{parent}"


def _weak_key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_LEAST_BITS:
        return f"RSA with {key.key_size} bits, less than {_RSA_LEAST_BITS}"
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        return f"on the curve {key.curve.name}"
    return ""


def _wrong_usage(leaf: x509.Certificate) -> str:
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
        if not any(purpose in allowed for purpose in purposes):
            return "the leaf's extended key usage is not for servers"
    except x509.ExtensionNotFound:
        pass
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    return "" if usage.digital_signature else "the leaf's key usage is not for signing"
