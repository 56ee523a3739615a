"""The parts of a certificate as they are encoded, where a library shows only what they mean."""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_VERSION = 0xA0


@dataclass(frozen=True)
class Parts:
    """Contents, DER, without tag and length. inside, outside: the two places that say what it is
    signed with (RFC 5280, 4.1.1.2); public_key: with tag and length; signature: a BIT STRING.
    """

    inside: bytes
    outside: bytes
    public_key: bytes
    signature: bytes


def parts(certificate: x509.Certificate) -> Parts:
    """Of a certificate that could be loaded."""
    [(_, whole)] = elements(certificate.public_bytes(Encoding.DER))
    (_, signed), (_, outside), (_, signature) = elements(whole)
    # Version 1 is not told. Then: serial number, algorithm, issuer, validity, subject, key.
    fields = [each for each in elements(signed) if each[0] != _VERSION]
    return Parts(fields[1][1], outside, encoded(*fields[5]), signature)


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, contents) of each element of well-formed DER."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        yield tag, data[at : at + length]
        at += length


def encoded(tag: int, contents: bytes) -> bytes:
    """One element."""
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + contents
