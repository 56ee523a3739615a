"""The virtual camera's serial port as the real mpremote finds it, with a camera's traps."""

import subprocess
import sys
from collections.abc import Callable

from tests.brokers import wait_for
from tests.deploy.bench import Bench


def mpremote(bench: Bench, *arguments: str) -> str:
    """What the real command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", str(bench.port), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def returned(bench: Bench, before: int) -> None:
    """Wait until the camera has started again, another process than before, with its port."""
    wait_for(lambda: bench.board.pid() != before and bench.port.exists(), "its return")


def test_code_and_files(bench: Bench) -> None:
    assert mpremote(bench, "exec", "print(6 * 7)") == "42\n"
    source = bench.folder / "some.py"
    source.write_bytes(b"x = '\xc3\xa4'\n" * 200)
    mpremote(bench, "fs", "cp", str(source), ":/flash/some.py")
    assert (bench.flash / "some.py").read_bytes() == source.read_bytes()
    assert "some.py" in mpremote(bench, "fs", "ls", ":/flash")
    mpremote(bench, "fs", "rm", ":/flash/some.py")
    assert bench.files() == {}


def test_a_soft_reset_does_not_start_main(bench: Bench) -> None:
    # Until it has found nothing to start: what is written now is not for this power-up.
    mpremote(bench, "exec", "pass")
    (bench.flash / "boot.py").write_text("print('boot')\n")
    (bench.flash / "main.py").write_text("print('main')\n")
    # mpremote itself makes one before it executes anything.
    assert mpremote(bench, "exec", "print('here')") == "here\n"
    assert "main" not in bench.console
    mpremote(bench, "reset")
    bench.line("main")
    assert bench.console[-2:] == ["boot", "main"]


def test_a_boot_file_that_fails(bench: Bench) -> None:
    mpremote(bench, "exec", "pass")
    (bench.flash / "boot.py").write_text("raise ValueError\n")
    (bench.flash / "main.py").write_text("print('main')\n")
    mpremote(bench, "reset")
    bench.line("ValueError")
    assert mpremote(bench, "exec", "print('a prompt all the same')")
    assert "main" not in bench.console


def test_a_watchdog_outlives_a_soft_reset(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(watchdog_most_ms=2000)
    before = bench.board.pid()
    mpremote(bench, "exec", "import machine\nmachine.WDT(timeout=30000)")
    mpremote(bench, "soft-reset")
    assert bench.board.pid() == before
    bench.line("the watchdog has bitten")
    returned(bench, before)


def test_a_program_is_interrupted(bench: Bench) -> None:
    (bench.flash / "main.py").write_text(
        "import time\nn = 0\nwhile True:\n    n += 1\n    time.sleep_ms(1)\n"
    )
    before = bench.board.pid()
    mpremote(bench, "reset")
    returned(bench, before)
    for _ in range(3):
        assert mpremote(bench, "resume", "exec", "print(1)") == "1\n"
    bench.line("KeyboardInterrupt")
