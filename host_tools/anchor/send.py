"""`anchorcam anchor send` and `remove`: a far camera's anchors, over its own connection."""

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.serialization import Encoding

from broker.errors import UserError
from camera import rules
from camera.commands import ANCHOR_MAX_BYTES
from host_tools.anchor import files
from host_tools.ask import CameraId, request
from host_tools.config import CONFIG, SecretsFile

# The camera shakes hands before it answers, within limits_s.attempt.
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds for the answer.")]


def send(
    camera: CameraId,
    file: Annotated[Path, typer.Argument(help="The anchor: one certificate, DER or PEM.")],
    config: Annotated[Path, typer.Option(help="The settings.")] = CONFIG,
    secrets: SecretsFile = None,
    timeout: Timeout = 100.0,
) -> None:
    """Send a camera one more anchor; it keeps the file only if its broker is verified with it."""
    der = _certificate(file)
    digest = hashlib.sha256(der).hexdigest()
    command = {"do": "anchor", "sha256": digest, "der": b64encode(der).decode()}
    answer = request(config, secrets, camera, command, timeout)
    where = "has it already" if answer.get("known") else "verified its broker with it and keeps it"
    print(f"{camera} {where}: {answer.get('anchor')}\nSHA-256 {digest}")


def remove(
    camera: CameraId,
    anchor: Annotated[str, typer.Argument(help="The file that was sent, or its SHA-256.")],
    config: Annotated[Path, typer.Option(help="The settings.")] = CONFIG,
    secrets: SecretsFile = None,
    timeout: Timeout = 10.0,
) -> None:
    """Have a camera remove an anchor that it was sent, unless it is the one in use."""
    if rules.sha256(anchor) is not None:
        anchor = hashlib.sha256(_certificate(Path(anchor))).hexdigest()
    request(config, secrets, camera, {"do": "anchor", "remove": anchor}, timeout)
    print(f"{camera} has removed it: SHA-256 {anchor.lower()}")


def _certificate(path: Path) -> bytes:
    """The one certificate in a file, as DER, if a camera takes one of its size."""
    der = files.read_one(path).public_bytes(Encoding.DER)
    if len(der) > ANCHOR_MAX_BYTES:
        raise UserError(
            f"{path} is a certificate of {len(der):,} bytes: a camera takes at most"
            f" {ANCHOR_MAX_BYTES:,}",
            exit_code=2,
        )
    return der
