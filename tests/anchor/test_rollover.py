"""`anchorcam anchor rollover`: the root to come, with a real camera's birth in a real ledger."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import BrokerProcess, wait_for
from tests.cameras import CameraUnderTest
from tests.host.commands import ROOT, Done, anchorcam
from tests.packets import DEADLINE_S


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the shipped config.json, trusting ISRG Root X1."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "config.json", folder)
    assert anchorcam("anchor", "fetch", "isrgrootx1", cwd=folder).status == 0
    configure(folder, "isrg-root-x1.der")
    return folder


def configure(folder: Path, *anchors: str, **more: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["brokers"][0] |= {"anchors": list(anchors), **more}
    (folder / "config.json").write_text(json.dumps(config))


@contextlib.contextmanager
def watching(folder: Path) -> Iterator[None]:
    """`anchorcam watch` in this folder."""
    watcher = subprocess.Popen(
        [sys.executable, "-m", "host_tools", "watch"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        watcher.terminate()
        assert watcher.wait(DEADLINE_S) in (0, 130)


def rollover(folder: Path, *arguments: str) -> Done:
    done = anchorcam("anchor", "rollover", *arguments, cwd=folder)
    assert done.err == ""
    return done


def test_what_lets_encrypt_has_announced(project: Path) -> None:
    done = rollover(project)
    assert done.status == 1
    for words in (
        "today        ISRG Root X1 (isrg-root-x1.der), until 2030-06-04: root programs end",
        "next         ISRG Root YE, https://letsencrypt.org/certificates/",
        "next         ISRG Root YR, https://letsencrypt.org/certificates/",
        'to do        1. anchorcam anchor fetch "ISRG Root YE"',
        '2. add "isrg-root-ye.der" behind the anchors of localhost:8883 in config.json',
        "cameras      none is known",
        "before       2030-06-04",
    ):
        assert words in done.out, done.out


def test_a_ca_that_has_announced_nothing(project: Path) -> None:
    assert anchorcam("anchor", "fetch", "Amazon Root CA 1", cwd=project).status == 0
    configure(project, "amazon-root-ca-1.der")
    done = rollover(project)
    assert done.status == 0
    assert "has announced another root" in done.out


def test_a_next_root_that_is_none(project: Path) -> None:
    done = anchorcam("anchor", "rollover", "--next", "Amazon", cwd=project)
    assert (done.status, done.out) == (2, "")
    assert "neither a published root nor a file" in done.err


def test_a_camera_that_lacks_the_root_and_then_has_it(
    project: Path,
    zoo: BrokerProcess,
    zoo_data: Path,
    make_camera: Callable[..., CameraUnderTest],
) -> None:
    """From the first plan to the last: sent over the air, told in the birth, kept in the ledger."""
    roots = zoo_data / "anchors"
    shutil.copytree(roots, project / "anchors", dirs_exist_ok=True)
    shutil.copy(zoo.ready["secrets"], project / "secrets.json")
    configure(project, "test-root-x1.der", port=zoo.ready["ecdsa"]["port"])
    camera = make_camera(zoo)
    camera.config["camera"]["accept_anchors"] = True
    camera.power_on()
    camera.line("listening for commands")

    def plan() -> Any:
        done = rollover(project, "--next", str(roots / "test-root-ye.der"), "--json")
        [step] = json.loads(done.out)
        return done.status, step

    with watching(project):
        status, step = wait_for(lambda: (told := plan())[1]["cameras"] and told, "the birth", 60)
        assert (status, step["cameras"]) == (1, {"cam1": False})
        shown = rollover(project, "--next", str(roots / "test-root-ye.der")).out
        assert "cameras      0 of 1 have it" in shown
        assert "deploy, or: anchorcam anchor send cam1 anchors/test-root-ye.der" in shown

        sent = anchorcam("anchor", "send", "cam1", "anchors/test-root-ye.der", cwd=project)
        assert sent.status == 0, sent.err
        # The birth message tells, and the next one comes with the next connection.
        assert anchorcam("ask", "cam1", "reboot", cwd=project).status == 0
        configure(project, "test-root-x1.der", "test-root-ye.der")
        status, step = wait_for(
            lambda: (told := plan())[1]["cameras"] == {"cam1": True} and told, "the new birth", 60
        )
        assert (status, step["done"]) == (0, True)
