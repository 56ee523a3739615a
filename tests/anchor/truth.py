"""The truth table: zoo row x anchor x clock, and what real mbedTLS says of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker.zoo.table import ROWS, Row
from host_tools.anchor import mbedtls
from host_tools.anchor.mbedtls import Answer, Question
from host_tools.virtual_camera.micropython import MicroPython
from tests.cameras import LIMITS

DOCUMENT = Path(__file__).parent.parent.parent / "docs/truth-table.md"
ANCHORS = ("root", "intermediate", "cross-sign", "leaf", "other CA", "none")
CLOCKS = ("right", "2000", "in a year")
_NO_ANCHOR = Path(__file__).parent / "no_anchor.py"


@dataclass(frozen=True)
class Cell:
    """One question. anchor: one of ANCHORS; certificate: None for none."""

    row: Row
    anchor: str
    clock: str
    certificate: x509.Certificate | None


def time_of(clock: str) -> datetime:
    """What time it is by this clock."""
    now = datetime.now(UTC)
    return {
        "right": now,
        "2000": datetime(2000, 1, 1, tzinfo=UTC),
        "in a year": now + timedelta(days=365),
    }[clock]


def cells(data: Path) -> list[Cell]:
    """Every cell that makes sense, for a broker with this data folder."""
    return [
        Cell(row, anchor, clock, certificate)
        for row in ROWS
        for anchor, certificate in _anchors(row, data).items()
        for clock in CLOCKS
    ]


def measure(
    runtime: MicroPython, asked: list[Cell], ports: Mapping[str, int]
) -> dict[Cell, Answer]:
    """What mbedTLS says of each cell."""
    answers: dict[Cell, Answer] = {}
    for clock in CLOCKS:
        for probe, has_anchor in ((mbedtls.PROBE, True), (_NO_ANCHOR, False)):
            these = [
                cell
                for cell in asked
                if cell.clock == clock and (cell.certificate is not None) == has_anchor
            ]
            questions = [_question(cell, ports) for cell in these]
            at = None if clock == "right" else time_of(clock)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(mbedtls, "PROBE", probe)
                told = mbedtls.ask(runtime, questions, LIMITS, at)
            answers |= dict(zip(these, told, strict=True))
    return answers


def document(answers: Mapping[Cell, Answer]) -> str:
    """The table as docs/truth-table.md."""
    said = {(cell.row.name, cell.anchor, cell.clock): a.code for cell, a in answers.items()}
    lines = [
        "# What a camera accepts",
        "",
        "Real mbedTLS 3.6, through the camera's own code, asked about each listener of",
        "`anchorcam broker --zoo`: with each certificate that could be its anchor, and with three",
        "clocks. A dash: there is no such certificate. The codes are those of",
        "[operations.md](operations.md). Written by `python -m tests.anchor`; the tests compare.",
    ]
    for clock in CLOCKS:
        lines += ["", f"## The clock: {clock}", ""]
        lines.append("| listener | what is special | " + " | ".join(ANCHORS) + " |")
        lines.append("|---" * (2 + len(ANCHORS)) + "|")
        for row in ROWS:
            codes = [said.get((row.name, anchor, clock), "-") for anchor in ANCHORS]
            shown = [f"**{code}**" if code == "accepted" else code for code in codes]
            lines.append(f"| {row.name} | {row.what} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _anchors(row: Row, data: Path) -> dict[str, x509.Certificate | None]:
    names = {
        "root": row.root,
        "intermediate": row.intermediate,
        "cross-sign": row.cross_sign,
        "leaf": row.sent[0] if row.sent else "",
        "other CA": "x1" if row.root == "other-root" else "other-root",
    }
    found: dict[str, x509.Certificate | None] = {
        anchor: load(data, name) for anchor, name in names.items() if name
    }
    return {**found, "none": None}


def load(data: Path, name: str) -> x509.Certificate:
    """A certificate of the zoo, or one of the broker's issuers."""
    for path in (data / f"zoo/{name}.crt", data / f"authority/{name}.pem"):
        if path.exists():
            return x509.load_pem_x509_certificate(path.read_bytes())
    raise AssertionError(f"there is no certificate {name}")


def _question(cell: Cell, ports: Mapping[str, int]) -> Question:
    anchor = cell.certificate.public_bytes(Encoding.DER) if cell.certificate else b""
    return Question(anchor, cell.row.asked, "127.0.0.1", ports[cell.row.name])
