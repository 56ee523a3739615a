"""`anchorcam doctor`: what it says of a way that is open, and where it is barred."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.brokers import BrokerProcess, running_broker
from tests.deploy.bench import Bench
from tests.scripted import self_signed


def findings(bench: Bench) -> tuple[int, dict[str, str]]:
    """The exit code, and of each step its mark and text (of the last, where there are several)."""
    done = bench.run("doctor", "--port", str(bench.port))
    steps = {}
    for line in done.out.splitlines():
        if line[0] in "✓✗·":
            step, _, text = line[2:].partition("  ")
            steps[step] = f"{line[0]} {text.strip()}"
    return done.status, steps


@pytest.fixture
def deployed(bench: Bench) -> Bench:
    assert bench.deploy("--no-wait").status == 0
    return bench


def test_an_open_way(deployed: Bench) -> None:
    status, steps = findings(deployed)
    assert status == 0, steps
    assert list(steps) == [
        *("port", "firmware", "deployed", "config", "Wi-Fi seen", "link", "NTP", "DNS"),
        *("TCP and TLS", "MQTT login", "ACL", "payload", "watcher sees it"),
    ]
    assert "verified by mbedTLS with root.der" in steps["TCP and TLS"]
    assert "1,048,576 bytes" in steps["payload"]
    # Afterwards it works as before.
    deployed.line("connected to localhost", after=len(deployed.console) - 3)


def test_no_network(deployed: Bench) -> None:
    deployed.board.set_link(up=False)
    status, steps = findings(deployed)
    assert status == 1
    assert steps["Wi-Fi seen"].startswith("✗ test is not among (none)")
    assert steps["link"].startswith("✗ link:")
    assert "NTP" not in steps
    # From here the broker can be reached all the same.
    assert steps["MQTT login"].startswith("✓")


def test_the_wrong_anchor(deployed: Bench) -> None:
    other = self_signed().der
    for folder in (deployed.folder, deployed.flash):
        (folder / "anchors/root.der").write_bytes(other)
    status, steps = findings(deployed)
    assert status == 1
    assert steps["deployed"].startswith("✓")
    assert steps["TCP and TLS"].startswith("✗")
    assert "untrusted" in steps["TCP and TLS"]


def test_the_wrong_password(deployed: Bench) -> None:
    path = deployed.folder / "secrets.json"
    secrets = json.loads(path.read_text())
    secrets["passwords"]["cam1"] = "27182818"
    path.write_text(json.dumps(secrets))
    status, steps = findings(deployed)
    assert status == 1
    assert steps["deployed"].endswith("files are other: secrets.json")
    assert steps["MQTT login"].startswith("✗")
    assert "cam1" in steps["MQTT login"]
    assert "27182818" not in "".join(steps.values())


@pytest.fixture
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker that passes on no more than AWS IoT Core does."""
    with running_broker(tmp_path_factory.mktemp("narrow"), "--max-packet", "131072") as broker:
        yield broker


def test_a_broker_that_passes_on_only_what_is_small(
    make_bench: Callable[..., Bench], narrow: BrokerProcess
) -> None:
    bench = make_bench(broker=narrow)
    status, steps = findings(bench)
    assert status == 1
    assert steps["deployed"].startswith("✗")
    assert steps["payload"].startswith("✗ 65,536 bytes are passed on, 131,072 are not")
