"""What mbedTLS will make of a chain: its path building, step by step, and its reason.

A model of mbedTLS 3.6 (library/x509_crt.c, x509_crt_verify_chain(); ssl_tls.c,
ssl_parse_certificate_chain()). tests/anchor asks real mbedTLS the same about every row of the
zoo, and about random chains: where the two disagree this model is wrong, or has to say nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from host_tools.anchor import describing, files
from host_tools.anchor.hello import RECORD_BUFFER, Sent
from host_tools.anchor.naming import is_for
from host_tools.anchor.reading import Reading, Refused, UnknownSignature, Unsaid, read

ACCEPTED = "accepted"
# MBEDTLS_X509_MAX_INTERMEDIATE_CA
INTERMEDIATES_MAX = 8

# mbedtls_x509_crt_profile_default
_DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_RSA_LEAST_BITS = 2048

# ssl_parse_certificate_chain(): what is shorter is no certificate.
_LEAST_BYTES = 128


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
    """What mbedTLS finds, a key of _FAULTS -> why."""

    found: dict[str, str] = field(default_factory=dict)

    def add(self, code: str, why: str) -> None:
        self.found.setdefault(code, why)


# From 3.6.3 on mbedTLS puts fragments together, and its buffer has room for the overhead of a
# record, which a fragment in clear does not have (MBEDTLS_SSL_PAYLOAD_OVERHEAD and headers).
_OVERHEAD_MOST = 512

# What mbedTLS finds, in the order of camera/anchors.py, and how many characters it has for it
# (x509.h, MBEDTLS_X509_CRT_ERROR_INFO_LIST).
_FAULTS = {
    "untrusted": 57,
    "name_mismatch": 68,
    "not_yet_valid": 45,
    "expired": 36,
    "digest": 52,
    "key": 81,
    "purpose": 51,
    "usage": 43,
}
# Other codes than their own names.
_REASONS = {"digest": "untrusted", "key": "untrusted", "purpose": "tls", "usage": "tls"}

# MicroPython has room for so many, with two line ends each; of more it says none, and a camera
# "untrusted" (extmod/modtls_mbedtls.c; camera/anchors.py).
_WORDS_MOST = 255


def predict(sent: Sent, anchor: x509.Certificate, name: str, at: datetime) -> Prediction:
    """What a camera that trusts the anchor makes of what was sent, asked as `name`, at a time."""
    try:
        trusted = read(anchor)
    except Refused as refused:
        return Prediction("anchor", f"the anchor: {refused}")
    except Unsaid as unsaid:
        return Prediction("", f"the anchor: {unsaid}")
    if sent.code:
        return Prediction(sent.code, sent.why)
    if RECORD_BUFFER < sent.message_bytes <= RECORD_BUFFER + _OVERHEAD_MOST:
        return Prediction("", f"{sent.message_bytes} bytes of certificates fit into some firmware")
    if sent.message_bytes > RECORD_BUFFER:
        why = f"{sent.message_bytes} bytes of certificates do not fit into {RECORD_BUFFER}"
        return Prediction("tls", why)
    chain: list[Reading] = []
    is_headless = False
    for position, der in enumerate(sent.certificates):
        try:
            chain.append(_parse(der))
        except UnknownSignature:
            # The next one then takes its place.
            is_headless = is_headless or not chain
        except Refused as refused:
            return Prediction("tls", f"certificate {position}: {refused}")
        except Unsaid as unsaid:
            return Prediction("", f"certificate {position}: {unsaid}")
    if is_headless:
        # What mbedTLS then says depends on what it takes for the leaf.
        return Prediction("", "mbedTLS does not have the signature algorithm of the leaf")
    if not chain:
        return Prediction("tls", "it sends no certificate")
    try:
        # mbedTLS's clock has seconds.
        moment = at.replace(microsecond=0)
        predicted = _verify(chain, trusted, name, moment, sent.has_rsa_exchange)
    except UnsupportedAlgorithm:
        return Prediction("", "it has a signature that cannot be checked here")
    if predicted.code == ACCEPTED and sent.asks_client:
        return Prediction("", "it asks the client for a certificate", predicted.path)
    return predicted


def _parse(der: bytes) -> Reading:
    if len(der) < _LEAST_BYTES:
        raise Refused("it is no certificate")
    try:
        return read(files.load(der))
    except ValueError:
        raise Unsaid("it is no certificate, or one that cannot be read here") from None


def why_not(chain: Sequence[x509.Certificate], anchor: x509.Certificate, at: datetime) -> str:
    """Why mbedTLS does not verify the first of these, whatever it is for, with the anchor; "" when
    it does. Nothing that it says of a digest, a key, a date or a right to sign is passed over.
    """
    try:
        path, flags, fatal = _build([read(each) for each in chain], read(anchor), at)
    except (Refused, Unsaid, UnsupportedAlgorithm) as error:
        return str(error)
    weak = _weak_key(path[0])
    if weak:
        flags.add("key", f"its key is {weak}")
    return fatal or next(iter(flags.found.values()), "")


def signed(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether the child's signature is by the parent's key; names and dates play no part."""
    try:
        return _is_signed(child, parent)
    except UnsupportedAlgorithm:
        return False


