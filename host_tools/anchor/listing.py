"""`anchorcam anchor list` and `show`: what anchor files are."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.serialization import Encoding

from broker.errors import UserError
from host_tools.anchor import describing, files, mbedtls, report
from host_tools.anchor.looking import WARN_DAYS, Json
from host_tools.anchor.mbedtls import Question
from host_tools.anchor.published import Published

ANCHORS = Path("anchors")


def list_anchors(
    folder: Annotated[Path, typer.Argument(help="Folder of the anchors.")] = ANCHORS,
    json: Json = False,
) -> None:
    """List the anchors in a folder: what they are, and until when they are valid."""
    at = datetime.now(UTC)
    known = Published()
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".der")
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}", exit_code=2) from None
    if not paths:
        raise UserError(f"{folder} has no .der file: `anchorcam anchor fetch` gets one")
    is_bad = False
    listed: list[dict[str, Any]] = []
    for path in paths:
        try:
            certificate = files.read_one(path)
        except UserError as error:
            is_bad = True
            listed.append({"file": path.name, "problem": str(error)})
            continue
        root = known.with_digest(describing.sha256(certificate))
        source = root.source if root else None
        listed.append(
            {"file": path.name, "published": source, **describing.as_json(certificate, at)}
        )
    if json:
        report.show_json(listed)
    else:
        columns = ("file", "certificate", "key", "valid until", "days", "SHA-256", "published in")
        report.show_rows([_row(each) for each in listed], columns, report.console())
    raise typer.Exit(1 if is_bad else 0)


def show(
    file: Annotated[Path, typer.Argument(help="A certificate, DER or PEM.")], json: Json = False
) -> None:
    """Show what an anchor file is, until when it is valid, and whether it is a published root."""
    at = datetime.now(UTC)
    certificate = files.read_one(file)
    root = Published().with_digest(describing.sha256(certificate))
    [answer] = mbedtls.ask_this_machine([Question(certificate.public_bytes(Encoding.DER))])
    if json:
        published_by = root.source if root else None
        report.show_json(
            {
                **describing.as_json(certificate, at),
                "published": published_by,
                "camera": answer.code,
                "words": answer.words,
            }
        )
        return
    report.show_certificate(certificate, at, report.console())
    sheet = report.Sheet()
    sheet.line("public key", f"SHA-256 {describing.spki_sha256(certificate)}")
    sheet.line("published", f"{root.name}, {root.source}" if root else "no, in no set known here")
    sheet.line("mbedTLS", "loads it" if answer.is_accepted else f"refuses it: {answer.words}")
    sheet.show(report.console())


def _row(listed: dict[str, Any]) -> tuple[list[str], str]:
    if "problem" in listed:
        return [listed["file"], listed["problem"], "", "", "", "", ""], "red"
    cells = [
        listed["file"],
        listed["name"],
        listed["key"],
        listed["not_after"][:10],
        str(listed["days_left"]),
        # Enough to tell two apart; `show` and --json have all of it.
        listed["sha256"][:16],
        listed["published"] or "none known here",
    ]
    return cells, "yellow" if listed["days_left"] < WARN_DAYS else ""
