"""Stand-in for the firmware's ssl: a thin layer over the port's tls (runs under MicroPython).

As on the camera: verifies nothing by default, reads only DER, speaks TLS 1.2 only, with
the camera's cipher suites (extmod/mbedtls/mbedtls_config_common.h) and NIST's curves. Kinder
than a camera all the same: records of up to 16 KiB out, mbedTLS's memory outside the GC heap.
"""

import array
import struct

import tls
import uctypes

CERT_NONE = tls.CERT_NONE
CERT_OPTIONAL = tls.CERT_OPTIONAL
CERT_REQUIRED = tls.CERT_REQUIRED
PROTOCOL_TLS_CLIENT = tls.PROTOCOL_TLS_CLIENT
PROTOCOL_TLS_SERVER = tls.PROTOCOL_TLS_SERVER

# mbedTLS's order of preference.
_CAMERA_SUITES = [
    exchange + cipher
    for cipher in ("AES-256-GCM-SHA384", "AES-256-CBC-SHA", "AES-128-GCM-SHA256", "AES-128-CBC-SHA")
    for exchange in ("TLS-ECDHE-ECDSA-WITH-", "TLS-ECDHE-RSA-WITH-", "TLS-RSA-WITH-")
]


# P-256, P-384, P-521 (RFC 8422, 5.1.1), as mbedtls_ssl_conf_groups() takes them.
_CAMERA_GROUPS = array.array("H", (0x17, 0x18, 0x19, 0))
# How mbedTLS's own list begins: X25519, P-256.
_OTHER_GROUPS = struct.pack("HH", 0x1D, 0x17)
_POINTER = struct.calcsize("P")


class SSLContext:
    def __init__(self, protocol):
        self._context = tls.SSLContext(protocol)
        self._context.verify_mode = CERT_NONE
        self._context.set_ciphers(_CAMERA_SUITES)
        # The port has no attribute for these: mbedtls_ssl_config is inside the object.
        inside = uctypes.bytearray_at(id(self._context), 2048)
        _allow_only_tls_1_2(inside)
        _allow_only_camera_groups(inside)

    @property
    def verify_mode(self):
        return self._context.verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._context.verify_mode = mode

    def load_verify_locations(self, cafile=None, cadata=None):
        if cafile is not None:
            with open(cafile, "rb") as file:
                cadata = file.read()
        self._context.load_verify_locations(_der(cadata))

    def load_cert_chain(self, certfile, keyfile):
        parts = []
        for part in (certfile, keyfile):
            if isinstance(part, str):
                with open(part, "rb") as file:
                    part = file.read()
            parts.append(_der(part))
        self._context.load_cert_chain(*parts)

    def wrap_socket(
        self, sock, server_side=False, do_handshake_on_connect=True, server_hostname=None
    ):
        return self._context.wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            server_hostname=server_hostname,
        )


def _allow_only_tls_1_2(inside):
    # A ClientHello that offers TLS 1.3 without one of its suites is refused by servers that
    # prefer it. The first members of mbedTLS 3's mbedtls_ssl_config are max_tls_version and
    # min_tls_version.
    at = bytes(inside).find(struct.pack("II", 0x0304, 0x0303))
    if at >= 0:
        inside[at] = 0x03


def _allow_only_camera_groups(inside):
    # One of its members points to the list of groups. What is no pointer must not be followed.
    mapped = _mapped()
    for at in range(0, len(inside) - _POINTER, _POINTER):
        (target,) = struct.unpack_from("P", inside, at)
        if not any(start <= target < end - len(_OTHER_GROUPS) for start, end in mapped):
            continue
        if bytes(uctypes.bytearray_at(target, len(_OTHER_GROUPS))) == _OTHER_GROUPS:
            struct.pack_into("P", inside, at, uctypes.addressof(_CAMERA_GROUPS))
            return


def _mapped():
    """(start, end) of each piece of memory that can be read; none where Linux does not say."""
    try:
        with open("/proc/self/maps") as file:
            lines = file.read().split("\n")
    except OSError:
        return []
    pieces = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[1][0] == "r":
            start, _, end = words[0].partition("-")
            pieces.append((int(start, 16), int(end, 16)))
    return pieces


def _der(data):
    if b"-----BEGIN" in data:
        raise ValueError("invalid cert")
    return data
