"""A Docker engine to test with: the one that runs, or a private one started and ended here."""

import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from host_tools.cache import cache_folder
from tests.compose.shell import Failure, run, step, works

BASE_IMAGE = "python:3.11-slim-bookworm"
# What stands in for it on a private engine: the Debian release it is made of, and Python.
_SUITE = "bookworm"
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"

# Debian's packages, and the program by which one knows that a package is there.
_PACKAGES = {
    "docker.io": "dockerd",
    "docker-compose": "docker-compose",
    "debootstrap": "debootstrap",
}

_START_LIMIT_S = 60
_STOP_LIMIT_S = 30


class Unavailable(Exception):
    """There is no engine and none can be made: why, and what to do."""


@dataclass(frozen=True)
class Engine:
    """How to talk to the engine: the environment for docker, and the words compose starts with."""

    env: dict[str, str]
    compose: Sequence[str]
    # Made here: without a firewall's help, so builds must use the machine's own network.
    private: bool


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine that has the base image. Raises Unavailable or Failure."""
    reason = _why_not_running_engine()
    if reason is None:
        print("using the Docker engine that runs on this machine")
        yield Engine(dict(os.environ), _compose_command(), private=False)
        return
    if os.geteuid() != 0:
        raise Unavailable(
            f"{reason}, and only root can start one here: start Docker, or run this as root"
        )
    if platform.freedesktop_os_release().get("ID") != "debian":
        raise Unavailable(
            f"{reason}, and starting one here needs Debian's packages, which this system does "
            "not have: start Docker"
        )
    print(f"{reason}: starting a private engine, as root")
    _install_packages()
    base = _base_root()
    with (
        # A short name: the path of a Unix socket may not be longer than about 100 characters.
        tempfile.TemporaryDirectory(prefix="anchorcam-", ignore_cleanup_errors=True) as folder,
        _private_engine(Path(folder)) as private,
    ):
        with step("importing the base image"):
            run(["docker", "import", base, BASE_IMAGE], env=private.env, limit_s=180)
        yield private


def _why_not_running_engine() -> str | None:
    """Why the engine of this machine cannot be used; None when it can."""
    if not works(["docker", "info"]):
        return "no Docker engine answers"
    if not (works(["docker", "compose", "version"]) or works(["docker-compose", "version"])):
        return "a Docker engine answers, but neither `docker compose` nor docker-compose is there"
    if works(["docker", "image", "inspect", BASE_IMAGE]):
        return None
    if works(["docker", "pull", BASE_IMAGE], limit_s=300):
        return None
    return f"a Docker engine answers, but it has no {BASE_IMAGE} and cannot pull it"


def _compose_command() -> list[str]:
    return ["docker", "compose"] if works(["docker", "compose", "version"]) else ["docker-compose"]


def _install_packages() -> None:
    wanted = [name for name, program in _PACKAGES.items() if not shutil.which(program)]
    if not shutil.which("docker"):
        # Since Debian 13 the client is a package of its own.
        wanted += ["docker-cli"] if works(["apt-cache", "show", "docker-cli"]) else []
    if not wanted:
        return
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing Debian's packages {', '.join(wanted)}"):
        run(["apt-get", "--quiet", "update"], env=env, limit_s=180)
        run(
            ["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", *wanted],
            env=env,
            limit_s=300,
        )


def _base_root() -> Path:
    """The base image's file system as a tar file, from the cache or made now."""
    folder = cache_folder("compose-base")
    architecture = run(["dpkg", "--print-architecture"]).strip()
    base = folder / f"{_SUITE}-{architecture}.tar"
    if base.is_file():
        return base
    folder.mkdir(parents=True, exist_ok=True)
    with (
        step(f"making a base image of Debian {_SUITE} packages, once"),
        tempfile.TemporaryDirectory(
            prefix=".debootstrap-", dir=folder, ignore_cleanup_errors=True
        ) as work,
    ):
        root = Path(work) / "root"
        unfinished = Path(work) / "base.tar"
        # What it mounts is seen by nobody else and ends with it, also when it is cut off.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase"]
        command += [f"--include={_BASE_PACKAGES}", _SUITE, str(root), _mirror()]
        run(command, limit_s=300)
        # The downloaded packages are in there a second time, as they came.
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        run(["tar", "--create", "--file", unfinished, "--directory", root, "."], limit_s=120)
        unfinished.rename(base)
    return base


def _mirror() -> str:
    """The Debian mirror that this machine's own apt uses."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listing = run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)"],
        separate=True,
    )
    for line in listing.splitlines():
        origin, release, component, address = line.split("|", 3)
        if (origin, release, component) == ("Debian", codename, "main"):
            return address
    raise Failure(
        f"apt on this machine names no mirror of Debian {codename}: add one to its sources "
        "and run `apt-get update`"
    )


@contextmanager
def _private_engine(folder: Path) -> Iterator[Engine]:
    """An engine that keeps everything below folder and leaves the machine's network alone."""
    address = f"unix://{folder}/docker.sock"
    # Where this machine has a containerd, dockerd uses it: the namespaces keep us apart.
    namespace = f"anchorcam-{os.getpid()}"
    command = ["dockerd", "--host", address]
    command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    command += ["--pidfile", f"{folder}/pid"]
    command += ["--containerd-namespace", namespace]
    command += ["--containerd-plugins-namespace", f"{namespace}-plugins"]
    # Ports are published by docker-proxy and builds use the machine's network: no firewall
    # rule and no forwarding is needed, and none is left behind.
    command += ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]
    log = folder / "dockerd.log"
    env = {name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"}
    env |= {"DOCKER_HOST": address}
    with log.open("wb") as output:
        # A session of its own: Ctrl-C is for us, and the engine must live until we took the
        # containers down.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        with step("starting dockerd"):
            _wait_for_engine(process, env, log)
        yield Engine(env, _compose_command(), private=True)
    finally:
        _end(process, folder)


def _wait_for_engine(process: "subprocess.Popen[bytes]", env: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        probe = subprocess.run(["docker", "version"], env=env, capture_output=True, timeout=30)
        if probe.returncode == 0:
            return
        time.sleep(0.2)
    why = "ended" if process.poll() is not None else f"did not answer within {_START_LIMIT_S} s"
    tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-15:])
    raise Failure(
        f"dockerd {why}; it needs a kernel with namespaces, cgroups and bridges, and all of "
        f"root's rights (in a container: a privileged one). The end of its log:\n  {tail}"
    )


def _end(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Stop dockerd and whatever it left, so that folder can be removed."""
    process.terminate()
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # Normally none. After a crash of dockerd: containerd, and a shim for each container.
    for pid in _processes_of(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if mount.startswith(f"{folder}/"):
            works(["umount", "--lazy", mount])


def _processes_of(folder: Path) -> list[int]:
    """The processes, other than this one, that have folder in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if f"{folder}/".encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass  # it ended meanwhile
    return found
