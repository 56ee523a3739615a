"""Where a trust anchor comes from: never from the server that it is to verify.

A certificate is taken when it is in a published set, when its fingerprint is the one that the
user gave, or when it is proven: a root that is not published, but has the name and the key of a
certificate that a published root has signed (a cross-sign).
"""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from broker.errors import UserError
from camera.topics import ID_MAX
from host_tools.anchor import describing, files, proofs
from host_tools.anchor.downloading import download
from host_tools.anchor.inspection import LOOKED_AT_MOST, Inspection
from host_tools.anchor.prediction import signed
from host_tools.anchor.published import Published, Root
from host_tools.anchor.report import path_in_words

_DOWNLOAD_MAX = 1 << 20


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
    """The certificates at a URL, within timeout seconds; nothing is trusted because it was there.

    Raises UserError (exit code 3 when it cannot be had, 2 when it is no certificate).
    """
    shown = describing.shown(url)
    try:
        data = download(url, _DOWNLOAD_MAX, timeout)
    except (OSError, ValueError, http.client.HTTPException) as error:
        # A server's own words can be in it.
        why = describing.shown(str(getattr(error, "reason", None) or error))
        raise UserError(
            f"{shown} cannot be downloaded: {why}; get the file with a browser and give its path",
            exit_code=3,
        ) from None
    if len(data) > _DOWNLOAD_MAX:
        raise UserError(
            f"{shown} is larger than {_DOWNLOAD_MAX >> 20} MiB: no root is", exit_code=2
        )
    return files.parse(data, shown)


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
    if len(certificates) + len(cross_signs) > 2 * LOOKED_AT_MOST:
        raise UserError(
            f"{where} has {len(certificates)} certificates: give a file with the root that you mean"
            " and what proves it, or its fingerprint with --sha256",
            exit_code=2,
        )
    roots = [each for each in dict.fromkeys(certificates) if describing.is_self_issued(each)]
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
    proof = proofs.by_cross_sign(root, (*certificates, *cross_signs), known, datetime.now(UTC))
    if proof.path is not None:
        signer = proof.path.sent[1] if len(proof.path.sent) > 1 else None
        name = describing.name(signer) if signer else proof.path.root.name
        words = (
            f"proven: it has the name and the key of a certificate that {name} has signed"
            f" ({path_in_words(proof.path)})"
        )
        return Fetched(root, where, words)
    raise UserError(
        f"{describing.name(root)} in {where} is in no published set, and nothing proves it"
        f"{': ' * bool(proof.why_not)}{proof.why_not}. Compare"
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
    path = next((p for p in inspection.paths if proofs.is_authority(p, inspection.at)), None)
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
    """The one with this fingerprint, as colons or not. where: what to call them in the UserError
    that is raised when it is none of them.
    """
    wanted = sha256.replace(":", "").replace(" ", "").lower()
    for each in certificates:
        if describing.sha256(each) == wanted:
            return each
    found = ", ".join(describing.sha256(each) for each in certificates)
    raise UserError(
        f"{where} is not the certificate with SHA-256 {wanted}: it has {found}. It was exchanged on"
        " the way, or the fingerprint is another certificate's; nothing was written"
    )
