"""Where a trust anchor comes from: never from the server that it is to verify.

A certificate is taken when it is in a published set, when its fingerprint is the one that the
user gave, or when it is proven: a root that is not published, but has the name and the key of a
certificate that a published root has signed (a cross-sign).
"""

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from broker.errors import UserError
from camera.topics import ID_MAX
from host_tools.anchor import describing, files, paths
from host_tools.anchor.inspection import Inspection
from host_tools.anchor.prediction import signed
from host_tools.anchor.published import Published, Root
from host_tools.anchor.report import path_in_words

_DOWNLOAD_MAX = 1 << 20
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Fetched:
    """An anchor, and why it may be one: where it is from, and what proves it."""

    certificate: x509.Certificate
    source: str
    proof: str


def of_name(root: Root, timeout: float) -> Fetched:
    """A published root; downloaded from its CA where only its fingerprint is known here."""
    if root.certificate is not None:
        return Fetched(root.certificate, root.source, "it is in that set")
    if not root.url:
        raise UserError(
            f"{root.name} is known here by its fingerprint only: get it from its CA and give the"
            " file to `anchorcam anchor fetch FILE`"
        )
    downloaded = with_digest(of_url(root.url, timeout), root.sha256, root.url)
    return Fetched(downloaded, root.url, f"its SHA-256 is the one of {root.source}")


def of_url(url: str, timeout: float) -> list[x509.Certificate]:
    """The certificates at a URL; nothing is trusted because it was there.

    Raises UserError (exit code 3 when it cannot be had, 2 when it is no certificate).
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 is_url()
            data = bytearray()
            while len(data) <= _DOWNLOAD_MAX and (piece := answer.read(_CHUNK)):
                data += piece
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise UserError(
            f"{url} cannot be downloaded: {why}; get the file with a browser and give its path",
            exit_code=3,
        ) from None
    if len(data) > _DOWNLOAD_MAX:
        raise UserError(f"{url} is larger than {_DOWNLOAD_MAX >> 20} MiB: no root is", exit_code=2)
    return files.parse(bytes(data), url)


def is_url(text: str) -> bool:
    """What urlopen() would take as file: or ftp: is none."""
    return text.startswith(("https://", "http://"))


def of_certificates(
    certificates: Sequence[x509.Certificate],
    where: str,
    known: Published,
    sha256: str = "",
    cross_signs: Sequence[x509.Certificate] = (),
) -> Fetched:
    """The root among certificates that came from anywhere (where), if something proves it.

    sha256: the fingerprint that the user expects; cross_signs: where else to look for one.
    Raises UserError.
    """
    if sha256:
        found = with_digest(certificates, sha256, where)
        return Fetched(found, where, "its SHA-256 is the one that you gave")
    roots = [each for each in certificates if describing.is_self_issued(each)]
    if len(roots) != 1:
        raise UserError(
            f"{where} has {len(roots)} roots among its {len(certificates)} certificates, so it is"
            " not clear which one you mean: give its fingerprint with --sha256",
            exit_code=2,
        )
    root = roots[0]
    published = known.with_digest(describing.sha256(root))
    if published is not None:
        return Fetched(root, where, f"its SHA-256 is the one of {published.source}")
    proof = _cross_sign(root, (*certificates, *cross_signs), known)
    if proof:
        return Fetched(root, where, proof)
    raise UserError(
        f"{describing.name(root)} in {where} is in no published set, and nothing proves it. Compare"
        " its fingerprint with the one that its CA publishes, and give that with --sha256; or name"
        " a server that sends its cross-sign, or a file with it, with --cross-sign. It is"
        f" SHA-256 {describing.sha256(root)}"
    )


def of_server(inspection: Inspection, timeout: float) -> Fetched:
    """The published root that anchors what a server sent. Raises UserError.

    Also of a server that a camera refuses for another reason, such as a leaf that has expired.
    """
    server, recommended = inspection.where, inspection.recommended
    best = recommended.certificate if recommended else None
    for path in sorted(inspection.paths, key=lambda path: path.root.certificate != best):
        if path.root.certificate is not None:
            how = f"it anchors {server}: {path_in_words(path)}"
            return Fetched(path.root.certificate, path.root.source, how)
        # A root that is in no store yet: its CA has it, and the catalogue its fingerprint.
        root = of_name(path.root, timeout)
        if signed(path.sent[-1], root.certificate):
            return Fetched(root.certificate, root.source, f"{root.proof}; it anchors {server}")
    wrong = "; ".join(finding.text for finding in inspection.findings if finding.level == "wrong")
    raise UserError(
        f"no published root anchors {server}: {wrong}; `anchorcam anchor inspect` shows the chain"
    )


def intermediate_of(inspection: Inspection) -> Fetched:
    """The certificate that issued the leaf, as sent, if a path to a published root proves it."""
    path = next((p for p in inspection.paths if p.is_proven and len(p.sent) > 1), None)
    if path is None:
        raise UserError(
            f"{inspection.where} sends no intermediate that a published root has signed, so nothing"
            " proves it; `anchorcam anchor inspect` shows the chain"
        )
    return Fetched(path.sent[1], f"sent by {inspection.where}", f"signed: {path_in_words(path)}")


def self_signed_of(inspection: Inspection) -> Fetched | None:
    """The server's own certificate, if it is its own root and can be an anchor at all."""
    leaf = inspection.chain[0] if inspection.chain else None
    if leaf is None or not describing.is_self_issued(leaf):
        return None
    return Fetched(leaf, f"sent by {inspection.where}", "none but your own comparison")


def file_name(name: str) -> str:
    """For the anchor of this name: "ISRG Root X1" is isrg-root-x1.der."""
    letters = [c if c.isascii() and c.isalnum() else "-" for c in name]
    words = [word for word in "".join(letters).lower().split("-") if word]
    # The camera's rule for the name of an anchor's file (camera/rules.py).
    return ("-".join(words)[:ID_MAX].strip("-") or "anchor") + ".der"


def with_digest(
    certificates: Sequence[x509.Certificate], sha256: str, where: str
) -> x509.Certificate:
    """The one of them with this fingerprint, with or without colons. Raises UserError."""
    wanted = sha256.replace(":", "").replace(" ", "").lower()
    for each in certificates:
        if describing.sha256(each) == wanted:
            return each
    found = ", ".join(describing.sha256(each) for each in certificates)
    raise UserError(
        f"{where} is not the certificate with SHA-256 {wanted}: it has {found}. It was exchanged on"
        " the way, or the fingerprint is another certificate's; nothing was written"
    )


def _cross_sign(
    root: x509.Certificate, candidates: Sequence[x509.Certificate], known: Published
) -> str:
    """What proves a root by its cross-sign, or ""."""
    now = datetime.now(UTC)
    for each in candidates:
        if (
            each == root
            or each.subject != root.subject
            or describing.public_key_bytes(each) != describing.public_key_bytes(root)
            or not each.not_valid_before_utc <= now <= each.not_valid_after_utc
        ):
            continue
        others = [other for other in candidates if other not in (each, root)]
        for path in paths.find([each, *others], known):
            if path.is_proven and path.sent[0] == each:
                signer = describing.name(path.sent[1]) if len(path.sent) > 1 else path.root.name
                return (
                    f"proven: it has the name and the key of a certificate that {signer} has"
                    f" signed ({path_in_words(path)})"
                )
    return ""
