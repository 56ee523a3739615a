"""A real PostgreSQL for tests: found or fetched, started as a user that is not root."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from broker.errors import UserError
from host_tools.cache import cache_folder
from host_tools.virtual_camera.debian import fetch_packages
from tests.brokers import wait_for

# Debian 12's, with the libraries of it that a minimal system lacks.
_SUITE = "bookworm"
_PACKAGES = (
    *("postgresql-15", "libpq5", "libicu72", "libxml2", "libldap-2.5-0", "libsasl2-2"),
    *("libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0", "libkeyutils1"),
    *("libcom-err2", "liblz4-1", "libzstd1", "libsystemd0", "libcap2", "libgcrypt20"),
    *("libgpg-error0", "liblzma5", "libstdc++6", "libssl3"),
)
# It refuses to run as root.
_NOBODY = "nobody"
USER, PASSWORD = "keeper", "a secret of the ledger's"


@dataclass(frozen=True)
class Server:
    """A running server on 127.0.0.1; its only user has a password."""

    port: int

    def url(self, name: str = "postgres") -> URL:
        """Of this database, password included."""
        place = ("postgresql+psycopg", USER, PASSWORD, "127.0.0.1", self.port, name)
        return URL.create(*place)

    def execute(self, statement: str) -> None:
        """Run a statement that wants no transaction."""
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as db:
            db.execute(text(statement))
        engine.dispose()


def find_programs() -> tuple[Path, Mapping[str, str]]:
    """The folder of its programs and the environment for them; skips the test without them.

    On CI it fails instead: there the server must not be missing unnoticed.
    """
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if installed:
        return installed[-1].parent, os.environ
    try:
        root = fetch_packages(_PACKAGES, _SUITE, cache_folder("postgresql"))
    except (UserError, OSError) as error:
        message = f"no PostgreSQL to test with: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    folders = [str(folder) for folder in (root / "usr/lib").glob("*-linux-gnu*")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)}
    return root / "usr/lib/postgresql/15/bin", environment


@contextlib.contextmanager
def running_postgresql() -> Iterator[Server]:
    """A new, empty server for the length of a with block."""
    programs, environment = find_programs()
    # Not pytest's folder: its parents are closed to any user but ours.
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        if os.geteuid() == 0:
            programs, environment = _within_reach(programs, environment, work)
        data = work / "data"
        data.mkdir(mode=0o700)
        (work / "password").write_text(PASSWORD)
        _give(work)
        made = _run(
            [
                *(f"{programs}/initdb", "--pgdata", str(data), "--username", USER),
                *("--auth", "scram-sha-256", "--pwfile", str(work / "password")),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            environment,
        )
        output, _ = made.communicate(timeout=120)
        assert made.returncode == 0, output
        server, port = _start(programs, environment, data)
        try:
            yield Server(port)
        finally:
            # SIGINT: disconnect everybody and shut down properly.
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)


def _start(
    programs: Path, environment: Mapping[str, str], data: Path
) -> tuple[subprocess.Popen[str], int]:
    for _ in range(5):
        # It takes no port 0, and another process can be faster at a port that was free.
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "jit": "off",
            "shared_buffers": "16MB",
            "max_connections": "30",
        }
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        server = _run([f"{programs}/postgres", "-D", str(data), *options], environment)
        if wait_for(lambda at=port, of=server: _state(at, of), "PostgreSQL", 60) == "listening":
            return server, port
    raise AssertionError(server.communicate()[0])


def _state(port: int, process: subprocess.Popen[str]) -> str:
    """Either "ended", "listening", or "" while it is neither."""
    if process.poll() is not None:
        return "ended"
    engine = create_engine(Server(port).url(), connect_args={"connect_timeout": 5})
    try:
        engine.connect().close()
    except Exception:  # noqa: BLE001 (whatever it is, it is not ready)
        return ""
    finally:
        engine.dispose()
    return "listening"


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    other = {"user": _NOBODY, "group": pwd.getpwnam(_NOBODY).pw_gid, "extra_groups": []}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        text=True,
        **(other if os.geteuid() == 0 else {}),  # type: ignore[arg-type]
    )


def _within_reach(
    programs: Path, environment: Mapping[str, str], work: Path
) -> tuple[Path, Mapping[str, str]]:
    """The programs where nobody can reach them: root's cache is closed to others."""
    root = cache_folder("postgresql")
    if root not in programs.parents:
        return programs, environment
    skipped = shutil.ignore_patterns("bitcode", "llvmjit*", "doc", "locale", "man")
    shutil.copytree(root / "usr", work / "usr", ignore=skipped, symlinks=True)
    path = environment["LD_LIBRARY_PATH"].replace(str(root), str(work))
    return work / programs.relative_to(root), {**environment, "LD_LIBRARY_PATH": path}


def _give(folder: Path) -> None:
    """Make the folder the user's who will run the server."""
    if os.geteuid() != 0:
        return
    owner = pwd.getpwnam(_NOBODY)
    for path in (folder, folder / "data", folder / "password"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
