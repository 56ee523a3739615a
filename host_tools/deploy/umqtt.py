"""Gets umqtt.simple, which is installed and never copied into this repository."""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import mpremote.mip

from broker.errors import UserError
from broker.files import write_atomic
from host_tools.cache import cache_folder

# Release -> SHA-256 of umqtt/simple.py.
PINS = {
    "1.8.0": "3cfd101ef774e0c6f9543425650ddc36168a7bbf4b8b8b71667e27023dfd951f",
    "1.3.4": "8555d2f654deb8eb0d724f79b0811a78cc94029d070f3d96bbd74288653d63a5",
}

_INDEX_LIMIT_S = 5
_SDIST_LIMIT_S = 180


def find() -> Path:
    """The path of a umqtt/simple.py: $UMQTT_SIMPLE as it is, or one with a pinned SHA-256.

    A pinned one comes from the cache, from MicroPython's package index (1.8.0), or from
    PyPI (1.3.4), in that order. Raises UserError (exit code 3).
    """
    asked = os.environ.get("UMQTT_SIMPLE")
    if asked:
        path = Path(asked)
        if not path.is_file():
            raise UserError(f"UMQTT_SIMPLE={asked}: there is no such file", exit_code=3)
        return path
    sources: dict[str, Callable[[], bytes]] = {"1.8.0": _from_mip, "1.3.4": _from_pypi}
    for release in sources:
        path = cached(release)
        if path.is_file() and _is_pinned(path.read_bytes(), release):
            return path
    reasons = []
    for release, source in sources.items():
        try:
            data = source()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reasons.append(f"{release}: {_one_line(error)}")
            continue
        if not _is_pinned(data, release):
            reasons.append(f"{release}: its SHA-256 is not the pinned one; it was not used")
            continue
        path = cached(release)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data, 0o644)
        return path
    raise UserError(
        f"umqtt.simple could not be had ({'; '.join(reasons)}): check the network, or name a"
        " copy in UMQTT_SIMPLE=PATH",
        exit_code=3,
    )


def release_of(path: Path) -> str:
    """The release of that umqtt/simple.py by its SHA-256, or "unknown"."""
    digest = sha256(path.read_bytes()).hexdigest()
    return next((release for release, pin in PINS.items() if pin == digest), "unknown")


def cached(release: str) -> Path:
    """Where that release is kept once it was downloaded."""
    return cache_folder("umqtt.simple") / release / "simple.py"


def _is_pinned(data: bytes, release: str) -> bool:
    return sha256(data).hexdigest() == PINS[release]


def _from_mip() -> bytes:
    """Release 1.8.0 as source from the index that mpremote's mip uses."""
    index = mpremote.mip._PACKAGE_INDEX
    listing = json.loads(_get(f"{index}/package/py/umqtt.simple/1.8.0.json"))
    short = next((digest for path, digest in listing["hashes"] if path == "umqtt/simple.py"), None)
    if not isinstance(short, str):
        raise ValueError("the package index does not list umqtt/simple.py")
    return _get(f"{index}/file/{short[:2]}/{short}")


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_INDEX_LIMIT_S) as answer:  # noqa: S310 mpremote's https index
            data: bytes = answer.read(1 << 20)
    except urllib.error.URLError as error:
        raise OSError(f"the MicroPython package index cannot be reached ({error.reason})") from None
    return data


def _from_pypi() -> bytes:
    """Release 1.3.4 out of its sdist."""
    with tempfile.TemporaryDirectory() as folder:
        index = os.environ.get("PIP_INDEX_URL")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "unearth", "--no-binary", "--download", folder),
                *(("--index-url", index) if index else ()),
                "micropython-umqtt.simple==1.3.4",
            ],
            capture_output=True,
            text=True,
            timeout=_SDIST_LIMIT_S,
        )
        sdist = next(Path(folder).glob("*.tar.gz"), None)
        if done.returncode != 0 or sdist is None:
            said = done.stderr.strip().splitlines()
            raise OSError(f"PyPI did not give it ({said[-1] if said else 'no reason given'})")
        with tarfile.open(sdist) as archive:
            for member in archive:
                if member.name.endswith("/umqtt/simple.py") and (
                    file := archive.extractfile(member)
                ):
                    return file.read()
    raise ValueError("its sdist has no umqtt/simple.py")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
