"""`anchorcam send`: give a camera a command and show its answer."""

from pathlib import Path
from typing import Annotated

import typer

from broker.errors import UserError
from camera import topics
from host_tools.config import CONFIG, SecretsFile
from host_tools.exchange import Verb, exchange, outcome, request_of
from host_tools.watch import options
from host_tools.watch.options import Options

CameraId = Annotated[str, typer.Argument(help="The camera's id.")]


def send(
    camera: CameraId,
    verb: Annotated[Verb, typer.Argument(help="What it is to do.")],
    value: Annotated[
        float | None,
        typer.Argument(help="For interval: seconds; for quality: 1 to 100.", show_default=False),
    ] = None,
    config: Annotated[Path, typer.Option(help="The settings.")] = CONFIG,
    secrets: SecretsFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for the answer.")] = 10.0,
) -> None:
    """Send a camera a command; exit code 1 when it does not answer or does not do it."""
    request = request_of(verb, value)
    broker = broker_of(config, secrets, camera)
    print(outcome(camera, exchange(broker, camera, request, timeout)))


def broker_of(config: Path, secrets: Path | None, camera: str) -> Options:
    """The broker through which a camera of this id is reached. Raises UserError."""
    if not topics.is_id(camera):
        raise UserError(f"{camera!r} is no camera id: give the id in its config.json", exit_code=2)
    return options.load(config, Path(), secrets=secrets)
