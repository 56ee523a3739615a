"""What `anchorcam anchor` shows a person. (Programs take --json.)"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from cryptography import x509
from rich.console import Console
from rich.table import Table
from rich.text import Text

from host_tools.anchor import describing
from host_tools.anchor.hello import RECORD_BUFFER
from host_tools.anchor.inspection import Candidate, Inspection
from host_tools.anchor.paths import Path
from host_tools.anchor.prediction import ACCEPTED

_STYLES = {"wrong": "red", "soon": "yellow", "note": "dim"}
_MARKS = {"wrong": "✗", "soon": "!", "note": "·"}
_LABEL_COLUMNS = 12


class Sheet:
    """Lines of a label and what belongs to it, aligned; long ones are folded in their column."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, Text]] = []
        self._last = ""

    def line(self, label: str, text: str, style: str = "") -> None:
        """One line; a label that is that of the line above is not shown again."""
        self._rows.append(("" if label == self._last else label, Text(text, style=style)))
        self._last = label

    def show(self, to: Console) -> None:
        """Print it; into a pipe unfolded, for grep."""
        if not to.is_terminal:
            for label, text in self._rows:
                to.print(f"{label:<{_LABEL_COLUMNS}} {text.plain}", soft_wrap=True)
            return
        grid = Table.grid(padding=(0, 1))
        grid.add_column(min_width=_LABEL_COLUMNS)
        grid.add_column(overflow="fold")
        for row in self._rows:
            grid.add_row(*row)
        to.print(grid)


def console() -> Console:
    """Standard output, with colours only on a terminal."""
    return Console(highlight=False, emoji=False, markup=False)


def show_inspection(inspection: Inspection, to: Console) -> None:
    """The chain, its paths, and the camera's verdict."""
    to.print(Text(inspection.where, style="bold"))
    for at, certificate in enumerate(inspection.chain):
        to.print()
        show_certificate(certificate, inspection.at, to, f"{at}  ")
    to.print()
    sheet = Sheet()
    count = len(inspection.chain)
    if count:
        size = f"{inspection.sent.message_bytes:,} bytes of the {RECORD_BUFFER:,}"
        what = f"{count} certificate{'s' * (count != 1)}, {size} that a camera has room for"
        sheet.line("sent", what)
    for path in inspection.paths:
        # The one that a camera takes that has this root.
        is_taken = inspection.is_taken(path)
        text = ("➔ " if is_taken else "  ") + path_in_words(path)
        if any(remaining(each, inspection.at) == "expired" for each in path.sent):
            text += ", with an expired certificate"
        sheet.line("paths", text, "bold" if is_taken else "")
    for finding in inspection.findings:
        sheet.line("findings", f"{_MARKS[finding.level]} {finding.text}", _STYLES[finding.level])
    _add_verdicts(inspection, sheet)
    sheet.show(to)


def show_certificate(
    certificate: x509.Certificate, at: datetime, to: Console, number: str = ""
) -> None:
    """One certificate. number: what stands before it."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    sheet = Sheet()
    sheet.line(f"{number}subject", describing.subject(certificate))
    indent = " " * len(number)
    for label, value in (
        ("issuer", describing.issuer(certificate)),
        ("names", ", ".join(describing.hosts(certificate))),
        ("key", describing.key(certificate)),
        ("valid", f"{begins:%Y-%m-%d} to {ends:%Y-%m-%d}, {remaining(certificate, at)}"),
        ("bytes", str(describing.size(certificate))),
        ("SHA-256", describing.sha256(certificate)),
    ):
        if value:
            sheet.line(indent + label, value)
    sheet.show(to)


def remaining(certificate: x509.Certificate, at: datetime) -> str:
    """How long it is still valid, in words."""
    if certificate.not_valid_before_utc > at:
        return "not valid yet"
    days = describing.days_left(certificate, at)
    return f"{days} days left" if days >= 0 else "expired"


def path_in_words(path: Path) -> str:
    """ "leaf <- intermediate <- root  (where the root was published)"."""
    steps = [describing.name(each) for each in path.sent]
    if path.sent[-1] == path.root.certificate:
        steps.pop()
    known = "" if path.is_proven else ", known by name: `anchorcam anchor fetch` proves it"
    return " <- ".join([*steps, path.root.name]) + f"  ({path.root.source}{known})"


def _add_verdicts(inspection: Inspection, sheet: Sheet) -> None:
    recommended = inspection.recommended
    if recommended is not None:
        root = recommended.certificate
        sheet.line("anchor", f"{describing.name(root)}, {describing.key(root)}", "bold")
        sheet.line("anchor", f"SHA-256 {describing.sha256(root)}")
    for candidate in inspection.candidates:
        if candidate.is_root:
            sheet.line("a camera", _verdict(candidate), _verdict_style(candidate))
    lax = [
        describing.name(candidate.certificate)
        for candidate in inspection.candidates
        if not candidate.is_root and candidate.predicted.code == ACCEPTED
    ]
    if lax:
        text = (
            f"accepts it with an intermediate as anchor too ({', '.join(lax)}), which OpenSSL does"
            " not; intermediates are replaced far more often than roots"
        )
        sheet.line("a camera", text, "dim")
    if inspection.chain:
        text = "never learns of a revocation: it asks for neither CRL nor OCSP"
        sheet.line("a camera", text, "dim")


def _verdict(candidate: Candidate) -> str:
    what = f"with {describing.name(candidate.certificate)}"
    predicted = candidate.predicted
    if predicted.code == ACCEPTED:
        return f"{what} accepts it until {candidate.until():%Y-%m-%d}"
    if not predicted.code:
        return f"{what}: cannot be said beforehand, {predicted.why}"
    return f"{what} refuses it: {predicted.code}, {predicted.why}"


def _verdict_style(candidate: Candidate) -> str:
    return {ACCEPTED: "green", "": ""}.get(candidate.predicted.code, "red")


def show_rows(
    rows: Sequence[tuple[Sequence[str], str]], columns: Sequence[str], to: Console
) -> None:
    """An aligned table of (cells, style); the columns "days" and "bytes" are numbers."""
    numbers = [column in ("days", "bytes") for column in columns]
    if to.is_terminal:
        made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for column, is_number in zip(columns, numbers, strict=True):
            made.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for cells, style in rows:
            made.add_row(*map(Text, cells), style=style)
        to.print(made)
        return
    every = [columns, *(cells for cells, _ in rows)]
    widths = [max(len(cells[at]) for cells in every) for at in range(len(columns))]
    for cells in every:
        aligned = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(cells, widths, numbers, strict=True)
        ]
        to.print("  ".join(aligned).rstrip(), soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Says on a terminal what is being waited for, as long as it is."""
    to = Console(stderr=True)
    if to.is_terminal:
        with to.status(what):
            yield
    else:
        yield


def show_json(value: Any) -> None:
    """For a program."""
    print(json.dumps(value, indent=2))
