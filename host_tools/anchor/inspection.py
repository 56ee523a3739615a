"""What a server sends, which published roots anchor it, and what a camera will make of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from host_tools.anchor import describing, files, paths, prediction
from host_tools.anchor.findings import (
    Finding,
    of_dates,
    of_handshake,
    of_issuer,
    of_order,
    where_lax,
)
from host_tools.anchor.hello import RECORD_BUFFER, Sent
from host_tools.anchor.paths import Path
from host_tools.anchor.prediction import Prediction
from host_tools.anchor.published import Published, Root

# Nobody needs more than ten; each may claim to be signed by each of the others.
LOOKED_AT_MOST = 32


@dataclass(frozen=True)
class Candidate:
    """What could be a camera's anchor, and what the camera then makes of the server."""

    certificate: x509.Certificate
    source: str
    is_root: bool
    predicted: Prediction

    def until(self) -> datetime:
        """When the first certificate of the path expires."""
        return min(each.not_valid_after_utc for each in self.predicted.path)


@dataclass(frozen=True)
class Inspection:
    """where: whom it was asked; name: what for. paths: see paths.find(); candidates: the roots
    of these paths, then the intermediates that were sent; findings: the worst first.
    """

    where: str
    name: str
    at: datetime
    sent: Sent
    chain: tuple[x509.Certificate, ...]
    paths: tuple[Path, ...]
    candidates: tuple[Candidate, ...]
    findings: tuple[Finding, ...]

    @property
    def recommended(self) -> Candidate | None:
        """The root of the path that the server means, if a camera will accept it."""
        accepted = [each for each in self.candidates if each.is_root and _accepts(each)]
        return accepted[0] if accepted else None

    def is_taken(self, path: Path) -> bool:
        """Whether this is the path that a camera takes, given its root."""
        root = path.root.certificate
        return any(
            each.certificate == root and each.predicted.path == (*path.sent, root)
            for each in self.candidates
        )

    def as_json(self) -> dict[str, Any]:
        """All of it, for a program."""
        return {
            "server": self.where,
            "name": self.name,
            "at": self.at.isoformat(),
            "code": self.sent.code or None,
            "why": self.sent.why or None,
            "certificates": [
                {
                    **describing.as_json(each, self.at),
                    "pem": each.public_bytes(Encoding.PEM).decode(),
                }
                for each in self.chain
            ],
            "message_bytes": self.sent.message_bytes,
            "message_max": RECORD_BUFFER,
            "paths": [
                {
                    "sent": [self.chain.index(each) for each in path.sent],
                    "root": path.root.name,
                    "root_sha256": path.root.sha256,
                    "source": path.root.source,
                    "proven": path.is_proven,
                    "taken": self.is_taken(path),
                }
                for path in self.paths
            ],
            "anchors": [
                {
                    "name": describing.name(each.certificate),
                    "sha256": describing.sha256(each.certificate),
                    "root": each.is_root,
                    "source": each.source,
                    "camera": each.predicted.code or None,
                    "why": each.predicted.why or None,
                    "recommended": each is self.recommended,
                }
                for each in self.candidates
            ],
            "findings": [{"level": each.level, "text": each.text} for each in self.findings],
        }


def inspect(
    where: str,
    name: str,
    sent: Sent,
    published: Published,
    at: datetime,
    warn_days: int,
    expected_issuer: str = "",
) -> Inspection:
    """Everything about what was sent. expected_issuer: part of the name of an authority that
    must be on the path, for whoever knows who issues the server's certificates.
    """
    chain, unreadable = _load(sent)
    found = tuple(paths.find(chain, published))
    candidates = tuple(_candidates(sent, chain, found, name, at))
    findings = [
        *unreadable,
        *of_handshake(sent),
        *of_issuer(chain, found, expected_issuer),
        *of_order(chain, found, published),
        *of_dates(chain, found, at, warn_days),
        *where_lax(chain),
    ]
    order = ("wrong", "soon", "note")
    findings.sort(key=lambda finding: order.index(finding.level))
    return Inspection(where, name, at, sent, chain, found, candidates, tuple(findings))


def sent_by(chain: Sequence[x509.Certificate]) -> Sent:
    """As if a server had sent the certificates of a file."""
    ders = tuple(each.public_bytes(Encoding.DER) for each in chain)
    # RFC 5246, 7.4.2: a length before each, one before all, and the message's head.
    return Sent(ders, 4 + 3 + sum(3 + len(der) for der in ders))


def _accepts(candidate: Candidate) -> bool:
    return candidate.predicted.code == prediction.ACCEPTED


def _load(sent: Sent) -> tuple[tuple[x509.Certificate, ...], list[Finding]]:
    chain: list[x509.Certificate] = []
    for at, der in enumerate(sent.certificates):
        if at == LOOKED_AT_MOST:
            text = f"of {len(sent.certificates)} certificates only the first {at} are looked at"
            return tuple(chain), [Finding("note", text)]
        try:
            chain.append(files.load(der))
        except ValueError:
            text = f"what is sent as certificate {at} ({len(der)} bytes) cannot be read"
            return tuple(chain), [Finding("wrong", text)]
    return tuple(chain), []


def _candidates(
    sent: Sent,
    chain: Sequence[x509.Certificate],
    found: Sequence[Path],
    name: str,
    at: datetime,
) -> list[Candidate]:
    if not chain:
        return []
    roots: dict[x509.Certificate, Root] = {}
    for path in found:
        if path.root.certificate is not None:
            roots.setdefault(path.root.certificate, path.root)
    asked = [(certificate, root.source, True) for certificate, root in roots.items()]
    asked += [
        (each, "sent by the server", False)
        for each in dict.fromkeys(chain[1:])
        if describing.is_authority(each) and each not in roots
    ]
    if describing.is_self_issued(chain[0]) and chain[0] not in roots:
        asked.append((chain[0], "sent by the server, and its own root", True))
    return [
        Candidate(certificate, source, is_root, prediction.predict(sent, certificate, name, at))
        for certificate, source, is_root in asked
    ]
