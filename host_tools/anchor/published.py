"""Roots that were published: Mozilla's (certifi), the catalogue's, and those of the user.

None of them comes from the server that is to be verified; that is the point.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import certifi
from cryptography import x509

from broker.errors import UserError
from host_tools.anchor import describing, files
from host_tools.anchor.prediction import signed

_LIKE_MOST = 8

MOZILLA = f"Mozilla's CA program (certifi {certifi.__version__})"


@dataclass(frozen=True)
class Root:
    """One published root. certificate: None where only its fingerprint is known here; then url
    says where its CA has it, and subject what it is called. source: where its fingerprint is
    from. successors: names of the roots that its CA has announced to come after it;
    trusted_until: when root programs end their trust in it, by which its CA has to be done.
    """

    name: str
    sha256: str
    source: str
    certificate: x509.Certificate | None = None
    subject: str = ""
    url: str = ""
    successors: tuple[str, ...] = ()
    trusted_until: date | None = None


class Published:
    """All roots of the sets. extra: more roots, of the user's own."""

    def __init__(self, extra: Iterable[Root] = ()) -> None:
        self.roots = (*extra, *_known())
        self._by_digest = {root.sha256: root for root in reversed(self.roots)}

    def with_digest(self, sha256: str) -> Root | None:
        """The root with this fingerprint."""
        return self._by_digest.get(sha256)

    def named(self, name: str) -> list[Root]:
        """The roots of this name, however it is spelled: "isrgrootx1" is ISRG Root X1."""
        wanted = _folded(name)
        return [root for root in self.roots if _folded(root.name) == wanted]

    def like(self, name: str) -> list[Root]:
        """At most 8 roots whose names have all words of this name that say anything."""
        words = set(re.findall(r"[a-z0-9]+", name.lower())) - {"root", "ca"}
        found = [root for root in self.roots if all(word in _folded(root.name) for word in words)]
        return found[:_LIKE_MOST] if words else []

    def issuers(self, certificate: x509.Certificate) -> list[Root]:
        """The roots whose key signs it."""
        return [
            root
            for root in self.roots
            if root.certificate is not None
            and root.certificate.subject == certificate.issuer
            and signed(certificate, root.certificate)
        ]

    def issuers_by_name(self, certificate: x509.Certificate) -> list[Root]:
        """The roots of which only name and fingerprint are known, with its issuer's name."""
        name = certificate.issuer.rfc4514_string()
        return [root for root in self.roots if root.certificate is None and root.subject == name]


def own(paths: Sequence[Path]) -> list[Root]:
    """The certificates in files, or in the files of folders. Raises UserError (exit code 2)."""
    found = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in inside:
            if path.is_dir() and file.suffix not in (".der", ".pem", ".crt", ".cer"):
                continue
            for certificate in files.read(file):
                name = describing.name(certificate)
                digest = describing.sha256(certificate)
                found.append(Root(name, digest, f"your own {file}", certificate))
        if not inside:
            raise UserError(f"{path} is an empty folder: put roots into it", exit_code=2)
    return found


@cache
def _known() -> tuple[Root, ...]:
    """Mozilla's roots, with what the catalogue says of them, and what only the catalogue has."""
    entries = json.loads(resources.files(__package__).joinpath("catalogue.json").read_text())
    catalogue = {entry["sha256"]: entry for entry in entries}
    roots = []
    for certificate in files.read(Path(certifi.where())):
        digest = describing.sha256(certificate)
        entry = catalogue.pop(digest, {"name": describing.name(certificate)})
        roots.append(_root(entry, digest, MOZILLA, certificate))
    for digest, entry in catalogue.items():
        roots.append(_root(entry, digest, f"{entry['source']}, {entry['checked']}", None))
    return tuple(roots)


def _root(
    entry: dict[str, Any], digest: str, source: str, certificate: x509.Certificate | None
) -> Root:
    until = entry.get("trusted_until")
    return Root(
        entry["name"],
        digest,
        source,
        certificate,
        subject=entry.get("subject", ""),
        url=entry.get("url", ""),
        successors=tuple(entry.get("next", ())),
        trusted_until=date.fromisoformat(until) if until else None,
    )


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
