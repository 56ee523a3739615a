"""`anchorcam config check` and `anchorcam bundle`: settings, secrets and anchors."""

import json
import shutil
import ssl
import stat
from pathlib import Path

import pytest

from tests.host.commands import ROOT, anchorcam
from tests.scripted import self_signed


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the shipped config.json, good secrets and a good anchor."""
    shutil.copy(ROOT / "config.json", tmp_path)
    (tmp_path / "secrets.json").write_text(
        '{"network_key": "hush", "passwords": {"cam1": "s3cret", "watcher": "other"}}'
    )
    (tmp_path / "anchors").mkdir()
    (tmp_path / "anchors/test-root-x1.der").write_bytes(self_signed().der)
    return tmp_path


def test_good(project: Path) -> None:
    done = anchorcam("config", "check", cwd=project)
    assert (done.status, done.out, done.err) == (0, "config.json: good\n", "")


def test_every_problem_of_every_file_in_one_run(project: Path) -> None:
    config = json.loads((project / "config.json").read_text())
    config["camera"]["interval_s"] = "often"
    config["brokers"][0]["port"] = 99999
    (project / "config.json").write_text(json.dumps(config))
    (project / "secrets.json").unlink()
    anchor = project / "anchors/test-root-x1.der"
    anchor.write_text(ssl.DER_cert_to_PEM_cert(anchor.read_bytes()))
    done = anchorcam("config", "check", cwd=project)
    assert done.status == 2
    lines = done.err.splitlines()
    for words in (
        ('camera.interval_s is "often"', "a number from 0.05 to 86400 seconds"),
        ("brokers[0].port is 99999", "a whole number from 1 to 65535"),
        ("secrets.json: there is no such file", "anchorcam broker --secrets"),
        ("test-root-x1.der", "it is PEM", "openssl x509"),
    ):
        assert [line for line in lines if all(word in line for word in words)], (words, lines)


@pytest.mark.parametrize("text", ["", "{", '{"camera": {"id": "cam1"}', "not json"])
def test_config_that_is_not_json(project: Path, text: str) -> None:
    (project / "config.json").write_text(text)
    done = anchorcam("config", "check", cwd=project)
    assert done.status == 2
    assert done.err.startswith("config.json is not JSON")


def test_no_config(tmp_path: Path) -> None:
    done = anchorcam("config", "check", cwd=tmp_path)
    assert done.status == 2
    assert "config.json: there is no such file: name the config file" in done.err


def test_bundle_is_what_a_camera_needs_and_no_more(project: Path) -> None:
    assert anchorcam("bundle", "--into", "flash", cwd=project).status == 0
    flash = project / "flash"
    files = {str(path.relative_to(flash)) for path in flash.rglob("*") if path.is_file()}
    assert {"main.py", "camera/app.py", "lib/umqtt/simple.py", "anchors/test-root-x1.der"} < files
    assert "camera/main.py" not in files
    secrets = flash / "secrets.json"
    # Not the watcher's password: a camera that is stolen must not read the others.
    assert json.loads(secrets.read_text()) == {
        "network_key": "hush",
        "passwords": {"cam1": "s3cret"},
    }
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600


def test_bundle_without_the_anchor(project: Path) -> None:
    (project / "anchors/test-root-x1.der").unlink()
    done = anchorcam("bundle", cwd=project)
    assert done.status == 2
    assert "test-root-x1.der cannot be read" in done.err
    assert not (project / "build").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MICROPYTHON", "no-such-program", "there is no such program"),
        ("MICROPYTHON", "true", "it cannot be a camera"),
        ("UMQTT_SIMPLE", "no-such-file", "there is no such file"),
    ],
)
def test_another_build_that_is_of_no_use(name: str, value: str, words: str) -> None:
    done = anchorcam("setup", **{name: value})
    assert done.status == 3
    assert f"{name}={value}: {words}" in done.err
