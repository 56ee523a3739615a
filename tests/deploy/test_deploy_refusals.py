"""Boards and moments that a deploy must not go on with, and what it says then."""

import threading
from collections.abc import Callable

import pytest

from tests.brokers import wait_for
from tests.deploy.bench import Bench


def at_file(bench: Bench, number: int, action: Callable[[], None]) -> threading.Thread:
    """Act as soon as so many files are staged on the camera."""

    def run() -> None:
        folder = bench.flash / "deploy"
        wait_for(lambda: folder.is_dir() and len(list(folder.iterdir())) >= number, "files", 30)
        action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("release", "name", "module", "reason"),
    [
        ("4.7.0", "", "", "its firmware is OpenMV 4.7.0, needed is 4.8 or later"),
        ("4.8.1", "network.py", "class WINC: pass", "its Wi-Fi is the WINC1500 shield"),
        ("4.8.1", "network.py", "class LAN: pass", "it has no Wi-Fi"),
        ("4.8.1", "csi.py", "raise ImportError", "its firmware has no csi"),
    ],
)
def test_a_board_that_cannot_be_the_camera(
    make_bench: Callable[..., Bench], release: str, name: str, module: str, reason: str
) -> None:
    bench = make_bench(release=release)
    if name:
        (bench.flash / name).write_text(module)
    before = bench.files()
    done = bench.deploy("--no-wait")
    assert done.status == 1
    assert reason in done.err
    assert bench.files() == before


def test_a_board_without_micropython(bench: Bench) -> None:
    # It answers nothing: as a board that waits for something else does.
    (bench.flash / "main.py").write_text(
        "import time\nwhile True:\n try:\n  time.sleep(1)\n except BaseException:\n  pass\n"
    )
    bench.board.power_cut()
    bench.board.power_on()
    done = bench.deploy("--no-wait")
    assert done.status == 1
    assert "does not give a MicroPython prompt" in done.err


def test_the_cable_is_pulled_in_the_middle(bench: Bench) -> None:
    assert bench.deploy("--no-wait").status == 0
    old = bench.files()
    for path in (bench.flash / "camera").iterdir():
        path.write_bytes(b"# another release\n" + path.read_bytes())
    changed = bench.files()
    pulled = at_file(bench, 8, bench.board.power_cut)
    done = bench.deploy("--force")
    pulled.join()
    assert done.status == 1
    assert "is gone: was the cable pulled" in done.err
    assert {k: v for k, v in bench.files().items() if k != "boot.py"} == changed
    bench.board.power_on()
    done = bench.deploy("--force")
    assert done.status == 0, done.out + done.err
    assert {**bench.files(), "config.json": b""} == {**old, "config.json": b""}


def test_the_flash_gets_full_in_the_middle(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(flash_bytes=400_000)
    filler = bench.flash / "pictures.bin"
    filled = at_file(bench, 8, lambda: filler.write_bytes(bytes(340_000)) and None)
    done = bench.deploy("--no-wait")
    filled.join()
    assert done.status == 1
    assert "the camera's flash is full: nothing was changed" in done.err
    assert bench.files().keys() == {"pictures.bin"}
    assert not (bench.flash / "deploy").exists()
    filler.unlink()
    assert bench.deploy().status == 0


def test_a_flash_that_is_full_already(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(flash_bytes=100_000)
    (bench.flash / "pictures.bin").write_bytes(bytes(99_900))
    done = bench.deploy("--no-wait")
    assert done.status == 1
    assert "the camera's flash is full: nothing was changed" in done.err
    assert bench.files().keys() == {"pictures.bin"}


def test_somebody_elses_boot_file(bench: Bench) -> None:
    (bench.flash / "boot.py").write_text("print('mine')\n")
    done = bench.deploy("--no-wait")
    assert done.status == 1
    assert "/flash/boot.py on the camera is not anchorcam's" in done.err
    assert bench.files() == {"boot.py": b"print('mine')\n"}


def test_a_camera_that_does_not_get_through(bench: Bench) -> None:
    # It cannot know that the name of the Wi-Fi is wrong, but that it has no network.
    bench.board.set_link(up=False)
    bench.config["limits_s"]["link"] = 1
    done = bench.deploy("--timeout", "6")
    assert done.status == 1
    assert "no verified snapshot of cam1 within 6 s" in done.err
    assert "the camera said last:" in done.err
    assert "link: the Wi-Fi or Ethernet link did not come up" in done.err


def test_a_broker_that_is_not_there(bench: Bench) -> None:
    bench.config["brokers"][0]["port"] = 9
    done = bench.deploy()
    assert done.status == 1
    assert "root.der: refused" in done.out
    assert "--no-wait deploys without proof" in done.err
