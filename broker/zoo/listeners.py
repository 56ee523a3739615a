"""How each row of the zoo answers a connection: its TLS context, or what it does instead."""

import socket
import ssl

from broker.devices import WithAlert, ask_for_certificate
from broker.zoo.making import Zoo
from broker.zoo.table import Row

# A record of a type that does not exist: no TLS library takes it for an answer.
GARBAGE = bytes(range(200, 256)) * 8


def context(zoo: Zoo, row: Row) -> ssl.SSLContext | None:
    """The context of a row that speaks TLS, otherwise None. Raises OSError."""
    if not row.sent:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.sslobject_class = WithAlert
    # Weak keys and digests are part of the zoo.
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    made.load_cert_chain(zoo.server_file(row))
    if row.behaviour == "TLS 1.3 only":
        made.minimum_version = ssl.TLSVersion.TLSv1_3
    elif row.behaviour == "X25519 only":
        made.set_ecdh_curve("X25519")
    elif row.behaviour == "client certificate":
        ask_for_certificate(made, zoo.devices)
    return made


def answer_garbage(client: socket.socket) -> None:
    """Answer with what is no TLS, and close. Never waits."""
    with client:
        client.send(GARBAGE)
