"""HOST[:PORT] on the command line: what it names, and where that is."""

import re
import socket
from dataclasses import dataclass
from typing import Self

from broker.errors import UserError
from camera import rules

MQTT_OVER_TLS = 8883


@dataclass(frozen=True)
class Target:
    """A server. name: what it is asked for as (SNI), and what must be in its certificate."""

    host: str
    port: int
    name: str

    @classmethod
    def parse(cls, text: str, name: str | None = None) -> Self:
        """ "host", "host:port"; name: if it is another. Raises UserError (exit code 2)."""
        host, colon, port = text.partition(":")
        if rules.host(host) or (colon and not re.fullmatch(r"[0-9]{1,5}", port)):
            raise UserError(
                f'{text[:80]!r} names no server: give "host" or "host:port", such as'
                ' "broker.example.com:8883"',
                exit_code=2,
            )
        number = int(port) if colon else MQTT_OVER_TLS
        if not 0 < number < 65536:
            raise UserError(f"{text!r}: there is no port {number}", exit_code=2)
        if name is not None and rules.host(name):
            raise UserError(
                f"--name {name[:80]!r} is no host name: give {rules.host(name)}", exit_code=2
            )
        return cls(host, number, name or host)

    def address(self) -> str:
        """Its IPv4 address, the kind that a camera has. Raises UserError (exit code 3)."""
        try:
            found = socket.getaddrinfo(self.host, self.port, socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            why = error.strerror or error
            raise UserError(
                f"the name {self.host} is not found: {why}; is it spelled right, does DNS work?",
                exit_code=3,
            ) from None
        return str(found[0][4][0])

    def __str__(self) -> str:
        asked = "" if self.name == self.host else f', asked for as "{self.name}"'
        return f"{self.host} port {self.port}{asked}"
