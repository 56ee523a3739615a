"""Finds a real MicroPython with real mbedTLS for the virtual camera, or fetches Debian's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broker.errors import UserError
from host_tools.cache import cache_folder
from host_tools.virtual_camera import debian

OLDEST = (1, 25)

_SUITE = "trixie"
_PACKAGES = (
    "micropython",
    "libfaketime",
    "libc6",
    "libffi8",
    "libgcc-s1",
    "libmbedcrypto16",
    "libmbedtls21",
    "libmbedx509-7",
)
_PROBE = "import sys, tls, ffi, uctypes; print(*sys.implementation[1][:3], tls.MBEDTLS_VERSION)"


@dataclass(frozen=True)
class MicroPython:
    """A MicroPython that can be a camera.

    command: the words before the script's name; faketime: libfaketime for this binary;
    version: such as "1.25.0"; mbedtls: such as "Mbed TLS 3.6.0".
    """

    command: tuple[str, ...]
    faketime: Path
    version: str
    mbedtls: str


def find() -> MicroPython:
    """$MICROPYTHON, or `micropython` on PATH where it has tls, or the cache, or Debian's.

    Raises UserError (exit code 3) with what to install.
    """
    asked = os.environ.get("MICROPYTHON")
    if asked:
        path = shutil.which(asked)
        if path is None:
            raise UserError(f"MICROPYTHON={asked}: there is no such program", exit_code=3)
        found = _probe((path,))
        if found is None:
            raise UserError(
                f"MICROPYTHON={asked}: it cannot be a camera; needed is the Unix port, release"
                f" {OLDEST[0]}.{OLDEST[1]} or later, with tls (mbedTLS) and ffi",
                exit_code=3,
            )
        return _with_faketime(*found)
    on_path = shutil.which("micropython")
    if on_path is not None and (found := _probe((on_path,))) is not None:
        return _with_faketime(*found)
    return _from_debian()


def _probe(command: tuple[str, ...]) -> tuple[tuple[str, ...], str, str] | None:
    """(command, version, mbedTLS version), None when it cannot be a camera."""
    try:
        done = subprocess.run(
            [*command, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split(maxsplit=3)
    if done.returncode != 0 or len(words) != 4:
        return None
    major, minor, patch, mbedtls = words
    if (int(major), int(minor)) < OLDEST:
        return None
    return command, f"{major}.{minor}.{patch}", mbedtls.strip()


def _from_debian() -> MicroPython:
    if not debian.is_available():
        raise UserError(
            "there is no MicroPython with tls on this machine and no apt-get to fetch one:"
            " install it (brew install micropython, or build its Unix port) and name it in"
            " MICROPYTHON=PATH",
            exit_code=3,
        )
    root = debian.fetch_packages(_PACKAGES, _SUITE, cache_folder("micropython"))
    # Its own loader and libraries: it needs a newer libc than this machine may have.
    loader = next(_find(root, "ld-linux*.so.*"))
    libraries = next(_find(root, "libc.so.6")).parent
    binary = root / "usr/bin/micropython"
    found = _probe((str(loader), "--library-path", str(libraries), str(binary)))
    if found is None:
        raise UserError(
            f"the MicroPython in {root} does not run: remove that folder and try again",
            exit_code=3,
        )
    return MicroPython(found[0], next(_find(root, "libfaketime.so.1")), *found[1:])


def _with_faketime(command: tuple[str, ...], version: str, mbedtls: str) -> MicroPython:
    installed = next(_find(Path("/usr/lib"), "faketime/libfaketime.so.1"), None)
    if installed is None:
        if not debian.is_available():
            raise UserError(
                "libfaketime, which gives the virtual camera a clock of its own, is not on this"
                " machine: install the package libfaketime",
                exit_code=3,
            )
        root = debian.fetch_packages(("libfaketime",), None, cache_folder("libfaketime"))
        installed = next(_find(root, "libfaketime.so.1"))
    return MicroPython(command, installed, version, mbedtls)


def _find(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in folder.rglob(pattern) if path.is_file())
