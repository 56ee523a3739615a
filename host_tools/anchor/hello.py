"""What a server sends a camera: the camera's ClientHello, and the answer up to ServerHelloDone.

In TLS 1.2, and a camera speaks no other, all of that is in clear: nothing has to be trusted, no
key is needed, and a server that would go on to refuse has shown its certificates all the same.
(RFC 5246; RFC 8422. Suites and extensions as the camera's mbedTLS sends them.)
"""

import os
import socket
import struct
import time
from dataclasses import dataclass, replace
from typing import NoReturn

from broker.errors import UserError

# TLS-{ECDHE-ECDSA,ECDHE-RSA,RSA}-WITH-{AES-256-GCM-SHA384, AES-256-CBC-SHA, AES-128-GCM-SHA256,
# AES-128-CBC-SHA}: host_tools/virtual_camera/firmware/ssl.py has the same list by name.
_SUITES = (
    *(0xC02C, 0xC030, 0x009D, 0xC00A, 0xC014, 0x0035),
    *(0xC02B, 0xC02F, 0x009C, 0xC009, 0xC013, 0x002F),
)
# Those of them whose names begin with TLS-RSA.
_RSA_EXCHANGE = (0x009D, 0x0035, 0x009C, 0x002F)
_NIST_CURVES = (0x17, 0x18, 0x19)
_X25519 = 0x1D
_SIGNATURES = (0x0603, 0x0503, 0x0403, 0x0601, 0x0501, 0x0401)  # ECDSA, RSA; SHA-512, -384, -256
_ED25519 = 0x0807
_TLS_1_2 = 0x0303

_HANDSHAKE, _ALERT = 22, 21
_SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE, _CERTIFICATE_REQUEST, _DONE = 2, 11, 12, 13, 14
# RFC 5246, 7.3: what may follow what.
_NEXT = {
    0: (_SERVER_HELLO,),
    _SERVER_HELLO: (_CERTIFICATE,),
    _CERTIFICATE: (_KEY_EXCHANGE, _CERTIFICATE_REQUEST, _DONE),
    _KEY_EXCHANGE: (_CERTIFICATE_REQUEST, _DONE),
    _CERTIFICATE_REQUEST: (_DONE,),
}
_WARNING, _CLOSE_NOTIFY = 1, 0
_PROTOCOL_VERSION, _HANDSHAKE_FAILURE = 70, 40

# mbedTLS's MBEDTLS_SSL_IN_CONTENT_LEN: a handshake message has to fit into one record buffer.
RECORD_BUFFER = 16384
_RECORD_MAX = 16384 + 2048
# So much is read of a server at most: it may be a hostile one.
_READ_MAX = 1 << 18


@dataclass(frozen=True)
class Sent:
    """What a server sent. certificates: DER, in its order; message_bytes: of the Certificate
    message; is_split: whether that came in several records; has_rsa_exchange: whether the
    leaf's key is to encrypt, not to sign; asks_client: for a certificate of the client's own.
    code, why: the reason code and the words where a camera's handshake ends
    before that, otherwise "".
    """

    certificates: tuple[bytes, ...] = ()
    message_bytes: int = 0
    is_split: bool = False
    has_rsa_exchange: bool = False
    asks_client: bool = False
    code: str = ""
    why: str = ""


