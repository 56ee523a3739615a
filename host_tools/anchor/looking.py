"""`anchorcam anchor inspect` and `pin`: what a server sends, shown and digested."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from broker.errors import UserError
from host_tools.anchor import describing, files, hello, inspection, published, report
from host_tools.anchor.inspection import Inspection
from host_tools.anchor.published import Published
from host_tools.anchor.target import Target

WARN_DAYS = 21

Name = Annotated[
    str | None,
    typer.Option("--name", help="The name to ask for (SNI).", show_default="HOST"),
]
Roots = Annotated[
    list[Path],
    typer.Option(help="More roots, of a CA of your own: a file or a folder; repeatable."),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=120, help="Seconds for the server.")]
Json = Annotated[bool, typer.Option("--json", help="For a program.")]


def look(
    server: str,
    name: str | None,
    known: Published,
    timeout: float,
    warn_days: int = WARN_DAYS,
    issuer: str = "",
) -> Inspection:
    """Inspect a server, or a file of certificates. Raises UserError."""
    at = datetime.now(UTC)
    path = Path(server)
    if path.is_file():
        chain = files.read(path)
        asked = name or next(iter(describing.hosts(chain[0])), "")
        sent = inspection.sent_by(chain)
        return inspection.inspect(str(path), asked, sent, known, at, warn_days, issuer)
    if "/" in server or path.suffix in (".pem", ".der", ".crt", ".cer"):
        raise UserError(f"{server}: there is no such file", exit_code=2)
    target = Target.parse(server, name)
    with report.working(f"asking {target}"):
        sent = hello.look(target.address(), target.port, target.name, timeout)
    return inspection.inspect(str(target), target.name, sent, known, at, warn_days, issuer)


def inspect(
    server: Annotated[str, typer.Argument(help="HOST or HOST:PORT (8883), or a file.")],
    name: Name = None,
    roots: Roots = [],  # noqa: B006 typer reads it, nobody changes it
    issuer: Annotated[
        str, typer.Option(help="Part of the issuer's name that must be in the chain.")
    ] = "",
    warn_days: Annotated[int, typer.Option(min=0, help="Tell what expires this soon.")] = WARN_DAYS,
    timeout: Timeout = 10.0,
    json: Json = False,
) -> None:
    """Show what a server sends, which root anchors it, and what a camera will make of it.

    Exit code 0 when a camera that has the root will accept it, otherwise 1; 3 when the server
    cannot be reached.
    """
    known = Published(published.own(roots))
    found = look(server, name, known, timeout, warn_days, issuer)
    if json:
        report.show_json(found.as_json())
    else:
        report.show_inspection(found, report.console())
    is_good = found.recommended is not None and not any(
        finding.level == "wrong" for finding in found.findings
    )
    raise typer.Exit(0 if is_good else 1)


def pin(
    server: Annotated[str, typer.Argument(help="HOST or HOST:PORT (8883), or a file.")],
    name: Name = None,
    timeout: Timeout = 10.0,
    json: Json = False,
) -> None:
    """Compute the digests that pin a server's leaf, in addition to an anchor."""
    found = look(server, name, Published(), timeout)
    if not found.chain:
        raise UserError(f"{found.where} has sent no certificate: {found.sent.why}")
    leaf = found.chain[0]
    digests = {
        "certificate": describing.sha256(leaf),
        "public_key": describing.spki_sha256(leaf),
    }
    if json:
        report.show_json(digests)
        return
    sheet = report.Sheet()
    ends = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
    sheet.line("leaf", f"{describing.name(leaf)}, by {describing.issuer_name(leaf)}, until {ends}")
    path = next((path for path in found.paths if path.is_proven), None)
    sheet.line(
        "proof",
        f"a published root signs it: {report.path_in_words(path)}"
        if path
        else "none that this is your server's certificate: compare the digests on the server",
    )
    sheet.line("certificate", f"{digests['certificate']}  breaks at the next renewal")
    sheet.line("public key", f"{digests['public_key']}  as long as renewals keep the key")
    sheet.line("config.json", f'"pin_sha256": ["{digests["public_key"]}"] in the broker')
    sheet.line(
        "trade-off",
        "A pin comes on top of an anchor. It shuts out every other certificate of the same CA; and"
        " the camera too, once the server gets a new key: keep a second pin, of a spare key.",
    )
    sheet.show(report.console())
