"""`anchorcam demo` from an empty folder, and what stays behind: nothing that runs."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.brokers import DEADLINE_S, wait_for
from tests.host.commands import ROOT, anchorcam


def processes_below(folder: Path) -> list[str]:
    """The command lines of processes that work in or with this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                cwd = os.readlink(entry / "cwd")
            except OSError:
                continue
            if str(folder) in command or cwd.startswith(str(folder)):
                found.append(command)
    return found


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The shipped settings, quicker, and with a port that no test beside this one has."""
    settings = json.loads((ROOT / "config.json").read_text())
    settings["camera"]["interval_s"] = 0.2
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings["brokers"][0]["port"] = server.getsockname()[1]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings))
    return str(path)


def test_twenty_snapshots(config: str, tmp_path: Path) -> None:
    data = tmp_path / "demo"
    done = anchorcam("demo", config, "--data", str(data), "--expect=20", "--timeout=100")
    assert done.status == 0, done.err
    assert "20 snapshots verified, of cam1" in done.out + done.err
    latest = data / "watch/cam1/latest.jpg"
    assert str(data / "watch/cam1/boot-1/0-999/20.jpg") in done.out
    with Image.open(latest) as image:
        assert image.size == (640, 480)
    assert not processes_below(tmp_path)
    # Nothing that is secret went where it does not belong.
    secret = json.loads((data / "secrets.json").read_text())["passwords"]["cam1"]
    assert secret not in done.out + done.err + (data / "broker.log").read_text()
    # The second start uses what the first one made.
    anchor = (data / "anchors/test-root-x1.der").read_bytes()
    done = anchorcam("demo", config, "--data", str(data), "--expect=2", "--timeout=60")
    assert done.status == 0, done.err
    assert (data / "anchors/test-root-x1.der").read_bytes() == anchor


def test_time_runs_out(config: str, tmp_path: Path) -> None:
    done = anchorcam("demo", config, "--data", str(tmp_path), "--expect=100000", "--timeout=3")
    assert done.status == 1
    assert "of 100000 snapshots verified: " in done.err
    assert not processes_below(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_everything(config: str, tmp_path: Path, number: int) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "host_tools", "demo", config, "--data", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    latest = tmp_path / "watch/cam1/latest.jpg"
    wait_for(latest.exists, "a snapshot", 60)
    demo.send_signal(number)
    _, errors = demo.communicate(timeout=DEADLINE_S)
    assert (demo.returncode, errors) == (0, "")
    assert not processes_below(tmp_path)


def test_ctrl_c_during_set_up(config: str, tmp_path: Path) -> None:
    slow = tmp_path / "micropython"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexec sleep 30\n")
    slow.chmod(0o755)
    demo = subprocess.Popen(
        [sys.executable, "-m", "host_tools", "demo", config, "--data", str(tmp_path / "data")],
        cwd=ROOT,
        env={**os.environ, "MICROPYTHON": str(slow)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for((tmp_path / "asked").exists, "MicroPython to be asked")
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=5)
    assert "Traceback" not in errors
    assert demo.returncode != 0
    assert not processes_below(tmp_path)


def test_bad_frames(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no JPEG at all")
    done = anchorcam("demo", "--frames", str(tmp_path), "--data", str(tmp_path / "data"))
    assert done.status == 2
    assert "x.jpg is no JPEG" in done.err
    done = anchorcam("demo", "--frames", str(ROOT / "docs"), "--data", str(tmp_path / "data"))
    assert done.status == 2
    assert "has no .jpg files" in done.err
