"""A fleet of cameras: a CSV file with one camera a line, and one config file as the pattern."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.errors import UserError
from broker.files import write_atomic
from camera import topics
from host_tools import device_cert

_COLUMNS = ("camera", "port")
_MOST = 1000


@dataclass(frozen=True)
class Row:
    """One camera. port: its serial port or USB serial number; "": it is not connected now."""

    camera: str
    port: str


def read(path: Path) -> list[Row]:
    """The rows of a CSV file with the columns "camera" and, if wanted, "port".

    Raises UserError (exit code 2) with every problem found.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}", exit_code=2) from None
    if "camera" not in columns or set(columns) - set(_COLUMNS):
        raise UserError(
            f"{path} has the columns {', '.join(columns) or '(none)'}: its first line must be"
            ' "camera,port" (port may be missing)',
            exit_code=2,
        )
    rows: list[Row] = []
    problems = []
    for number, line in lines:
        row = Row((line["camera"] or "").strip(), (line.get("port") or "").strip())
        if not topics.is_id(row.camera):
            problems.append(
                f"{path}, line {number}: {row.camera!r} is no camera id: 1 to 32 letters, digits,"
                " - or _"
            )
        elif row.camera in {each.camera for each in rows}:
            problems.append(f"{path}, line {number}: {row.camera} was there before")
        elif row.port and row.port in {each.port for each in rows}:
            problems.append(f"{path}, line {number}: {row.port} is another camera's port already")
        rows.append(row)
    if not rows or len(rows) > _MOST:
        problems.append(f"{path} has {len(rows)} cameras: give 1 to {_MOST}")
    if problems:
        raise UserError("\n".join(problems), exit_code=2)
    return rows


def config_for(pattern: Path, camera: str) -> Path:
    """The config file of this camera, beside the pattern; made from it unless it is there.

    What in the pattern is named after its own camera is named after this one: id, accounts, and
    client certificates. Raises UserError.
    """
    path = pattern.with_name(f"{pattern.stem}-{camera}.json")
    if path.exists():
        return path
    try:
        settings: dict[str, Any] = json.loads(pattern.read_text())
        name = settings["camera"]["id"]
        settings["camera"]["id"] = camera
        for broker in settings["brokers"]:
            if broker["user"] == name:
                broker["user"] = camera
            files = (broker.get("client_cert"), broker.get("client_key"))
            if files == device_cert.names(name):
                broker["client_cert"], broker["client_key"] = device_cert.names(camera)
        write_atomic(path, json.dumps(settings, indent=2).encode() + b"\n", 0o644)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be made from {pattern} ({error}): `anchorcam config check {pattern}`",
            exit_code=2,
        ) from None
    return path
