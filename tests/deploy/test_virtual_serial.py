"""What README.md shows: a virtual camera at a serial port, and a deploy to it."""

import json
import signal
import subprocess
import sys

from tests.brokers import wait_for
from tests.deploy.bench import Bench
from tests.host.commands import ROOT


def test_a_camera_to_try_it_with(bench: Bench) -> None:
    # Only its settings are wanted here.
    bench.board.power_cut()
    (bench.folder / "config.json").write_text(json.dumps(bench.config))
    flash = bench.folder / "tried"
    camera = subprocess.Popen(
        [sys.executable, "-m", "host_tools", "virtual-camera", "--serial", "--flash", str(flash)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert camera.stdout is not None
        line = camera.stdout.readline()
        port = line.split()[-1]
        assert line == f"serial port {port}: anchorcam deploy --port {port}\n"
        wait_for(lambda: (bench.folder / "tried.port").is_symlink(), "the port")
        done = bench.run("deploy", "--port", port)
        assert done.status == 0, done.out + done.err
        assert "✓ first verified snapshot" in done.out
    finally:
        camera.send_signal(signal.SIGINT)
        out, errors = camera.communicate(timeout=20)
    assert (camera.returncode, errors) == (0, "")
    assert "connected to localhost" in out
