"""What is to be said of a chain: what is wrong with it, what will be, what one has to know."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509

from host_tools.anchor import describing, prediction
from host_tools.anchor.hello import RECORD_BUFFER, Sent
from host_tools.anchor.paths import Path
from host_tools.anchor.published import Published, Root


@dataclass(frozen=True)
class Finding:
    """wrong: a camera refuses it; soon: it will be so; note: what one has to know."""

    level: Literal["wrong", "soon", "note"]
    text: str


def of_handshake(sent: Sent) -> list[Finding]:
    """What shows before any certificate is looked at."""
    found = []
    if sent.code:
        found.append(Finding("wrong", sent.why))
    if sent.message_bytes > RECORD_BUFFER:
        text = (
            f"its certificates are {sent.message_bytes:,} bytes, and a camera has room for"
            f" {RECORD_BUFFER:,}: it must send fewer"
        )
        found.append(Finding("wrong", text))
    elif sent.is_split:
        text = (
            "its certificates come in several TLS records: mbedTLS before 3.6.3 cannot put them"
            " together"
        )
        found.append(Finding("note", text))
    if sent.asks_client:
        text = (
            "it asks the client for a certificate; whether it insists shows only with one: set"
            " client_cert and client_key, and ask `anchorcam anchor check`"
        )
        found.append(Finding("note", text))
    return found


def of_issuer(
    chain: Sequence[x509.Certificate], found: Sequence[Path], expected: str
) -> list[Finding]:
    """Whether the expected issuer is there at all."""
    if not expected or not chain:
        return []
    # What is only sent along, and is on no path, says nothing.
    used = {each for path in found for each in path.sent} or _climb(chain)
    names = [describing.issuer(each) for each in used] + [path.root.name for path in found]
    if any(expected.lower() in each.lower() for each in names):
        return []
    text = (
        f'"{expected}" is no issuer here: another server, a proxy or a captive portal answers'
        f" with a chain of its own, by {describing.issuer(chain[-1])}"
    )
    return [Finding("wrong", text)]


def of_order(
    chain: Sequence[x509.Certificate], found: Sequence[Path], published: Published
) -> list[Finding]:
    """What is missing, misplaced or surplus."""
    if not chain:
        return []
    findings = []
    if not found:
        findings.append(Finding("wrong", _why_no_path(chain, published)))
    used = {each for path in found for each in path.sent} or set(_climb(chain))
    for at, each in enumerate(chain):
        what = f"certificate {at} ({describing.name(each)})"
        if each in chain[:at]:
            findings.append(Finding("note", f"{what} is sent twice"))
        elif at and published.with_digest(describing.sha256(each)):
            findings.append(Finding("note", f"{what} is a root: a server need not send it"))
        elif each not in used:
            findings.append(Finding("note", f"{what} is surplus: no path goes through it"))
    places = [chain.index(each) for each in found[0].sent] if found else []
    if places != sorted(places):
        right = ", ".join(str(at) for at in places)
        text = f"the certificates are in the wrong order, and mbedTLS does not sort: send {right}"
        findings.append(Finding("wrong", text))
    return findings


def _climb(chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """From the leaf up through what was sent, as far as signatures go."""
    climbed = [chain[0]]
    while True:
        last = climbed[-1]
        above = (
            each
            for each in chain
            if each not in climbed and each.subject == last.issuer and prediction.signed(last, each)
        )
        parent = next(above, None)
        if parent is None:
            return climbed
        climbed.append(parent)


def _why_no_path(chain: Sequence[x509.Certificate], published: Published) -> str:
    top = _climb(chain)[-1]
    issuer = describing.issuer_name(top)
    if describing.is_self_issued(top):
        which = "the certificate is" if top is chain[0] else "the chain ends at"
        return (
            f"{which} its own root ({describing.name(top)}), which no CA has published: if it is"
            " yours, give its file with --roots"
        )
    imitated = [root for root in published.roots if _has_subject(root, top.issuer)]
    if imitated:
        return f"{describing.name(top)} names {issuer} as its issuer, which has not signed it"
    if any(each.subject == top.issuer for each in chain):
        return f"{describing.name(top)} is not signed by the {issuer} that is sent"
    return (
        f"the certificate of {issuer}, which issued {describing.name(top)}, is neither sent nor"
        " published: an intermediate is missing (the server must send it), or it is the root of"
        " a CA of your own (give its file with --roots)"
    )


def _has_subject(root: Root, subject: x509.Name) -> bool:
    return root.certificate is not None and root.certificate.subject == subject


def of_dates(
    chain: Sequence[x509.Certificate], found: Sequence[Path], at: datetime, warn_days: int
) -> list[Finding]:
    """What has expired, is not valid yet, or expires within warn_days."""
    findings = []
    # The path that the server means; with none, all that it sent.
    used = found[0].sent if found else chain
    for place, each in enumerate(chain):
        what = f"certificate {place} ({describing.name(each)})"
        days = describing.days_left(each, at)
        if each.not_valid_before_utc > at:
            text = f"{what} is not valid before {each.not_valid_before_utc:%Y-%m-%d}"
        elif each.not_valid_after_utc < at:
            text = f"{what} expired on {each.not_valid_after_utc:%Y-%m-%d}"
        elif days < warn_days and each in used:
            text = f"{what} expires in {days} days"
            findings.append(Finding("soon", text))
            continue
        else:
            continue
        findings.append(Finding("wrong" if each in used else "note", text))
    return findings


def where_lax(chain: Sequence[x509.Certificate]) -> list[Finding]:
    """Where mbedTLS is laxer than RFC 5280 and OpenSSL."""
    findings = []
    for at, each in enumerate(chain):
        if describing.extension(each, x509.NameConstraints):
            text = (
                f"certificate {at} ({describing.name(each)}) limits the names it may be used for,"
                " which mbedTLS does not check"
            )
            findings.append(Finding("note", text))
    if chain and describing.extension(chain[0], x509.SubjectAlternativeName) is None:
        text = "the leaf has no subjectAltName: mbedTLS takes its common name, OpenSSL refuses it"
        findings.append(Finding("note", text))
    return findings
