"""How each row of the zoo answers a connection: its TLS context, or what it does instead."""

import socket
import ssl

from broker.zoo.making import Zoo
from broker.zoo.table import Row

# A record of a type that does not exist: no TLS library takes it for an answer.
GARBAGE = bytes(range(200, 256)) * 8


class _WithAlert(ssl.SSLObject):
    """Sends the alert that a failed handshake ends with; asyncio drops it (Python 3.11)."""

    def do_handshake(self) -> None:
        """As SSLObject. After a failure the client's end of the connection is awaited."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            # What asyncio takes as: send what there is, then wait.
            raise ssl.SSLWantReadError from error


def context(zoo: Zoo, row: Row) -> ssl.SSLContext | None:
    """The context of a row that speaks TLS, otherwise None. Raises OSError."""
    if not row.sent:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.sslobject_class = _WithAlert
    # Weak keys and digests are part of the zoo.
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    made.load_cert_chain(zoo.server_file(row))
    if row.behaviour == "TLS 1.3 only":
        made.minimum_version = ssl.TLSVersion.TLSv1_3
    elif row.behaviour == "X25519 only":
        made.set_ecdh_curve("X25519")
    elif row.behaviour == "client certificate":
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(zoo.signing("devices"))
    return made


def answer_garbage(client: socket.socket) -> None:
    """Answer with what is no TLS, and close. Never waits."""
    with client:
        client.send(GARBAGE)
