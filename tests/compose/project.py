"""The project as `docker compose` sees it: a clean copy, with names and ports of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.compose.engine import BASE_IMAGE, Engine
from tests.compose.shell import Failure, run, say

_REPOSITORY = Path(__file__).resolve().parents[2]
_PARTS = ("compose.yaml", ".dockerignore", "requirements.lock", "broker", "camera")
# In the copy only: it must not get into the image.
DECOY = "broker/decoy.key"

_BUILD_LIMIT_S = 300
_UP_LIMIT_S = 60


class Project:
    """The compose project in `folder`. Methods raise Failure."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.folder = folder
        self.name = f"anchorcam-test-{os.getpid()}"
        self.port, self.rsa_port, self.clock_port = _free_ports()
        settings = {
            "ANCHORCAM_PORT": str(self.port),
            "ANCHORCAM_RSA_PORT": str(self.rsa_port),
            "ANCHORCAM_CLOCK_PORT": str(self.clock_port),
            "BASE_IMAGE": BASE_IMAGE,
            "PIP_INDEX_URL": _index_addresses("index-url"),
            "PIP_EXTRA_INDEX_URL": _index_addresses("extra-index-url"),
        }
        # As shipped: a developer's own settings are not what is tested.
        ours = ("ANCHORCAM_", "COMPOSE_")
        inherited = {k: v for k, v in engine.env.items() if not k.startswith(ours)}
        self._env = inherited | settings
        self._engine = engine

    def prepare(self) -> None:
        """Copy what the build needs, and write what only the test changes."""
        for part in _PARTS:
            source, target = _REPOSITORY / part, self.folder / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        (self.folder / DECOY).write_text("not for the image\n")
        authorities = _authorities_file()
        if authorities:
            shutil.copy(authorities, self.folder / "broker/extra-ca.crt")
        broker: dict[str, Any] = {
            # Neither replaces nor removes an image that the user built.
            "image": self.name,
            "healthcheck": {"interval": "2s", "timeout": "5s", "retries": 2},
        }
        if self._engine.private:
            broker["build"] = {"network": "host"}
        (self.folder / "test.json").write_text(json.dumps({"services": {"broker": broker}}))

    def compose(self, *arguments: str, limit_s: float = 60) -> str:
        """Run docker compose, or docker-compose."""
        command = [*self._engine.compose, "--project-name", self.name]
        command += ["--file", "compose.yaml", "--file", "test.json", *arguments]
        return run(command, env=self._env, cwd=self.folder, limit_s=limit_s)

    def docker(self, *arguments: str | Path) -> str:
        """Run docker; its output without warnings."""
        return run(["docker", *arguments], env=self._env, separate=True)

    def build(self) -> None:
        """Build the image of the broker."""
        self.compose("build", "broker", limit_s=_BUILD_LIMIT_S)

    def up(self) -> None:
        """Start the broker and wait until its own health check is content."""
        self.compose("up", "-d", "broker", limit_s=_UP_LIMIT_S)
        self.wait_for_health("healthy")

    def wait_for_health(self, wanted: str) -> None:
        """Wait until the container is "healthy" or "unhealthy"."""
        deadline = time.monotonic() + _UP_LIMIT_S
        state: dict[str, Any] = {}
        while time.monotonic() < deadline:
            state = self.inspect()["State"]
            if state["Health"]["Status"] == wanted and state["Running"]:
                return
            time.sleep(0.3)
        checks = state.get("Health", {}).get("Log") or [{"Output": "(no health check ran)"}]
        raise Failure(
            f"the broker's container did not become {wanted} within {_UP_LIMIT_S} s, it is "
            f"{state.get('Status')}, {state.get('Health', {}).get('Status')}; its last health "
            f"check said: {checks[-1]['Output'].strip()}; the container printed:\n{self.logs()}"
        )

    def container(self) -> str:
        """The id of the broker's container."""
        found = self.docker("ps", "--all", "--quiet", *self._label()).split()
        if len(found) != 1:
            raise Failure(f"expected one container of the broker, found {len(found)}")
        return found[0]

    def inspect(self) -> dict[str, Any]:
        """What the engine knows about the broker's container."""
        described: list[dict[str, Any]] = json.loads(self.docker("inspect", self.container()))
        return described[0]

    def logs(self) -> str:
        """What the container printed."""
        return self.compose("logs", "broker")

    def python(self, script: str) -> str:
        """Run a Python script in the broker's container."""
        return self.docker("exec", self.container(), "python", "-c", script)

    def copy_out(self, path: str, target: Path) -> None:
        """`docker compose cp broker:<path> <target>`; docker-compose 1 leaves that to docker."""
        if self._engine.compose[-1] == "compose":
            self.compose("cp", f"broker:{path}", str(target))
        else:
            self.docker("cp", f"{self.container()}:{path}", target)

    def down(self, *, everything: bool = False) -> None:
        """Remove the containers and the network; with everything, volume and image too."""
        rest = ["--volumes", "--rmi", "all"] if everything else []
        self.compose("down", *rest)

    def _label(self) -> list[str]:
        labels = {"project": self.name, "service": "broker"}
        return [
            word
            for key, value in labels.items()
            for word in ("--filter", f"label=com.docker.compose.{key}={value}")
        ]


@contextmanager
def project(engine: Engine, folder: Path) -> Iterator[Project]:
    """The project, prepared in folder; nothing of it is left in the engine afterwards."""
    ours = Project(engine, folder)
    ours.prepare()
    try:
        yield ours
    except BaseException:
        try:
            ours.down(everything=True)
        except Failure as error:
            # The first fault is the one to report; this is likely to follow from it.
            say(f"and then: {error}")
        raise
    ours.down(everything=True)


def _free_ports() -> tuple[int, int, int]:
    """Ports of 127.0.0.1 that nobody has now: two of TCP and one of UDP."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
    sockets = [socket.socket(socket.AF_INET, kind) for kind in kinds]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        first, second, third = (each.getsockname()[1] for each in sockets)
        return first, second, third
    finally:
        for each in sockets:
            each.close()


def _pip_setting(name: str) -> str:
    """What pip on this machine is set to, by environment or configuration file; "" if nothing."""
    value = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    if value:
        return value
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _index_addresses(name: str) -> str:
    # A file: address of this machine means nothing in a container.
    return " ".join(word for word in _pip_setting(name).split() if word.startswith("http"))


def _authorities_file() -> Path | None:
    """The certificate authorities that this machine was told to believe for packages, if any."""
    told = [_pip_setting("cert")]
    told += [os.environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    return next((Path(name) for name in told if name and Path(name).is_file()), None)