# A hostile chain has all with one name: each is then asked about each, for each anchor.
@lru_cache(maxsize=4096)
def _is_signed(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """As signed(). Raises UnsupportedAlgorithm when that cannot be found out here."""
    try:
        key, how = parent.public_key(), child.signature_algorithm_parameters
        digest = child.signature_hash_algorithm
        if how is None or digest is None:
            raise UnsupportedAlgorithm("no such signature")
        if isinstance(key, rsa.RSAPublicKey) and isinstance(how, padding.AsymmetricPadding):
            key.verify(child.signature, child.tbs_certificate_bytes, how, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(child.signature, child.tbs_certificate_bytes, how)
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def _verify(
    chain: Sequence[Reading], anchor: Reading, name: str, at: datetime, has_rsa_exchange: bool
) -> Prediction:
    path, flags, fatal = _build(chain, anchor, at)
    shown = tuple(each.certificate for each in path)
    if fatal:
        return Prediction("tls", fatal, shown)
    leaf = chain[0]
    if not is_for(leaf, name):
        flags.add("name_mismatch", f"the certificate is not for {name}")
    weak = _weak_key(leaf)
    if weak:
        flags.add("key", f"the leaf's key is {weak}")
    _find_wrong_usage(leaf, has_rsa_exchange, flags)
    said = [code for code in _FAULTS if code in flags.found]
    if not said:
        return Prediction(ACCEPTED, "", shown)
    if sum(_FAULTS[code] + 2 for code in said) > _WORDS_MOST:
        return Prediction("untrusted", "; ".join(flags.found[code] for code in said), shown)
    return Prediction(_REASONS.get(said[0], said[0]), flags.found[said[0]], shown)


def _build(
    chain: Sequence[Reading], anchor: Reading, at: datetime
) -> tuple[list[Reading], _Flags, str]:
    """(path, what was found, what ended it at once)."""
    flags = _Flags()
    path: list[Reading] = []
    child, rest, is_anchor, self_issued = chain[0], list(chain[1:]), False, 0
    while True:
        path.append(child)
        shown = describing.name(child.certificate)
        if child.certificate.not_valid_after_utc < at:
            flags.add("expired", f"{shown} has expired")
        if child.certificate.not_valid_before_utc > at:
            flags.add("not_yet_valid", f"{shown} is not valid yet")
        if is_anchor:
            return path, flags, ""
        if not isinstance(child.certificate.signature_hash_algorithm, _DIGESTS):
            flags.add("digest", f"{shown} is signed with an old digest")
        if len(path) == 1 and child.is_self_issued and child.certificate == anchor.certificate:
            return path, flags, ""
        parents = [anchor], rest
        below = len(path) - 1 - self_issued
        for is_anchor, candidates in zip((True, False), parents, strict=True):
            found = _find_parent(child, candidates, is_anchor, below, at)
            if found is not None:
                break
        else:
            flags.add("untrusted", f"nothing that was sent, nor the anchor, signs {shown}")
            return path, flags, ""
        parent, is_signed = found
        if len(path) > 1 and child.is_self_issued:
            self_issued += 1
        if not is_anchor and len(path) > INTERMEDIATES_MAX:
            return path, flags, f"more than {INTERMEDIATES_MAX} intermediates"
        above = describing.name(parent.certificate)
        if not is_signed:
            flags.add("untrusted", f"{shown} is not signed by the {above} sent")
        weak = _weak_key(parent)
        if weak:
            flags.add("key", f"the key of {above} is {weak}")
        if not is_anchor:
            # Only what was sent after it is looked at: mbedTLS does not sort.
            rest = rest[rest.index(parent) + 1 :]
        child = parent


def _find_parent(
    child: Reading,
    candidates: Sequence[Reading],
    is_anchor: bool,
    below: int,
    at: datetime,
) -> tuple[Reading, bool] | None:
    """(parent, whether its signature is good): the first that is valid now, else the first."""
    fallback = None
    for parent in candidates:
        if not _may_sign(parent, child, is_anchor, below):
            continue
        certificate = parent.certificate
        is_signed = _is_signed(child.certificate, certificate)
        if is_anchor and not is_signed:
            continue
        if certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            # Of what was sent the first with the right name, even if its key is another.
            return parent, is_signed
        fallback = fallback or (parent, is_signed)
    return fallback


def _may_sign(parent: Reading, child: Reading, is_anchor: bool, below: int) -> bool:
    if parent.subject != child.issuer:
        return False
    if is_anchor and not parent.has_extensions:
        # An old root, from before there were any.
        return True
    basic = parent.basic
    if basic is None or not basic.ca or not parent.allows("key_cert_sign"):
        return False
    return basic.path_length is None or basic.path_length >= below


def _weak_key(reading: Reading) -> str:
    key = reading.key
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _RSA_LEAST_BITS:
            return f"RSA with {key.key_size} bits, less than {_RSA_LEAST_BITS}"
    elif not isinstance(key.curve, _CURVES):
        return f"on the curve {key.curve.name}"
    return ""


def _find_wrong_usage(leaf: Reading, has_rsa_exchange: bool, flags: _Flags) -> None:
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if leaf.purposes is not None and not any(each in allowed for each in leaf.purposes):
        flags.add("purpose", "the leaf's extended key usage is not for servers")
    if has_rsa_exchange and not leaf.allows("key_encipherment"):
        flags.add("usage", "the leaf's key usage is not for encrypting keys")
    elif not has_rsa_exchange and not leaf.allows("digital_signature"):
        flags.add("usage", "the leaf's key usage is not for signing")
