"""What proves a certificate that is in no published set: that a published root vouches for it.

A signature by a published root is no proof yet. Whoever has a certificate for his own web server
has a key and a name that a published root has signed, by way of intermediates; a root of his own
making with that name and that key is not vouched for. So everything on the way must hold that
holds in a verification (prediction.why_not()): dates, the right to sign, the depth, the strength
of digests and keys; and the rights of what is proven must not be more than what was signed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from host_tools.anchor import describing, paths, prediction
from host_tools.anchor.paths import Path
from host_tools.anchor.published import Published

_SERVERS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)


@dataclass(frozen=True)
class Proof:
    """path: from the cross-sign up to the published root, None for no proof; why_not: what is
    wrong with the cross-sign that there is, "" when there is none.
    """

    path: Path | None
    why_not: str = ""


def by_cross_sign(
    root: x509.Certificate,
    candidates: Sequence[x509.Certificate],
    known: Published,
    at: datetime,
) -> Proof:
    """Whether a published root vouches for this one, which has signed itself: by a certificate
    among the candidates that has its name and its key.
    """
    why = ""
    key = describing.public_key_bytes(root)
    for each in dict.fromkeys(candidates):
        if each == root or each.subject != root.subject:
            continue
        if describing.public_key_bytes(each) != key:
            continue
        others = [other for other in candidates if other not in (each, root)]
        for path in paths.find([each, *others], known):
            why = _why_not_below(path, at) or _why_more(root, each, at)
            if not why:
                return Proof(path)
    return Proof(None, why)


def is_authority(path: Path, at: datetime) -> bool:
    """Whether the issuer of the first certificate of the path is an authority by the rules."""
    above = Path(path.sent[1:], path.root, path.is_proven)
    return len(path.sent) > 1 and not _why_not_below(above, at)


def _why_not_below(path: Path, at: datetime) -> str:
    """Why the first of the path is no authority by the word of its root; "" if it is."""
    first, root = path.sent[0], path.root.certificate
    if root is None or not path.is_proven or first == root:
        return "no published root has signed it"
    why = prediction.why_not(path.sent, root, at)
    if why:
        return why
    for below, each in enumerate((*path.sent, root)):
        name = describing.name(each)
        basic = describing.extension(each, x509.BasicConstraints)
        usage = describing.extension(each, x509.KeyUsage)
        if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
            if each != root:
                return f"{name} may not sign certificates"
        elif basic.path_length is not None and basic.path_length < below:
            return f"{name} allows no such depth below it"
        purposes = describing.extension(each, x509.ExtendedKeyUsage)
        if purposes is not None and not _allows_servers(purposes):
            return f"{name} is not for servers"
        if describing.extension(each, x509.NameConstraints) is not None:
            return f"{name} is for some names only"
    return ""


def _allows_servers(purposes: Iterable[x509.ObjectIdentifier]) -> bool:
    return any(purpose in _SERVERS for purpose in purposes)


def _why_more(root: x509.Certificate, cross_sign: x509.Certificate, at: datetime) -> str:
    """Why the root is not what the cross-sign vouches for; "" if it is."""
    name = describing.name(root)
    if not prediction.signed(root, root):
        return f"{name} is not signed with its own key"
    if not root.not_valid_before_utc <= at <= root.not_valid_after_utc:
        return f"{name} is not valid now"
    limit = describing.extension(cross_sign, x509.BasicConstraints)
    own = describing.extension(root, x509.BasicConstraints)
    if own is None or not own.ca:
        return f"{name} is no authority"
    most = None if limit is None else limit.path_length
    if most is not None and (own.path_length is None or own.path_length > most):
        return f"{name} may have more authorities below it than its cross-sign allows"
    return ""
