"""`anchorcam undeploy` and `anchorcam logs`."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable

from host_tools.deploy.ports import holder
from tests.brokers import wait_for
from tests.deploy.bench import Bench
from tests.host.commands import ROOT


def test_exactly_what_was_deployed_is_removed(bench: Bench) -> None:
    (bench.flash / "anchors").mkdir()
    (bench.flash / "anchors/mine.der").write_bytes(b"mine")
    (bench.flash / "README.txt").write_bytes(b"Thank you")
    assert bench.deploy().status == 0
    (bench.flash / "config.json").write_bytes(b"{}")
    done = bench.run("undeploy", "--port", str(bench.port))
    assert done.status == 0, done.out + done.err
    assert "kept      config.json: it was changed on the camera" in done.out
    assert bench.files() == {
        "anchors/mine.der": b"mine",
        "README.txt": b"Thank you",
        "config.json": b"{}",
    }
    assert (bench.flash / "state/boot").exists()
    done = bench.run("undeploy", "--port", str(bench.port))
    assert done.status == 1
    assert "nothing on this camera was deployed by anchorcam" in done.err


def test_also_from_the_card(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(sd_bytes=1 << 20, sd_boots=True)
    assert bench.deploy().status == 0
    assert bench.run("undeploy", "--port", str(bench.port)).status == 0
    assert bench.files() == {}


def test_logs_over_a_reset(bench: Bench) -> None:
    assert bench.deploy("--no-wait").status == 0
    (bench.folder / "config.json").write_text(json.dumps(bench.config))
    follower = subprocess.Popen(
        [sys.executable, "-m", "host_tools", "logs", "--port", str(bench.port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert follower.stdout is not None
        wait_for(lambda: str(follower.pid) in holder(str(bench.port)), "it to have the port")
        bench.board.power_cut()
        wait_for(lambda: not bench.port.exists(), "no port")
        bench.board.power_on()
        line = next(line for line in follower.stdout if "listening for commands" in line)
        assert line[:4].isdigit()
        assert "+" in line.split("  ")[0]
    finally:
        follower.send_signal(signal.SIGINT)
        _, errors = follower.communicate(timeout=10)
    assert (follower.returncode, errors) == (0, "")
