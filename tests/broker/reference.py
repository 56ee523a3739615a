"""mosquitto, the reference: found or fetched, and run with the test broker's rules."""

import base64
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from broker.errors import UserError
from host_tools.cache import cache_folder
from host_tools.virtual_camera.debian import fetch_packages
from tests.brokers import Endpoint, wait_for

# Debian 12's, on every machine: with the libraries of it that a minimal system lacks.
_SUITE = "bookworm"
_PACKAGES = ("mosquitto", "libdlt2", "libwrap0")
_CLIENT_PACKAGES = ("mosquitto-clients", "libmosquitto1", "libcjson1", "libc-ares2")


def find_mosquitto() -> tuple[Path, Mapping[str, str]]:
    """The program and the environment to run it in; skips the test when there is none.

    On CI it fails instead: there the reference must not be missing unnoticed.
    """
    return _find("mosquitto", _PACKAGES, "sbin")


def find_mosquitto_sub() -> tuple[Path, Mapping[str, str]]:
    """As find_mosquitto(), its subscriber."""
    return _find("mosquitto_sub", _CLIENT_PACKAGES, "bin")


def _find(name: str, packages: Sequence[str], folder: str) -> tuple[Path, Mapping[str, str]]:
    installed = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if installed:
        return Path(installed), os.environ
    try:
        root = fetch_packages(packages, _SUITE, cache_folder(name))
    except (UserError, OSError) as error:
        message = f"no {name} to compare with: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    folders = [str(each) for each in (root / "usr/lib").glob("*-linux-gnu*")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)}
    return root / "usr" / folder / name, environment


@contextlib.contextmanager
def running_mosquitto(
    folder: Path,
    server_file: Path,
    anchor: Path,
    passwords: Mapping[str, str],
    max_packet: int,
    *more: str,
    log: str = "all",
) -> Iterator[Endpoint]:
    """mosquitto with the same certificates, accounts, rules and packet limit.

    more: lines of its configuration; log: what of it is logged; writing a line for each packet
    costs it time.
    """
    program, environment = find_mosquitto()
    (folder / "passwords").write_text(
        "".join(f"{name}:{_hashed(password)}\n" for name, password in passwords.items())
    )
    (folder / "rules").write_text(
        "user watcher\ntopic read cameras/#\ntopic write cameras/+/cmd\n"
        "topic readwrite homeassistant/#\n"
        + "".join(f"pattern write cameras/%u/{k}\n" for k in ("jpeg", "state", "health"))
        + "pattern write cameras/%u/cmd/result\npattern read cameras/%u/cmd\n"
    )
    settings = (
        f"certfile {server_file}\nkeyfile {server_file}\n"
        f"password_file {folder / 'passwords'}\nacl_file {folder / 'rules'}\n"
        f"allow_anonymous false\nmax_packet_size {max_packet}\nset_tcp_nodelay true\n"
        f"log_type {log}\n"
    )
    if os.geteuid() == 0:
        settings += "user root\n"  # or it becomes a user that may not read the key
    settings += "".join(f"{line}\n" for line in more)
    for _ in range(5):
        # It takes no port 0, and another process can be faster at a port that was free.
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        lines = f"listener {port} 127.0.0.1\n{settings}"
        process = _start(program, environment, folder, lines)
        if wait_for(partial(_state, port, process), "mosquitto to listen") == "listening":
            break
    else:
        raise AssertionError((folder / "mosquitto.log").read_text())
    try:
        yield Endpoint(port, anchor, passwords, pid=process.pid)
    finally:
        process.terminate()
        process.wait()


def _start(
    program: Path, environment: Mapping[str, str], folder: Path, settings: str
) -> subprocess.Popen[bytes]:
    configuration = folder / "mosquitto.conf"
    configuration.write_text(settings)
    with (folder / "mosquitto.log").open("w") as log:
        command = [str(program), "-c", str(configuration)]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _state(port: int, process: subprocess.Popen[bytes]) -> str:
    """Either "ended", "listening", or "" while it is neither."""
    if process.poll() is not None:
        return "ended"
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return ""
    return "listening"


def _hashed(password: str) -> str:
    """As mosquitto_passwd writes it: PBKDF2-SHA512, type 7."""
    salt = os.urandom(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
