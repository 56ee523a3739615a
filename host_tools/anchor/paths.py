"""Every path from what a server sent up to a published root, through cross-signs too."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from host_tools.anchor import describing
from host_tools.anchor.prediction import signed
from host_tools.anchor.published import Published, Root

# A server can send what has very many of them.
_PATHS_MAX = 32
_STEPS_MAX = 4096


@dataclass(frozen=True)
class Path:
    """sent: of what the server sent, the leaf first, down to the one that root signs.

    is_proven: the signature was checked; False where only the root's name is known here.
    """

    sent: tuple[x509.Certificate, ...]
    root: Root
    is_proven: bool = True


def find(chain: Sequence[x509.Certificate], published: Published) -> list[Path]:
    """Every path from chain[0], at most 32 of them, the longest first: the one that a server
    means is the one that needs all that it sent.
    """
    if not chain:
        return []
    found: list[Path] = []
    ahead: list[tuple[x509.Certificate, ...]] = [(chain[0],)]
    for _ in range(_STEPS_MAX):
        if not ahead or len(found) >= _PATHS_MAX:
            break
        path = ahead.pop()
        last = path[-1]
        itself = published.with_digest(describing.sha256(last))
        if itself is not None and len(path) > 1:
            # A root that was sent along adds nothing to the path that ends below it.
            continue
        if itself is not None:
            found.append(Path(path, itself))
            continue
        found += [Path(path, root) for root in published.issuers(last)]
        found += [Path(path, root, False) for root in published.issuers_by_name(last)]
        for parent in chain:
            if parent not in path and parent.subject == last.issuer and signed(last, parent):
                ahead.append((*path, parent))
    found.sort(key=lambda path: (-len(path.sent), path.root.name))
    return found
