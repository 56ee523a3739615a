"""`anchorcam anchor fetch`: a root from its CA to the folder of a camera's anchors."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker.errors import UserError
from broker.files import make_folder, write_atomic
from host_tools.anchor import describing, fetching, files, mbedtls, published, report
from host_tools.anchor.fetching import Fetched
from host_tools.anchor.listing import ANCHORS
from host_tools.anchor.looking import Name, Roots, Timeout, look
from host_tools.anchor.mbedtls import Answer, Question
from host_tools.anchor.published import Published
from host_tools.anchor.target import Target


def fetch(
    source: Annotated[
        str, typer.Argument(help="HOST[:PORT], the name of a published root, a URL, or a file.")
    ],
    into: Annotated[Path, typer.Option(help="Folder of the anchors.")] = ANCHORS,
    name: Name = None,
    roots: Roots = [],  # noqa: B006
    sha256: Annotated[
        str, typer.Option(help="The fingerprint that its CA publishes, for a URL or a file.")
    ] = "",
    cross_sign: Annotated[
        str,
        typer.Option(help="HOST[:PORT] or file with a published root's signature of this one."),
    ] = "",
    intermediate: Annotated[
        bool, typer.Option("--intermediate", help="The server's intermediate, not the root.")
    ] = False,
    pin: Annotated[
        bool, typer.Option("--pin", help="A self-signed server's own certificate.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace another file.")] = False,
    timeout: Timeout = 10.0,
) -> None:
    """Get the root that anchors a server, independently of that server, as DER for a camera.

    Exit code 1 when nothing proves it, or when a camera refuses the server even with it.
    """
    if intermediate and pin:
        raise UserError("--intermediate and --pin are two different anchors: give one", exit_code=2)
    known = Published(published.own(roots))
    is_at_hand = fetching.is_url(source) or Path(source).is_file()
    if cross_sign and not is_at_hand:
        raise UserError("--cross-sign proves the root in a file or at a URL only", exit_code=2)
    target: Target | None = None
    if intermediate or pin:
        found, target = _from_server(source, name, known, timeout, intermediate)
    elif is_at_hand:
        at_hand = (
            fetching.of_url(source, timeout)
            if fetching.is_url(source)
            else files.read(Path(source))
        )
        signs = _cross_signs(cross_sign, known, timeout)
        found = fetching.of_certificates(at_hand, source, known, sha256, signs)
    elif named := known.named(source):
        found = fetching.of_name(named[0], timeout)
    else:
        _refuse_misspelled(source, known)
        target = Target.parse(source, name)
        found = fetching.of_server(look(source, name, known, timeout), timeout)
    if sha256:
        fetching.with_digest([found.certificate], sha256, source)
    raise typer.Exit(_install(found, target, known, into, force))


def _refuse_misspelled(source: str, known: Published) -> None:
    """Of "amazonrootca" nobody wants to hear that there is no such host."""
    like = known.like(source)
    if like and "." not in source and ":" not in source:
        names = ", ".join(root.name for root in like)
        raise UserError(f"{source!r} is no published root; like it: {names}", exit_code=2)


def _cross_signs(source: str, known: Published, timeout: float) -> Sequence[x509.Certificate]:
    return look(source, None, known, timeout).chain if source else ()


def _from_server(
    server: str, name: str | None, known: Published, timeout: float, intermediate: bool
) -> tuple[Fetched, Target]:
    """What the server itself sent, for whoever insists; the trade-off is said."""
    target = Target.parse(server, name)
    found = look(server, name, known, timeout)
    if intermediate:
        fetched = fetching.intermediate_of(found)
        _trade_off(
            "An intermediate narrows trust to what this one issuer signs, and works where a server"
            " sends no intermediate. CAs replace theirs without notice, within months: a camera"
            " that has only this anchor is then locked out. The root lasts for decades."
        )
        return fetched, target
    own = fetching.self_signed_of(found)
    if own is None:
        raise UserError(
            f"{target} has a certificate of a CA, and mbedTLS takes no such certificate as an"
            " anchor: fetch the root, and pin the leaf on top of it (`anchorcam anchor pin`)"
        )
    _trade_off(
        "The certificate came from the server itself: compare its SHA-256 on the server before you"
        " trust it. Every camera needs the new one before the server changes it, or when it"
        f" expires on {own.certificate.not_valid_after_utc:%Y-%m-%d}."
    )
    return own, target


def _trade_off(text: str) -> None:
    sheet = report.Sheet()
    sheet.line("trade-off", text, "yellow")
    sheet.show(report.console())


def _install(
    found: Fetched, target: Target | None, known: Published, into: Path, force: bool
) -> int:
    """Write the anchor once mbedTLS has loaded it, and say what it is; the exit code."""
    certificate = found.certificate
    der = certificate.public_bytes(Encoding.DER)
    questions = [Question(der)]
    if target is not None:
        questions.append(Question(der, target.name, target.address(), target.port))
    loads, *accepts = mbedtls.ask_this_machine(questions)
    if not loads.is_accepted:
        raise UserError(
            f"{describing.name(certificate)} from {found.source} cannot be an anchor, and was not"
            f" written: mbedTLS says {loads.words}"
        )
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise UserError(
            f"{describing.name(certificate)} from {found.source} expired on"
            f" {certificate.not_valid_after_utc:%Y-%m-%d}, and was not written: a camera refuses"
            " everything below an anchor that has expired"
        )
    published_as = known.with_digest(describing.sha256(certificate))
    name = published_as.name if published_as else describing.name(certificate)
    path = into / fetching.file_name(name)
    try:
        is_other = path.exists() and path.read_bytes() != der
        if is_other and not force:
            raise UserError(
                f"{path} is another certificate: look at it with `anchorcam anchor show {path}`,"
                " and replace it with --force",
                exit_code=2,
            )
        make_folder(into)
        write_atomic(path, der, 0o644)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    sheet = report.Sheet()
    sheet.line("anchor", describing.subject(certificate), "bold")
    sheet.line("from", found.source)
    sheet.line("proof", found.proof)
    sheet.line("SHA-256", describing.colons(describing.sha256(certificate)))
    for answer in accepts:
        sheet.line("mbedTLS", _verdict(answer, target), "green" if answer.is_accepted else "red")
    if not accepts:
        sheet.line("mbedTLS", "loads it")
    ends = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    sheet.line("written", f"{path}, {len(der)} bytes, valid until {ends}")
    sheet.line("config.json", f'"anchors": ["{path.name}"] in the broker')
    sheet.show(report.console())
    return 0 if all(answer.is_accepted for answer in accepts) else 1


def _verdict(answer: Answer, target: Target | None) -> str:
    if answer.is_accepted:
        return f"loads it, and accepts {target} with it"
    return f"loads it, and refuses {target} all the same: {answer.code}, {answer.words}"
