"""Whenever the power is cut during a deploy, the camera has the old files or the new ones."""

import subprocess
from pathlib import Path

import pytest

from broker.errors import UserError
from host_tools.deploy import application, plan, ports, transfer
from host_tools.deploy import device as device_module
from host_tools.deploy.device import Device
from host_tools.virtual_camera.micropython import MicroPython
from tests.brokers import wait_for
from tests.deploy.bench import Bench

ON_FAT = Path(__file__).parent / "on_fat.py"
FINISHER = Path(transfer.__file__).parent / "camera_side/boot.py"
SHARDS = 4


def test_at_each_sector_that_is_written(runtime: MicroPython) -> None:
    done = subprocess.run(
        [*runtime.command, "-X", "heapsize=64m", str(ON_FAT), str(FINISHER)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    (line,) = done.stdout.splitlines()
    writes, cuts = (int(word) for word in line.split()[1::2])
    assert writes > 80
    assert cuts > 4 * writes


def program(version: int) -> dict[str, bytes]:
    """A small application that says which version each of its parts is."""
    main = (
        "from camera import one, two\n"
        "import config\n"
        f"print('running', {version}, one.V, two.V, config.V)\n"
    )
    part = f"V = {version}\n".encode()
    return {
        "main.py": main.encode(),
        "camera/__init__.py": b"",
        "camera/one.py": part,
        "camera/two.py": part,
        "config.py": part + b"#" * 1500,
        f"only/in{version}.py": part,
    }


OLD, NEW = program(1), program(2)


class Shown:
    """Nothing is shown."""

    def file(self, name: str, size: int) -> "Shown":
        return self

    def advance(self, size: int) -> None:
        pass

    def __enter__(self) -> "Shown":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def deploy_new(bench: Bench) -> None:
    """As `anchorcam deploy` does it, without its checks."""
    with Device(ports.Port(str(bench.port))) as device:
        device.interrupt()
        application.stop(device)
        before = application.manifest(device)
        assert before is not None
        wanted = plan.manifest_of(NEW, "cam1")
        paths = sorted({*wanted.files, *before.files})
        present = device.digests(transfer.FLASH + path for path in paths)
        there = {path: present[transfer.FLASH + path] for path in paths}
        made = plan.make(wanted.files, there, before.files, force=False)
        transfer.deploy(device, NEW, made, wanted, Shown())
        application.set_clock(device)
        device.reset()


@pytest.mark.parametrize("shard", range(SHARDS))
def test_at_each_operation_on_the_flash(
    tmp_path: Path, runtime: MicroPython, shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It does not come back before the test has looked at it.
    monkeypatch.setattr(device_module, "_RETURN_S", 1.0)
    bench = Bench(tmp_path / "bench", runtime, None)
    outcomes = []
    operations = shard
    is_cut = True
    while is_cut:
        bench.put(OLD)
        bench.console.clear()
        bench.board.power_on()
        bench.line("running 1 1 1 1")
        bench.board.cut_power_after(operations)
        try:
            deploy_new(bench)
        except UserError:
            is_cut = wait_for(lambda: "the power was cut" in bench.console, "the power cut")
        else:
            bench.line("running 2")
            is_cut = False
        bench.board.power_cut()
        bench.board.cut_power_after(1 << 30)
        bench.console.clear()
        bench.board.power_on()
        running = bench.line("running")
        bench.board.power_cut()
        assert running in ("running 1 1 1 1", "running 2 2 2 2"), operations
        whole = OLD if running == "running 1 1 1 1" else NEW
        files = {name: data for name, data in bench.files().items() if name != "boot.py"}
        assert files == whole, operations
        outcomes.append(whole is NEW)
        operations += SHARDS
    # First the old one, then the new one, and both of them often.
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) > 5
    assert outcomes.count(True) > 3
