"""`anchorcam deploy --romfs`: the image is mounted by MicroPython, and the camera runs from it."""

from collections.abc import Callable

import pytest

from tests.deploy.bench import Bench

ON_FLASH = {"config.json", "secrets.json", "main.py"}


@pytest.mark.parametrize("compiled", [(), ("--mpy",)])
def test_a_camera_that_runs_from_its_rom(
    make_bench: Callable[..., Bench], compiled: tuple[str, ...]
) -> None:
    bench = make_bench()
    image = bench.folder / "app.romfs"
    # As it was deployed until now, all on the flash.
    assert bench.deploy("--no-wait").status == 0
    before = bench.files()
    done = bench.deploy("--romfs", str(image), *compiled)
    assert done.status == 1
    assert f"romfs deploy {image}" in done.err
    assert bench.files() == before
    secret = b"31415926"
    assert image.read_bytes()[:3] == b"\xd2\xcd\x31"
    assert secret not in image.read_bytes()
    bench.board.power_cut()
    with_rom = make_bench(rom=image)
    with_rom.board.power_cut()
    for name, data in before.items():
        path = with_rom.flash / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with_rom.board.power_on()
    # What is on the flash hides what is in the ROM, and nobody knows whose it is.
    done = with_rom.deploy("--romfs", str(image), *compiled)
    assert done.status == 1
    assert "camera/app.py" in done.err
    done = with_rom.deploy("--romfs", str(image), *compiled, "--force")
    assert done.status == 0, done.out + done.err
    assert "✓ first verified snapshot" in done.out
    assert with_rom.files().keys() == ON_FLASH
