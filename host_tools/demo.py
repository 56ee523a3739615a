"""`anchorcam demo`: the test broker, one virtual camera and the watcher, on this machine."""

import json
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.errors import UserError
from broker.files import write_atomic
from host_tools.bootstrap import step
from host_tools.config import CONFIG, ConfigFile
from host_tools.deploy import flash, umqtt
from host_tools.virtual_camera import micropython
from host_tools.virtual_camera.board import Board
from host_tools.virtual_camera.command import FramesFolder, frames_of
from host_tools.virtual_camera.micropython import MicroPython
from host_tools.watch import display, options
from host_tools.watch.command import Expect, Timeout, check_timeout
from host_tools.watch.web.server import Wanted, serving

DATA = Path("data/demo")

_BROKER_START_S = 120
_BROKER_STOP_S = 10
_CONNECT_S = 10
_CONSOLE_LINES = 3


def setup() -> None:
    """Fetch what cannot be a Python package: MicroPython and umqtt.simple."""
    _fetch()


def demo(
    config: ConfigFile = CONFIG,
    expect: Expect = None,
    timeout: Timeout = None,
    frames: FramesFolder = None,
    data: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = DATA,
    picture: Annotated[
        Path | None, typer.Option(help="At the end write the table as an SVG picture.")
    ] = None,
) -> None:
    """Show it all at work: clock, verified TLS, snapshot, broker, proof of delivery."""
    check_timeout(expect, timeout)
    settings = _read(config)
    source = frames_of(frames, settings["camera"]["id"])
    runtime, library = _fetch()
    # Not before: while something is downloaded, a signal simply ends the program.
    stop = display.interrupted()
    with _broker(settings, data) as ready:
        ours = data / "config.json"
        _point_to(settings, ready)
        write_atomic(ours, json.dumps(settings, indent=2).encode(), 0o644)
        flash.write(flash.files(ours, data / "secrets.json", library), data / "flash")
        console: deque[str] = deque(maxlen=_CONSOLE_LINES)
        board = Board(runtime, data / "flash", source, console.append)

        page = ""

        def footer() -> list[str]:
            lines = [f"console of the camera  {line}" for line in console]
            return [*lines, page, "Ctrl-C stops the camera, the watcher and the broker"]

        chosen = options.load(ours, data / "watch")
        with (
            display.shown(chosen, stop, footer=footer) as watcher,
            serving(watcher, Wanted(port=0)) as address,
        ):
            page = f"in a browser  {address.plain}"
            address.announce()
            # Or the first snapshots would reach nobody, and rightly be called missing.
            watcher.wait_connected(_CONNECT_S)
            board.power_on()
            try:
                display.wait(watcher, stop, expect, timeout)
                if picture is not None:
                    display.save_picture(watcher, footer(), picture)
            finally:
                board.power_cut()
        display.conclude(watcher, expect)


def _fetch() -> tuple[MicroPython, Path]:
    with step("MicroPython") as progress:
        runtime = micropython.find()
        progress.say(f"{runtime.version} with {runtime.mbedtls}")
    with step("umqtt.simple") as progress:
        library = umqtt.find()
        progress.say(umqtt.release_of(library))
    return runtime, library


def _read(config: Path) -> Any:
    """The settings as they stand in the file; the camera's rules see them later."""
    problems = flash.problems_of_config(config)
    if problems:
        raise UserError("\n".join(problems), exit_code=2)
    return json.loads(config.read_text())


@contextmanager
def _broker(settings: Any, data: Path) -> Iterator[dict[str, Any]]:
    """The test broker as a process of its own, what it said when it was ready."""
    data.mkdir(parents=True, exist_ok=True)
    wanted = settings["brokers"][0].get("port", 0)
    command = [
        *(sys.executable, "-m", "broker", "--json"),
        *("--data", str(data / "broker"), "--anchors", str(data / "anchors")),
        *("--secrets", str(data / "secrets.json"), "--camera", settings["brokers"][0]["user"]),
        *("--port", str(wanted if _is_free(wanted) else 0), "--rsa-port", "0"),
        *("--clock-port", "0"),
        *("--prefix", settings.get("topics", {}).get("prefix", "cameras")),
    ]
    with step("certificates, broker") as progress:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=(data / "broker.log").open("wb"),
            text=True,
            # Ctrl-C in the terminal is for us; the broker is stopped last.
            start_new_session=True,
        )
        try:
            ready = _await_ready(process, data / "broker.log")
        except BaseException:
            process.kill()
            raise
        progress.say(
            f"mqtts://localhost:{ready['ecdsa']['port']}, anchor {ready['anchors'][0]['path']}"
        )
    # What it says from now on must be taken away, or it would wait for us.
    threading.Thread(target=_drain, args=(process,), daemon=True).start()
    try:
        yield ready
    finally:
        process.terminate()
        try:
            process.wait(_BROKER_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _await_ready(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    timer = threading.Timer(_BROKER_START_S, process.kill)
    timer.start()
    assert process.stdout is not None
    line = process.stdout.readline()
    timer.cancel()
    if not line:
        process.wait()
        said = log.read_text().strip().splitlines()
        raise UserError(f"the broker did not start: {said[-1] if said else 'it said nothing'}")
    ready: dict[str, Any] = json.loads(line)
    return ready


def _drain(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for _ in process.stdout:
        pass


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _point_to(settings: Any, ready: dict[str, Any]) -> None:
    """Make the settings those of a camera of this broker, whatever the file named."""
    clock = ready["clock"]
    settings.setdefault("clock", {})["servers"] = [f"{clock['host']}:{clock['port']}"]
    anchors = [Path(anchor["path"]).name for anchor in ready["anchors"]]
    settings["brokers"][0].update(
        host="localhost", port=ready["ecdsa"]["port"], anchors=anchors[:1]
    )
