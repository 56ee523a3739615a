"""Trust anchors: one verified SSLContext each, made once and kept, and what it verified.

RAM: a context holds its anchor (about 1.5 KiB); a connection adds mbedTLS's record
buffers, 16 KiB + 4 KiB, each from the GC heap in one piece.
"""

import hashlib
import ssl
from binascii import hexlify

from camera import der
from camera.errors import CameraError

# What mbedTLS says, in the order in which it matters when it says several.
# (mbedtls, include/mbedtls/x509.h: MBEDTLS_X509_BADCERT_*)
_VERIFY_REASONS = (
    ("not correctly signed", "untrusted"),
    ("expected CN", "name_mismatch"),
    ("starts in the future", "not_yet_valid"),
    ("has expired", "expired"),
)

# MBEDTLS_ERR_X509_CERT_VERIFY_FAILED, without words: the reasons are so many that their words
# do not fit into MicroPython's 256 bytes (extmod/modtls_mbedtls.c).
_VERIFY_FAILED = -0x2700

# ENOMEM; MBEDTLS_ERR_{MPI,ASN1}_ALLOC_FAILED, which MicroPython takes for an errno and turns
# positive; those of X509, PK, ECP, MD and SSL (mbedtls 2 and 3, include/mbedtls).
_NO_MEMORY = (12, 0x10, 0x6A, 0x2880, 0x3F80, 0x4D80, 0x5180, 0x7F00)
# MBEDTLS_ERR_X509_FATAL_ERROR.
_FATAL = -0x3000


class Anchor:
    """One trust anchor.

    path: the DER file; client: the paths of the camera's own certificate and its key, both DER,
    for a broker that asks for them. client_end: until when that certificate is valid, Unix time
    in s, None without one. After a handshake, of the path that mbedTLS verified: chain: until
    when each certificate is valid, Unix time in s, leaf first and anchor last; leaf, issuers:
    digests of the leaf and of all above it, hexadecimal, "" where the firmware tells nothing;
    is_pinned: the leaf is one of those that begin() was given.
    Raises CameraError("anchor") when the file cannot be an anchor, CameraError("client_cert")
    when those of the camera cannot be used, and CameraError("tls") when the firmware's TLS does
    not verify.
    """

    def __init__(self, path, client=None):
        self.path = path
        self.name = path.rsplit("/", 1)[-1]
        self.client_end = None
        self.context = _verifying_context(_read(path, "anchor"))
        self.begin()
        if client:
            self.client_end = _show_client(self.context, *client)
        # Called for each certificate of the path, also of one that fails; since 2024.
        inner = self.context._context
        if hasattr(inner, "verify_callback"):
            inner.verify_callback = self._note

    def begin(self, pins=()):
        """Forget the chain of the last handshake; the next leaf must have one of pins.

        pins: SHA-256 of the leaf or of its SubjectPublicKeyInfo, hexadecimal; () is any leaf. The
        context is shared by all brokers that have this anchor, so each connection sets its own.
        Raises CameraError("tls") when the firmware cannot check them.
        """
        if pins and not hasattr(self.context._context, "verify_callback"):
            raise CameraError("tls", "this firmware cannot check pin_sha256: update it")
        self._pins = [pin.lower() for pin in pins]
        self.is_pinned = not pins
        self.chain = []
        self.leaf = self.issuers = ""

    def _note(self, certificate, depth):
        # An exception here would pass through mbedTLS's C frames. mbedTLS comes from the
        # anchor down, so each is put in front. Less than 0 ends the handshake: mbedTLS hands it
        # on as its own error, and more than 0 would be a number of bytes written.
        try:
            digest = _digest(certificate)
            if depth:
                self.issuers += digest[:16]
            else:
                self.leaf = digest[:16]
                self.is_pinned = self.is_pinned or self._has_pin(certificate, digest)
            self.chain.insert(0, der.not_after(certificate))
        except Exception:
            self.chain.insert(0, 0)
        return 0 if depth or self.is_pinned else _FATAL

    def _has_pin(self, certificate, digest):
        if digest in self._pins:
            return True
        start, end = der.public_key(certificate)
        return _digest(memoryview(certificate)[start:end]) in self._pins


def digest(path):
    """SHA-256 of an anchor file, hexadecimal; "" when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return _digest(file.read())
    except OSError:
        return ""


def _digest(data):
    return hexlify(hashlib.sha256(data).digest()).decode()


def reason(error):
    """The CameraError for what mbedTLS raised in a handshake.

    A failed verification is a ValueError with mbedTLS's words; every other TLS failure an
    OSError whose code is negative (measured, MicroPython 1.25, mbedTLS 3.6).
    """
    # Each of its sentences ends a line; between two of them there is an empty one.
    text = str(error).strip().replace("\n\n", "\n").replace("\n", "; ")
    if isinstance(error, ValueError):
        for words, code in _VERIFY_REASONS:
            if words in text:
                return CameraError(code, text)
        return CameraError("untrusted", text)
    if getattr(error, "errno", 0) == _VERIFY_FAILED:
        return CameraError("untrusted", text)
    if isinstance(error, MemoryError) or _is_no_memory(error.errno):
        return CameraError("memory", text)
    return CameraError("tls", text)


def _is_no_memory(errno):
    # ENOMEM: no room for mbedTLS's record buffers (or lwIP's, negated). In the handshake
    # mbedTLS says which module lacked it, above the 7 bits of a detail.
    return abs(errno) in _NO_MEMORY or -errno & ~0x7F in _NO_MEMORY


def _read(path, code):
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CameraError(code, "%s cannot be read: %s" % (path, error))
    problem = der.problem(data)
    if problem:
        raise CameraError(code, "%s: %s" % (path, problem))
    return data


def _show_client(context, certificate_path, key_path):
    """Have the context show this certificate to brokers that ask; until when it is valid."""
    certificate = _read(certificate_path, "client_cert")
    key = _read(key_path, "client_cert")
    try:
        context.load_cert_chain(certificate, key)
        return der.not_after(certificate)
    except (ValueError, OSError) as error:
        raise CameraError("client_cert", "mbedTLS does not load it: %s" % error)


def _verifying_context(anchor):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The firmware's default is CERT_NONE: any certificate is taken. Read it back, so
    # that a firmware that ignores the assignment is found out before it is trusted.
    context.verify_mode = ssl.CERT_REQUIRED
    if context.verify_mode != ssl.CERT_REQUIRED:
        raise CameraError("tls", "this firmware does not keep CERT_REQUIRED")
    try:
        context.load_verify_locations(cadata=anchor)
    except (ValueError, OSError) as error:
        raise CameraError("anchor", "mbedTLS does not load it: %s" % error)
    return context
