"""`anchorcam virtual-camera`: a camera on this machine, its console on stdout."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from host_tools.config import CONFIG, ConfigFile, SecretsFile, secrets_of
from host_tools.deploy import flash, umqtt
from host_tools.virtual_camera import micropython
from host_tools.virtual_camera.board import Board
from host_tools.virtual_camera.sensor import Folder, Frames, Scene

FLASH = Path("data/virtual-camera")

FramesFolder = Annotated[
    Path | None,
    typer.Option("--frames", help="Send the JPEGs of this folder.", show_default="a scene"),
]


def frames_of(folder: Path | None, camera_id: str) -> Frames:
    """The user's own JPEGs, or the generated scene with the camera's id in it."""
    return Scene(camera_id) if folder is None else Folder(folder)


def virtual_camera(
    config: ConfigFile = CONFIG,
    secrets: SecretsFile = None,
    frames: FramesFolder = None,
    folder: Annotated[
        Path, typer.Option("--flash", help="Folder that is the camera's flash.")
    ] = FLASH,
) -> None:
    """Power up a virtual camera and show its console; Ctrl-C pulls the plug."""
    secrets = secrets_of(config, secrets)
    image = flash.files(config, secrets, umqtt.find())
    camera_id = flash.load_settings(config, secrets)["camera"]["id"]
    source = frames_of(frames, camera_id)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    flash.write(image, folder)
    board = Board(micropython.find(), folder, source, lambda line: print(line, flush=True))
    board.power_on()
    try:
        while board.is_running() and not stop.wait(0.2):
            pass
    finally:
        board.power_cut()
    if not stop.is_set():
        raise typer.Exit(1)
