"""Set-up from nothing: the virtual environment with the locked packages. Standard library only.

The wheels are kept in the cache, so that a fresh clone needs the network only once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
OLDEST_PYTHON = (3, 11)


class Step:
    """One line of progress; say() changes what stands behind its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""

    def say(self, text: str) -> None:
        self.text = text


@contextmanager
def step(name: str, *, counts: bool = True) -> Iterator[Step]:
    """A progress line, with the seconds counting on a terminal, until the block ends.

    counts: False where the block shows by itself how far it is.
    """
    current = Step(name)
    started = time.monotonic()
    done = threading.Event()

    def line(mark: str) -> str:
        return f"  {mark} {name:<24} {time.monotonic() - started:5.1f} s  {current.text}".rstrip()

    def count() -> None:
        while not done.wait(0.2):
            print(line("…"), end="\r", flush=True)

    counter = threading.Thread(target=count, daemon=True)
    if counts and sys.stdout.isatty():
        counter.start()
    mark = "✗"
    try:
        yield current
        mark = "✓"
    finally:
        done.set()
        if counter.is_alive():
            counter.join()
        print(line(mark), flush=True)


def main() -> int:
    """Make .venv hold exactly what requirements.lock says. Exit code 0, or 3."""
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        print(f"this is Python {sys.version.split()[0]}: install Python {wanted} or later")
        return 3
    wanted = _fingerprint()
    stamp = VENV / "anchorcam.stamp"
    if stamp.is_file() and stamp.read_text() == wanted and _works():
        return 0
    try:
        _install()
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        errors = [line for line in said if line.startswith("ERROR")] or said
        print(f"set-up failed: {' '.join(errors[-1:])}")
        print("check the network, or install Debian's python3-venv, and run the same command again")
        return 3
    stamp.write_text(wanted)
    return 0


def _install() -> None:
    with step("Python environment"):
        if VENV.exists():
            shutil.rmtree(VENV)
        _run(sys.executable, "-m", "venv", str(VENV))
    pip = (str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check")
    wheels = _cache() / "wheels" / _digest(LOCK.read_bytes() + sys.version.encode())
    with step("packages, downloaded") as progress:
        if not wheels.is_dir():
            wheels.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=wheels.parent) as folder:
                locked = ("--require-hashes", "--requirement", str(LOCK))
                _run(*pip, "download", *locked, "--dest", f"{folder}/wheels")
                os.rename(f"{folder}/wheels", wheels)
        progress.say(f"{len(list(wheels.iterdir()))} in {wheels}")
    with step("packages, installed"):
        offline = ("install", "--no-index", "--find-links", str(wheels))
        _run(*pip, *offline, "--require-hashes", "--requirement", str(LOCK))
        _run(*pip, *offline, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)


def _works() -> bool:
    # A clone that was moved has a .venv that points to where it was.
    done = subprocess.run(
        [str(VENV / "bin/python"), "-c", "import host_tools"], cwd="/", capture_output=True
    )
    return done.returncode == 0


def _fingerprint() -> str:
    return _digest(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _cache() -> Path:
    # host_tools.cache cannot be asked yet: platformdirs is one of the packages.
    root = os.environ.get("ANCHORCAM_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) if root else Path(home) / "anchorcam"


if __name__ == "__main__":
    sys.exit(main())
