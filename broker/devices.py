"""The listener that asks each device for its certificate: TLS on both sides."""

import ssl
from contextvars import ContextVar
from pathlib import Path
from typing import Any

# Of the connection that a task serves; asyncio's callbacks for it run in copies of its context.
_failures: ContextVar[list[ssl.SSLError]] = ContextVar("failures of handshakes")


def note_failures() -> list[ssl.SSLError]:
    """Where a WithAlert of the connection that this task serves puts why its handshake failed.

    asyncio knows only that the client closed after the alert.
    """
    noted: list[ssl.SSLError] = []
    _failures.set(noted)
    return noted


class WithAlert(ssl.SSLObject):
    """Sends the alert that a failed handshake ends with; asyncio drops it (Python 3.11)."""

    def do_handshake(self) -> None:
        """As SSLObject. After a failure the client's end of the connection is awaited."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            _failures.get().append(error)
            # What asyncio takes as: send what there is, then wait.
            raise ssl.SSLWantReadError from error


def ask_for_certificate(context: ssl.SSLContext, authority: Path) -> None:
    """Let in only who has a certificate that this authority (PEM) has issued. Raises OSError."""
    context.sslobject_class = WithAlert
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)


def name_in(certificate: dict[str, Any] | None) -> str | None:
    """The name of a device in its certificate, as getpeercert() gives it; None without one.

    "" for a certificate that is nobody's: it has no name, or several.
    """
    if not certificate:
        return None
    subject = [value for part in certificate["subject"] for key, value in part]
    return str(subject[0]) if len(subject) == 1 else ""
