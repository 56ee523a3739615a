"""`anchorcam deploy --provision` and `--fleet`: everything that a camera needs of its own."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.errors import UserError
from host_tools.deploy import fleet
from tests.brokers import BrokerProcess
from tests.deploy.bench import Bench


def data_of(broker: BrokerProcess) -> str:
    return str(Path(broker.ready["secrets"]).parent)


def test_an_account_a_password_and_a_key(bench: Bench, broker: BrokerProcess) -> None:
    secrets = bench.folder / "secrets.json"
    watcher = broker.endpoint().passwords["watcher"]
    secrets.write_text(json.dumps({"network_key": "31415926", "passwords": {"watcher": watcher}}))
    bench.config["camera"]["id"] = bench.config["brokers"][0]["user"] = "porch"
    bench.config["brokers"][0] |= {"client_cert": "porch.der", "client_key": "porch.key.der"}
    assert bench.deploy().status == 2
    done = bench.deploy("--provision", "--broker", data_of(broker))
    assert done.status == 0, done.out + done.err
    assert f"account porch of the test broker; its password is in {secrets.name}" in done.out
    assert "✓ first verified snapshot" in done.out
    for path in (secrets, bench.folder / "keys/porch.key.der"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    on_camera = json.loads((bench.flash / "secrets.json").read_text())
    assert on_camera["passwords"].keys() == {"porch"}
    assert (bench.flash / "keys/porch.key.der").exists()
    # What is there already stays.
    before = secrets.read_bytes()
    assert bench.deploy("--provision", "--broker", data_of(broker)).status == 0
    assert secrets.read_bytes() == before


def test_another_broker(bench: Bench, tmp_path: Path) -> None:
    bench.config["brokers"][0]["user"] = "attic"
    done = bench.deploy("--provision", "--broker", str(tmp_path / "none"), "--no-wait")
    assert done.status == 0, done.out + done.err
    assert "make this account at the broker" in done.out
    assert "cameras/cam1/" in done.out


def test_a_fleet(make_bench: Callable[..., Bench], broker: BrokerProcess) -> None:
    first, second = make_bench(), make_bench()
    rows = f"camera,port\nhall,{first.port}\nyard,{second.port}\nroof,\n"
    (first.folder / "fleet.csv").write_text(rows)
    # The second one has somebody's work on it.
    (second.flash / "main.py").write_text("print('mine')\n")
    command = ("deploy", "--fleet", "fleet.csv", "--provision", "--broker", data_of(broker))
    done = first.run(*command)
    assert done.status == 1
    assert "2 of 3 cameras done" in done.out
    assert "changed on the camera and not by anchorcam: main.py" in done.err
    assert done.err.strip().endswith("not done: yard; what is wrong stands above")
    done = first.run(*command, "--force")
    assert done.status == 0, done.out + done.err
    assert done.out.count("✓ first verified snapshot") == 2
    ids = [json.loads((each.flash / "config.json").read_text()) for each in (first, second)]
    assert [each["camera"]["id"] for each in ids] == ["hall", "yard"]
    secrets = [json.loads((each.flash / "secrets.json").read_text()) for each in (first, second)]
    assert [list(each["passwords"]) for each in secrets] == [["hall"], ["yard"]]
    assert json.loads((first.folder / "config-roof.json").read_text())["camera"]["id"] == "roof"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,port\na,b\n", "its first line must be"),
        ("camera\n", "has 0 cameras"),
        ("camera,port\nhall,\nno good,\n", "line 3: 'no good' is no camera id"),
        ("camera,port\nhall,\nhall,\n", "line 3: hall was there before"),
        ("camera,port\na,X\nb,X\n", "line 3: X is another camera's port already"),
    ],
)
def test_a_list_that_is_no_good(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=reason) as caught:
        fleet.read(path)
    assert caught.value.exit_code == 2
