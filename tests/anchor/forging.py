"""Certificates put together byte by byte, for no library makes all that servers could send."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from host_tools.anchor.der import encoded

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Extension = tuple[str, bool, bytes]

_SIGNATURES = {
    ("RSA", "SHA1"): "1.2.840.113549.1.1.5",
    ("RSA", "SHA224"): "1.2.840.113549.1.1.14",
    ("RSA", "SHA256"): "1.2.840.113549.1.1.11",
    ("RSA", "SHA384"): "1.2.840.113549.1.1.12",
    ("RSA", "SHA512"): "1.2.840.113549.1.1.13",
    ("EC", "SHA1"): "1.2.840.10045.4.1",
    ("EC", "SHA224"): "1.2.840.10045.4.3.1",
    ("EC", "SHA256"): "1.2.840.10045.4.3.2",
    ("EC", "SHA384"): "1.2.840.10045.4.3.3",
    ("EC", "SHA512"): "1.2.840.10045.4.3.4",
}
_ED25519, _PSS, _MGF1, _SHA256 = (
    "1.3.101.112",
    "1.2.840.113549.1.1.10",
    "1.2.840.113549.1.1.8",
    "2.16.840.1.101.3.4.2.1",
)


def der(tag: int, *parts: bytes) -> bytes:
    """One element."""
    return encoded(tag, b"".join(parts))


def oid(dotted: str) -> bytes:
    """An object identifier."""
    first, second, *rest = map(int, dotted.split("."))
    out = [first * 40 + second]
    for number in rest:
        septets = [number & 0x7F]
        while number := number >> 7:
            septets.insert(0, 0x80 | number & 0x7F)
        out += septets
    return der(6, bytes(out))


def integer(value: int) -> bytes:
    """An INTEGER, negative ones too."""
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def distinguished(*sets: Sequence[tuple[str, int, bytes]]) -> bytes:
    """A Name; each set: (type, tag of the string, its bytes), ..."""
    return der(
        0x30,
        *(
            der(0x31, *(der(0x30, oid(kind), der(tag, value)) for kind, tag, value in each))
            for each in sets
        ),
    )


@dataclass(frozen=True)
class Recipe:
    """One certificate to be. subject, issuer: Names, DER. key, issuer_key: names of keys, which
    begin with their kind; issuer_key "" for a self-signed one. days: of its validity, from now.
    is_broken: the signature is of something else.
    """

    subject: bytes
    issuer: bytes
    key: str
    issuer_key: str
    days: tuple[int, int] = (-500, 1000)
    version: int = 3
    digest: str = "SHA256"
    is_pss: bool = False
    is_broken: bool = False
    serial: int = 1
    extensions: tuple[Extension, ...] = ()


def pem(key: Key, chain: Sequence[bytes]) -> bytes:
    """A key and its chain as ssl.SSLContext.load_cert_chain() takes them."""
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text + "".join(map(ssl.DER_cert_to_PEM_cert, chain)).encode()


class Forge:
    """Makes certificates, with one key for each name of a key."""

    def __init__(self, now: datetime) -> None:
        self._now = now.replace(microsecond=0)
        self._keys: dict[str, Key] = {}

    def make(self, recipe: Recipe) -> bytes:
        """The certificate, DER."""
        key = self.key(recipe.key).public_key()
        signer = self.key(recipe.issuer_key or recipe.key)
        algorithm = _algorithm(signer, recipe)
        begins, ends = (self._now + timedelta(days=days) for days in recipe.days)
        parts = [
            der(0xA0, integer(recipe.version - 1)) if recipe.version > 1 else b"",
            integer(recipe.serial),
            algorithm,
            recipe.issuer,
            der(0x30, _time(begins), _time(ends)),
            recipe.subject,
            key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ]
        if recipe.extensions:
            parts.append(der(0xA3, der(0x30, *map(_extension, recipe.extensions))))
        tbs = der(0x30, *parts)
        signature = _sign(signer, recipe, tbs)
        if recipe.is_broken:
            signature = _sign(signer, recipe, tbs + b"x")
        return der(0x30, tbs, algorithm, der(3, b"\0" + signature))

    def key(self, name: str) -> Key:
        """The private key of this name."""
        if name not in self._keys:
            self._keys[name] = _new_key(name.partition(" ")[0])
        return self._keys[name]


def _new_key(kind: str) -> Key:
    match kind.partition("-")[0]:
        case "RSA":
            return rsa.generate_private_key(65537, int(kind[4:]))
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {
        "P-224": ec.SECP224R1(),
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
        "secp256k1": ec.SECP256K1(),
        "brainpool": ec.BrainpoolP256R1(),
    }
    return ec.generate_private_key(curves[kind])


def _algorithm(signer: Key, recipe: Recipe) -> bytes:
    null = der(5)
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        return der(0x30, oid(_ED25519))
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        return der(0x30, oid(_SIGNATURES["EC", recipe.digest]))
    if recipe.is_pss:
        digest = der(0x30, oid(_SHA256), null)
        mask = der(0x30, oid(_MGF1), digest)
        options = der(0x30, der(0xA0, digest), der(0xA1, mask), der(0xA2, integer(32)))
        return der(0x30, oid(_PSS), options)
    return der(0x30, oid(_SIGNATURES["RSA", recipe.digest]), null)


def _sign(signer: Key, recipe: Recipe, data: bytes) -> bytes:
    digest: hashes.HashAlgorithm = getattr(hashes, recipe.digest)()
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        return signer.sign(data)
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        return signer.sign(data, ec.ECDSA(digest))
    if recipe.is_pss:
        return signer.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    return signer.sign(data, padding.PKCS1v15(), digest)


def _extension(extension: Extension) -> bytes:
    kind, is_critical, value = extension
    return der(0x30, oid(kind), der(1, b"\xff") if is_critical else b"", der(4, value))


def _time(moment: datetime) -> bytes:
    if 1950 <= moment.year < 2050:
        return der(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())
    return der(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode())
