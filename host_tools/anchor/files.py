"""Certificates in files: DER or PEM, one or several; what is none is refused with its reason."""

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from broker.errors import UserError

# All roots of a trust store are 250 KB; a certificate is 1 or 2.
_FILE_MAX = 4 << 20
_PEM = b"-----BEGIN "

# What cryptography raises for what it does not read, at once or when a part is asked for.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def read(path: Path) -> list[x509.Certificate]:
    """The certificates in a file, at least one. Raises UserError (exit code 2)."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_MAX + 1)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}: name a certificate's file", exit_code=2
        ) from None
    return parse(data, str(path))


def read_one(path: Path) -> x509.Certificate:
    """The one certificate in a file. Raises UserError (exit code 2)."""
    certificates = read(path)
    if len(certificates) > 1:
        raise UserError(
            f"{path} holds {len(certificates)} certificates, and a camera would take the first and"
            " say nothing of the others: put the one that you mean into a file of its own",
            exit_code=2,
        )
    return certificates[0]


def parse(data: bytes, where: str) -> list[x509.Certificate]:
    """The certificates in these bytes, at least one. Raises UserError (exit code 2).

    where: what the bytes are called in an error.
    """
    try:
        if not data:
            raise ValueError("it is empty")
        if len(data) > _FILE_MAX:
            raise ValueError(f"it is larger than {_FILE_MAX >> 20} MiB")
        if b"PRIVATE KEY-----" in data or _is_private_key(data):
            raise ValueError(
                "it is a private key, which belongs to its owner and to nobody else, and which"
                " nothing was done with"
            )
        if _PEM in data:
            return _quietly(lambda: x509.load_pem_x509_certificates(data))
        return [load(data)]
    except ValueError as error:
        # cryptography's own words are of its parser's inside.
        why = str(error) if str(error).startswith("it is ") else "it is no certificate"
        raise UserError(
            f"{where} cannot be used: {why}; give a certificate, DER or PEM", exit_code=2
        ) from None


def load(der: bytes) -> x509.Certificate:
    """One certificate. Raises ValueError for what is none, or too odd to be read."""
    [certificate] = _quietly(lambda: [x509.load_der_x509_certificate(der)])
    return certificate


def _quietly(load: Callable[[], list[x509.Certificate]]) -> list[x509.Certificate]:
    with warnings.catch_warnings():
        # Of Mozilla's roots one has the serial number 0; and of a hostile one there are more.
        warnings.simplefilter("ignore")
        try:
            found = load()
            for each in found:
                # These are parsed only now, and everybody reads them.
                _ = each.subject, each.issuer, each.not_valid_before_utc, each.not_valid_after_utc
                with contextlib.suppress(*UNREADABLE):
                    _ = each.extensions
        except UNREADABLE as error:
            raise ValueError(str(error)) from None
        return found


def _is_private_key(data: bytes) -> bool:
    """A DER private key begins with its version, an INTEGER (RFC 5958, 2; RFC 5915, 3;
    RFC 8017, A.1.2), where a certificate has a SEQUENCE.
    """
    if data[:1] != b"\x30" or len(data) < 3:
        return False
    at = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
    return data[at : at + 2] == b"\x02\x01"
