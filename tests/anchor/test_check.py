"""`anchorcam anchor check`: mbedTLS's verdict for config.json, today and on a day to come."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.anchor.conftest import Desk
from tests.host.commands import ROOT, anchorcam

pytestmark = pytest.mark.xdist_group("zoo")


def configure(desk: Desk, *brokers: dict[str, Any]) -> None:
    """config.json as shipped, with these brokers."""
    config = json.loads((ROOT / "config.json").read_text())
    config["brokers"] = [{"host": "localhost", "user": "cam1", **broker} for broker in brokers]
    (desk.folder / "config.json").write_text(json.dumps(config))
    shutil.copytree(desk.roots, desk.folder / "anchors", dirs_exist_ok=True)


def broker(desk: Desk, row: str, *anchors: str) -> dict[str, Any]:
    return {"port": desk.port(row), "anchors": list(anchors or ("test-root-x1.der",))}


def test_all_is_well(desk: Desk) -> None:
    configure(desk, broker(desk, "ecdsa"), broker(desk, "other-ca", "test-other-root.der"))
    done = desk.anchor("check")
    assert (done.status, done.err) == (0, "")
    head, first, second = done.out.splitlines()
    assert head.split() == ["broker", "anchor", "a", "camera", "expires", "first", "days"]
    assert first.split()[:4] == [desk.server("ecdsa"), "test-root-x1.der", "accepted", "leaf"]
    assert second.split()[:3] == [desk.server("other-ca"), "test-other-root.der", "accepted"]


def test_something_expires_soon(desk: Desk) -> None:
    configure(desk, broker(desk, "ecdsa"))
    assert desk.anchor("check", "--warn-days", "80").status == 0
    assert desk.anchor("check", "--warn-days", "100").status == 1


def test_a_day_to_come_is_asked_of_mbedtls_s_own_clock(desk: Desk) -> None:
    configure(desk, broker(desk, "ecdsa"))
    assert desk.anchor("check", "--at", "+60d").status == 0
    assert desk.anchor("check", "--at", "+80d").status == 1
    done = desk.anchor("check", "--at", "+1y")
    assert done.status == 2
    assert "mbedTLS      The certificate validity has expired" in done.out
    assert "leaf 2" in done.out
    assert desk.anchor("check", "--at", "2000-01-01").status == 2


@pytest.mark.parametrize(
    ("row", "code", "remedy"),
    [
        ("expired", "expired", "renew what has expired"),
        ("wrong-name", "name_mismatch", "put a name of its certificate into `host`"),
        ("other-ca", "untrusted", "its chain leads to (TEST) Other Root: `anchorcam anchor fetch"),
        ("not-yet-valid", "not_yet_valid", "is it the clock"),
        ("tls-1.3", "tls", "shows what a camera cannot do there"),
        ("plain-mqtt", "broker_closed", "does it speak TLS on this port?"),
    ],
)
def test_refused_with_reason_and_remedy(desk: Desk, row: str, code: str, remedy: str) -> None:
    configure(desk, broker(desk, "ecdsa"), broker(desk, row))
    done = desk.anchor("check", "--roots", str(desk.roots))
    assert done.status == 2
    assert f"reason       {code}: " in done.out
    assert remedy in done.out


def test_an_anchor_that_is_not_there(desk: Desk) -> None:
    configure(desk, broker(desk, "ecdsa", "test-root-x1.der", "none.der"))
    done = desk.anchor("check")
    assert done.status == 2
    assert "anchors/none.der cannot be read: No such file or directory" in done.out


def test_an_anchor_that_is_none(desk: Desk) -> None:
    configure(desk, broker(desk, "ecdsa", "broken.der"))
    (desk.folder / "anchors/broken.der").write_bytes(b"broken")
    done = desk.anchor("check")
    assert done.status == 2
    assert "reason       anchor: " in done.out


def test_a_pin_on_top_of_the_anchor(desk: Desk) -> None:
    pins = json.loads(desk.anchor("pin", desk.server("ecdsa"), "--json").out)
    for right in pins.values():
        configure(desk, {**broker(desk, "ecdsa"), "pin_sha256": ["00" * 32, right]})
        assert desk.anchor("check").status == 0
    configure(desk, {**broker(desk, "ecdsa"), "pin_sha256": ["00" * 32]})
    done = desk.anchor("check")
    assert done.status == 2
    assert "reason       pin_mismatch: " in done.out
    assert f"`anchorcam anchor pin {desk.server('ecdsa')}`" in done.out


def test_a_broker_that_wants_the_camera_s_certificate(desk: Desk, zoo_data: Path) -> None:
    configure(desk, broker(desk, "mutual-tls"))
    assert desk.anchor("check").status == 2
    made = anchorcam("device-cert", "cam1", "--data", str(zoo_data), cwd=desk.folder)
    assert made.status == 0, made.err
    own = {"client_cert": "cam1.der", "client_key": "cam1.key.der"}
    configure(desk, {**broker(desk, "mutual-tls"), **own})
    done = desk.anchor("check")
    assert done.status == 0, done.out
    (desk.folder / "keys/cam1.key.der").unlink()
    done = desk.anchor("check")
    assert done.status == 2
    assert "reason       client_cert: " in done.out


def test_a_spare_anchor_is_no_failure(desk: Desk) -> None:
    """A camera goes on to the next: this is how a root is rolled over."""
    configure(desk, broker(desk, "ecdsa", "test-other-root.der", "test-root-x1.der"))
    done = desk.anchor("check", "--json")
    spare, good = json.loads(done.out)["verdicts"]
    assert done.status == 0
    assert (spare["code"], spare["spare"]) == ("untrusted", True)
    assert (good["code"], good["spare"]) == ("accepted", False)


def test_a_broker_that_cannot_be_asked(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configure(desk, {"port": port, "anchors": ["test-root-x1.der"]})
    done = desk.anchor("check")
    assert done.status == 3
    assert "is it the right port, does the broker run?" in done.out


def test_a_name_that_is_not_found(desk: Desk) -> None:
    configure(desk, {"host": "nowhere.invalid", "port": 1, "anchors": ["test-root-x1.der"]})
    done = desk.anchor("check", "--json")
    assert (done.status, json.loads(done.out)["verdicts"][0]["code"]) == (3, "dns")


def test_settings_that_are_wrong(desk: Desk) -> None:
    configure(desk, {"port": 0, "anchors": []})
    done = desk.anchor("check")
    assert (done.status, done.out) == (2, "")
    assert "brokers[0].port is 0" in done.err
    assert desk.anchor("check", "nothing.json").status == 2


@pytest.mark.parametrize("day", ["soon", "+60", "2027-13-01", "+99999y"])
def test_a_day_that_is_none(desk: Desk, day: str) -> None:
    configure(desk, broker(desk, "ecdsa"))
    done = desk.anchor("check", "--at", day)
    assert (done.status, done.out) == (2, "")
    assert "give it as 2027-03-01, +60d, +12w or +1y" in done.err
