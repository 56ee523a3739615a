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
from host_tools.virtual_camera.serial import SerialPort

FLASH = Path("data/virtual-camera")
# What a board has, when it is asked for it.
FLASH_BYTES = 8 << 20

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
    serial: Annotated[
        bool,
        typer.Option(
            "--serial",
            help="Only a camera with its flash as it is, at a serial port: to deploy to.",
        ),
    ] = False,
) -> None:
    """Power up a virtual camera and show its console; Ctrl-C pulls the plug."""
    runtime = micropython.find()
    if serial:
        folder.mkdir(parents=True, exist_ok=True)
        port = SerialPort(folder.with_name(folder.name + ".port"), f"MicroPython {runtime.version}")
        print(f"serial port {port.path}: anchorcam deploy --port {port.path}", flush=True)
        source = frames_of(frames, folder.name)
    else:
        port = None
        secrets = secrets_of(config, secrets)
        flash.write(flash.files(config, secrets, umqtt.find()), folder)
        source = frames_of(frames, flash.load_settings(config, secrets)["camera"]["id"])
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    board = Board(
        runtime,
        folder,
        source,
        lambda line: print(line, flush=True),
        serial=port,
        flash_bytes=FLASH_BYTES if serial else 0,
    )
    board.power_on()
    try:
        while board.is_running() and not stop.wait(0.2):
            pass
    finally:
        board.power_cut()
    if not stop.is_set():
        raise typer.Exit(1)
