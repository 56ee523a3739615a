"""As much of X.509 as a camera needs: one DER certificate, until when, and of which key. Pure."""

# Days from 1970-01-01 to the first of each month of a year that is not a leap year.
_MONTH_DAYS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_UTC_TIME = 0x17


def problem(data):
    """None when data is exactly one DER SEQUENCE, or what is wrong and what to do.

    mbedTLS says only "invalid cert" to all of these, and nothing at all to a second
    certificate behind the first, which it does not load.
    """
    if not data:
        return "it is empty: copy the anchor again"
    if data[:10] == b"-----BEGIN":
        return (
            "it is PEM, the camera reads only DER: convert it with"
            " openssl x509 -in FILE -outform DER -out FILE.der"
        )
    try:
        _, end = _element(data, 0, 0x30)
    except ValueError:
        return "it is not a DER certificate: copy the CA's .der file again"
    if end > len(data):
        return "it ends after %d of %d bytes: copy it again" % (len(data), end)
    if end < len(data):
        return "something follows the certificate: one file holds one certificate"
    return None


def not_after(data):
    """The end of a DER certificate's validity, Unix time in s (RFC 5280, 4.1.2.5).

    data: bytes-like. Raises ValueError when it is not a certificate.
    """
    at, _ = _element(data, _to_validity(data), 0x30)  # validity
    _, at = _element(data, at, _at(data, at))  # notBefore
    kind = _at(data, at)
    start, end = _element(data, at, kind)
    return _unix_time(bytes(data[start:end]), kind)


def public_key(data):
    """(start, end) of a certificate's SubjectPublicKeyInfo, with its header (RFC 5280, 4.1.2.7).

    data: bytes-like. Raises ValueError when it is not a certificate, or not a whole one.
    """
    _, at = _element(data, _to_validity(data), 0x30)  # validity
    _, start = _element(data, at, 0x30)  # subject
    _, end = _element(data, start, 0x30)
    if end > len(data):
        raise ValueError("the certificate ends too early")
    return start, end


def _to_validity(data):
    """Where the validity begins."""
    at, _ = _element(data, 0, 0x30)  # Certificate
    at, _ = _element(data, at, 0x30)  # TBSCertificate
    if _at(data, at) == 0xA0:  # version, present in every v3 certificate
        _, at = _element(data, at, 0xA0)
    _, at = _element(data, at, 0x02)  # serialNumber
    _, at = _element(data, at, 0x30)  # signature
    return _element(data, at, 0x30)[1]  # issuer


def _at(data, index):
    if index >= len(data):
        raise ValueError("the certificate ends too early")
    return data[index]


def _element(data, at, tag):
    """(start, end) of the contents of the element at `at`, which must have this tag."""
    if _at(data, at) != tag:
        raise ValueError("not a certificate")
    length = _at(data, at + 1)
    at += 2
    if length > 0x80:
        count = length & 0x7F
        # A certificate is far below 16 MiB; more length bytes are an attack or garbage.
        if count > 3:
            raise ValueError("not a certificate")
        length = 0
        for _ in range(count):
            length = length << 8 | _at(data, at)
            at += 1
    return at, at + length


def _unix_time(text, kind):
    digits = text[:-1]
    if kind == _UTC_TIME:
        # RFC 5280: two digits are of 1950 to 2049.
        year = int(digits[:2])
        year += 2000 if year < 50 else 1900
        rest = digits[2:]
    else:
        year = int(digits[:4])
        rest = digits[4:]
    if text[-1:] != b"Z" or len(rest) != 10:
        raise ValueError("not a certificate's date")
    month = int(rest[:2])
    if not 1 <= month <= 12:
        raise ValueError("not a certificate's date")
    leaps = (year - 1) // 4 - (year - 1) // 100 + (year - 1) // 400 - 477
    days = (year - 1970) * 365 + leaps + _MONTH_DAYS[month - 1] + int(rest[2:4]) - 1
    if month > 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        days += 1
    return ((days * 24 + int(rest[4:6])) * 60 + int(rest[6:8])) * 60 + int(rest[8:10])
