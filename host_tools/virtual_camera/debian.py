"""Debian packages unpacked into a folder: no root, nothing installed, signatures checked."""

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from broker.errors import UserError

_DOWNLOAD_LIMIT_S = 600
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def is_available() -> bool:
    """True on a machine whose apt-get and dpkg-deb can be asked for packages."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def fetch_packages(
    names: Sequence[str], suite: str | None, into: Path, *, with_dependencies: bool = False
) -> Path:
    """Download exactly the named packages and unpack them side by side into `into`.

    suite: a Debian suite such as "trixie", taken from the mirror of the machine's own apt
    configuration; None for the suites the machine itself uses. with_dependencies: and all that
    these depend on, as if nothing were installed here.
    Returns `into`, which is there only when it is complete. Raises UserError (exit code
    3) when the packages cannot be had.
    """
    if into.is_dir():
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=into.parent) as folder:
        work = Path(folder)
        options = _private_state(work, suite)
        downloads = work / "downloads"
        downloads.mkdir()
        _run(["apt-get", *options, "--quiet", "update"], work)
        if with_dependencies:
            install = ["install", "--download-only", "--no-install-recommends", "--yes"]
            _run(["apt-get", *options, "--quiet", *install, *names], work)
            downloads = work / "cache/archives"
        else:
            _run(["apt-get", *options, "--quiet", "download", *names], downloads)
        root = work / "root"
        root.mkdir()
        for package in sorted(downloads.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(root)], work)
        try:
            root.rename(into)
        except OSError:
            # Another process was first; its copy is as good as ours.
            if not into.is_dir():
                raise
    return into


def _private_state(work: Path, suite: str | None) -> list[str]:
    """The options that make apt-get keep everything it writes below `work`."""
    for name in ("lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    status = work / "status"
    status.touch()
    settings = {
        "Dir::State::lists": work / "lists",
        "Dir::State::status": status,
        "Dir::Cache": work / "cache",
        # As root apt would drop to a user that may not write here.
        "APT::Sandbox::User": "root",
    }
    if suite is not None:
        sources = work / "sources.list"
        sources.write_text(_source_line(suite))
        settings |= {"Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": "-"}
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _source_line(suite: str) -> str:
    """A sources.list line for `suite` on the mirror that this machine's apt uses."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE)|$(COMPONENT)|$(REPO_URI)"],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    for line in listing.splitlines():
        release, component, mirror = line.split("|", 2)
        if (release, component) == (codename, "main"):
            # Without Debian's keyring package apt's own trusted keys decide.
            signed_by = f" [signed-by={_KEYRING}]" if _KEYRING.exists() else ""
            return f"deb{signed_by} {mirror} {suite} main\n"
    raise UserError(
        f"no mirror for Debian's \"{suite}\" is known: this machine's apt sources have no"
        f' "{codename} main"; add one to /etc/apt',
        exit_code=3,
    )


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_LIMIT_S,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{command[0]} gave no end within {_DOWNLOAD_LIMIT_S} s: check the network"
            " and run the same command again",
            exit_code=3,
        ) from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        why = said[-1] if said else f"exit code {done.returncode}"
        raise UserError(
            f"{command[0]} could not get Debian packages ({why}): check the network and the"
            " machine's apt sources, then run the same command again",
            exit_code=3,
        )
