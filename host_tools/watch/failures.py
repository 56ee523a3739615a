"""Why a connection to the broker failed, in one line that says what to do. Pure."""

import socket
import ssl
from dataclasses import dataclass

# OpenSSL, x509_vfy.h: X509_V_ERR_*.
_NOT_YET_VALID = 9
_EXPIRED = 10
_NAME_MISMATCH = (62, 64)

# MQTT 3.1.1, 3.2.2.3.
_REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not allow the client id",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorized",
}
_BAD_LOGIN = (4, 5)


@dataclass(frozen=True)
class Failure:
    """code: as in the cameras' table of reasons; text: what, why, what to do."""

    code: str
    text: str


def of_connecting(error: Exception, host: str, port: int, anchor: str) -> Failure:
    """The failure behind an exception of connecting and of the TLS handshake."""
    at = f"{host}:{port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error, at, host, anchor)
    if isinstance(error, ssl.SSLError | ConnectionResetError):
        # How a peer that hangs up shows depends on the moment: end of file, or a reset.
        hung_up = isinstance(error, ssl.SSLEOFError | ConnectionResetError)
        why = "it hung up" if hung_up else getattr(error, "reason", None) or str(error)
        return Failure(
            "tls",
            f"TLS with {at} failed: {why.replace('_', ' ').lower()}; "
            "check that this port speaks TLS (1.2 or newer) and not plain MQTT",
        )
    if isinstance(error, socket.gaierror | UnicodeError):
        return Failure(
            "dns",
            f"no address for {host}: {_cause(error)}; "
            'check "host" in config.json and the name server',
        )
    if isinstance(error, ConnectionRefusedError):
        return Failure(
            "refused",
            f"{at} refuses connections: nothing listens there; "
            'start the broker, or check "host" and "port" in config.json',
        )
    if isinstance(error, TimeoutError):
        if "handshake" in str(error):
            return Failure(
                "timeout",
                f"{at} took the connection but does not answer the TLS handshake; "
                "check that this is the broker's TLS port, and that the broker is not stuck",
            )
        return Failure(
            "timeout",
            f"{at} does not answer: it is off, or a firewall is in between; "
            "check the address and the network",
        )
    return Failure("internal", f"cannot reach {at}: {_cause(error)}; check the network")


def _cause(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]


def of_connack(code: int, user: str, host: str, port: int) -> Failure:
    """The failure behind a CONNACK that is a refusal."""
    at = f"{host}:{port}"
    if code in _BAD_LOGIN:
        return Failure(
            "auth",
            f"{at} refuses the account {user}: wrong password, or no such account; "
            f'check "passwords" > "{user}" in secrets.json',
        )
    why = _REFUSALS.get(code, f"code {code}")
    return Failure("broker_closed", f"{at} refuses the session: {why}; see the broker's log")


def of_subscribing(prefix: str, user: str, host: str, port: int) -> Failure:
    """The broker granted the connection and not the subscription."""
    return Failure(
        "auth",
        f"{host}:{port} does not let {user} subscribe below {prefix}/; "
        "give the account that right on the broker",
    )


def of_nonsense(error: Exception, host: str, port: int) -> Failure:
    """What the broker sent is not MQTT."""
    return Failure(
        "broker_closed",
        f"{host}:{port} sent what is not MQTT ({type(error).__name__}); see the broker's log",
    )


def of_silence(host: str, port: int, seconds: float) -> Failure:
    """TLS is up, but no CONNACK came within so many seconds."""
    return Failure(
        "timeout",
        f"{host}:{port} took the connection but gave no MQTT answer within {seconds:g} s; "
        "check that it is an MQTT broker, and its log",
    )


def of_hanging_up(host: str, port: int, *, answered: bool) -> Failure:
    """The connection ended. answered: it was in use, not just being made."""
    when = "closed the connection" if answered else "closed the connection before answering"
    return Failure("broker_closed", f"{host}:{port} {when}; see the broker's log")


def _of_certificate(
    error: ssl.SSLCertVerificationError, at: str, host: str, anchor: str
) -> Failure:
    if error.verify_code == _NOT_YET_VALID:
        return Failure(
            "not_yet_valid",
            f"the certificate of {at} is not valid yet; check the clock of this machine",
        )
    if error.verify_code == _EXPIRED:
        return Failure(
            "expired",
            f"the certificate of {at}, or one above it, has expired; renew it on the broker "
            "(or check the clock of this machine)",
        )
    if error.verify_code in _NAME_MISMATCH:
        return Failure(
            "name_mismatch",
            f'the certificate of {at} is not for {host}; put a name that is in it into "host" '
            "in config.json, or make one with this name",
        )
    return Failure(
        "untrusted",
        f"the certificate of {at} is not signed by the anchor {anchor} "
        f"({error.verify_message}); install the anchor that this broker's chain ends in",
    )