class _Ended(Exception):
    """The handshake has ended early. alert: the number of the alert, if it was one."""

    def __init__(self, code: str, why: str, alert: int | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.alert = alert


def look(address: str, port: int, name: str, limit_s: float) -> Sent:
    """What the server there sends to a camera that asks for `name`, within limit_s seconds each
    time it is asked (three at most). Raises UserError (exit code 3) when it cannot be reached.
    """
    try:
        return _ask(address, port, name, limit_s)
    except _Ended as ended:
        if ended.alert in (_HANDSHAKE_FAILURE, _PROTOCOL_VERSION):
            explained = _explain(address, port, name, limit_s)
            if explained is not None:
                return replace(explained, code=ended.code)
        return Sent(code=ended.code, why=ended.why)


def _explain(address: str, port: int, name: str, limit_s: float) -> Sent | None:
    """What a server wants that refuses everything that a camera can do, and what it sends then;
    None for unknown.
    """
    for groups, signatures, what in (
        ((_X25519,), (), "it exchanges keys by X25519 only, and a camera has NIST's curves only"),
        ((), (_ED25519,), "its key is Ed25519, which mbedTLS does not have"),
    ):
        try:
            return replace(_ask(address, port, name, limit_s, groups, signatures), why=what)
        except _Ended as ended:
            if ended.alert == _PROTOCOL_VERSION:
                return Sent(why="it speaks TLS 1.3 only, and a camera speaks TLS 1.2 only")
        except UserError:
            return None
    return None


def _ask(
    address: str,
    port: int,
    name: str,
    limit_s: float,
    groups: tuple[int, ...] = (),
    signatures: tuple[int, ...] = (),
) -> Sent:
    reader = _Reader(_connect(address, port, limit_s), limit_s)
    with reader.connection:
        reader.send(_client_hello(name, _NIST_CURVES + groups, _SIGNATURES + signatures))
        sent, last, has_rsa_exchange = Sent(), 0, False
        while last != _DONE:
            kind, body, records = reader.message()
            if kind not in _NEXT[last]:
                raise _Ended("tls", f"it sends TLS handshake message {kind} out of turn")
            last = kind
            if kind == _SERVER_HELLO:
                has_rsa_exchange = _suite(body) in _RSA_EXCHANGE
            elif kind == _CERTIFICATE:
                size = len(body) + 4
                sent = Sent(_certificates(body), size, records > 1, has_rsa_exchange)
            elif kind == _CERTIFICATE_REQUEST:
                sent = replace(sent, asks_client=True)
        return sent


def _connect(address: str, port: int, limit_s: float) -> socket.socket:
    try:
        return socket.create_connection((address, port), timeout=limit_s)
    except TimeoutError:
        _unreachable(address, port, f"no TCP connection within {limit_s:g} s")
    except OSError as error:
        _unreachable(address, port, error.strerror or str(error))


def _unreachable(address: str, port: int, why: str) -> NoReturn:
    raise UserError(
        f"{address} port {port} cannot be reached: {why}; is it the right port, does the server"
        " run, does a firewall refuse?",
        exit_code=3,
    )


class _Reader:
    """Cuts handshake messages out of a server's records. All within limit_s."""

    def __init__(self, connection: socket.socket, limit_s: float) -> None:
        self.connection = connection
        self._limit_s = limit_s
        self._end = time.monotonic() + limit_s
        self._messages = bytearray()
        self._records = 0
        self._read = 0

    def send(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise _Ended("broker_closed", f"it closed the connection: {error}") from None

    def message(self) -> tuple[int, bytes, int]:
        """(type, body, number of records that it came in). Raises _Ended."""
        self._records = 1 if self._messages else 0
        while len(self._messages) < 4:
            self._record()
        length = int.from_bytes(self._messages[1:4], "big")
        if length > _READ_MAX:
            raise _Ended("tls", f"a handshake message of {length} bytes")
        while len(self._messages) < 4 + length:
            self._record()
        kind, body = self._messages[0], bytes(self._messages[4 : 4 + length])
        del self._messages[: 4 + length]
        return kind, body, self._records

    def _record(self) -> None:
        head = self._exactly(5, is_first=True)
        kind, major, _, length = struct.unpack("!BBBH", head)
        if major != 3 or kind not in (_HANDSHAKE, _ALERT) or length > _RECORD_MAX:
            raise _Ended("tls", f"no TLS there: it answers {_shown(head)}")
        body = self._exactly(length)
        if kind == _ALERT:
            alert = body[-1] if body else _CLOSE_NOTIFY
            if body[:1] == bytes((_WARNING,)) and alert != _CLOSE_NOTIFY:
                # Such as unrecognized_name, which servers go on after, and mbedTLS, too.
                return
            raise _Ended("tls", f"it refuses with TLS alert {alert} ({_alert_name(alert)})", alert)
        self._messages += body
        self._records += 1

    def _exactly(self, count: int, is_first: bool = False) -> bytes:
        data = bytearray()
        self._read += count
        if self._read > _READ_MAX:
            raise _Ended("tls", f"it sends more than {_READ_MAX >> 10} KiB before it is done")
        while len(data) < count:
            left = self._end - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self.connection.settimeout(left)
                piece = self.connection.recv(count - len(data))
            except TimeoutError:
                raise _Ended("timeout", f"no answer within {self._limit_s:g} s") from None
            except OSError as error:
                raise _Ended("broker_closed", f"it closed the connection: {error}") from None
            if not piece:
                if is_first and data:
                    raise _Ended("tls", f"no TLS there: it answers {_shown(bytes(data))}")
                raise _Ended("broker_closed", "it closed the connection without a word")
            data += piece
        return bytes(data)


def _client_hello(name: str, groups: tuple[int, ...], signatures: tuple[int, ...]) -> bytes:
    host = name.encode()
    extensions = b"".join(
        (
            # server_name: mbedTLS sends it for an address, too.
            _extension(0, _vector(b"\0" + _vector(host))),
            _extension(10, _vector(_u16s(groups))),
            _extension(11, b"\x01\x00"),  # ec_point_formats: uncompressed
            _extension(13, _vector(_u16s(signatures))),
            _extension(22, b""),  # encrypt_then_mac
            _extension(23, b""),  # extended_master_secret
        )
    )
    body = struct.pack("!H32sB", _TLS_1_2, os.urandom(32), 0)
    body += _vector(_u16s(_SUITES)) + b"\x01\x00" + _vector(extensions)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return struct.pack("!BHH", _HANDSHAKE, 0x0301, len(message)) + message


def _extension(number: int, body: bytes) -> bytes:
    return struct.pack("!H", number) + _vector(body)


def _vector(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def _u16s(values: tuple[int, ...]) -> bytes:
    return struct.pack(f"!{len(values)}H", *values)


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _suite(body: bytes) -> int:
    """The cipher suite that a ServerHello chooses. Raises _Ended."""
    if _u16(body, 0) != _TLS_1_2:
        raise _Ended("tls", "it does not speak TLS 1.2")
    # After the version: 32 random bytes, the length of the session's name, the name.
    at = 35 + body[34] if len(body) > 34 else 0
    suite = _u16(body, at)
    if len(body) < at + 3 or suite not in _SUITES:
        raise _Ended("tls", "it chooses a cipher suite that was not offered")
    return suite


def _certificates(body: bytes) -> tuple[bytes, ...]:
    if int.from_bytes(body[:3], "big") != len(body) - 3:
        raise _Ended("tls", "its list of certificates is damaged")
    found, at = [], 3
    while at < len(body):
        length = int.from_bytes(body[at : at + 3], "big")
        certificate = body[at + 3 : at + 3 + length]
        if not length or len(certificate) < length:
            raise _Ended("tls", "its list of certificates is damaged")
        found.append(certificate)
        at += 3 + length
    return tuple(found)


def _shown(data: bytes) -> str:
    return repr(data)[1:]


def _alert_name(number: int) -> str:
    # RFC 5246, 7.2; RFC 6066; RFC 8446, 6.
    return {
        40: "handshake_failure",
        42: "bad_certificate",
        47: "illegal_parameter",
        50: "decode_error",
        70: "protocol_version",
        71: "insufficient_security",
        80: "internal_error",
        86: "inappropriate_fallback",
        112: "unrecognized_name",
        120: "no_application_protocol",
    }.get(number, "unknown")
