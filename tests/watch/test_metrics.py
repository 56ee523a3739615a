"""/metrics as Prometheus reads it, and the example alerts against it."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from broker.errors import UserError
from camera import topics
from host_tools.cache import cache_folder
from host_tools.virtual_camera.debian import fetch_packages
from tests.brokers import REPOSITORY, wait_for
from tests.watch.cameras import flipped, health, stamped, state
from tests.watch.conftest import Publisher, Watch
from tests.watch.page import Site

ALERTS = REPOSITORY / "docs/alerts.yaml"

Samples = dict[tuple[str, str], float]


def scrape(site: Site) -> tuple[Samples, set[str]]:
    """Values by (name, camera) and, where there is one, certificate; and all names."""
    said = site.ask("/metrics")
    assert said.status == 200
    samples: Samples = {}
    for family in text_string_to_metric_families(said.body.decode()):
        for sample in family.samples:
            labels = sample.labels
            where = labels.get("camera", "") + "".join(
                f"/{labels[name]}" for name in ("certificate", "le") if name in labels
            )
            samples[sample.name, where] = sample.value
    return samples, {name for name, _ in samples}


@pytest.fixture
def site(watch: Watch, config: Path) -> Site:
    return Site.of(watch(config, "--web", "--web-port=0", "--reorder=0").connected())


def test_what_is_measured(site: Site, publisher: Publisher) -> None:
    camera = publisher.camera
    publisher.send(state("online"), kind=topics.STATE)
    publisher.send(*(stamped(camera, seq) for seq in (1, 1, 2, 4, 9)))
    publisher.send(flipped(stamped(camera, 10)), b"no JPEG")
    publisher.send(
        health(1, 10, drops=[[1, 5, 6, "full"]], spooled=3, leaf_days=10, chain_days=[99, 40, "x"]),
        kind=topics.HEALTH,
    )

    def value(name: str, part: str = "") -> float | None:
        return scrape(site)[0].get((f"anchorcam_{name}", camera + part))

    wait_for(lambda: value("spooled_snapshots") == 3, "the health message")
    for name, wanted in {
        "snapshots_received_total": 4,
        "snapshots_duplicate_total": 1,
        "snapshots_corrupt_total": 1,
        "snapshots_unverifiable_total": 1,
        "snapshots_missing": 3,
        "snapshots_dropped": 2,
        "latency_seconds_count": 4,
        "online": 1,
    }.items():
        assert value(name) == wanted, name
    seen = value("last_seen_timestamp_seconds")
    leaf = value("certificate_expiry_timestamp_seconds", "/leaf")
    chain = value("certificate_expiry_timestamp_seconds", "/chain")
    assert seen
    assert leaf
    assert chain
    assert leaf == pytest.approx(seen + 10 * 86400, abs=60)
    assert chain == pytest.approx(seen + 40 * 86400, abs=60)
    assert value("certificate_expiry_timestamp_seconds", "/anchor") is None
    # Late is no longer missing, and no counter ever falls.
    publisher.send(stamped(camera, 3))
    wait_for(lambda: value("snapshots_received_total") == 5, "the late one")
    assert value("snapshots_missing") == 2
    assert value("latency_seconds_bucket", "/+Inf") == 5


def test_labels_are_bounded_whatever_a_camera_sends(site: Site, publisher: Publisher) -> None:
    publisher.send(stamped(publisher.camera, 1))
    publisher.send(
        health(1, 1, anchor="x" * 40, spooled="9", leaf_days=10**30, chain_days=["a"] * 500),
        health(1, 1, last_error='"} evil{x="', drops=[[1, 9, 9, 'a"b\\\n']]),
        kind=topics.HEALTH,
    )
    wait_for(
        lambda: scrape(site)[0].get(("anchorcam_snapshots_dropped", publisher.camera)),
        "the last health message",
    )
    text = site.ask("/metrics").body.decode()
    assert "evil" not in text
    labels = set(re.findall(r'(\w+)="', text))
    assert labels == {"camera", "le"}


def test_the_example_alerts_are_about_what_there_is(site: Site, publisher: Publisher) -> None:
    publisher.send(state("online"), kind=topics.STATE)
    publisher.send(stamped(publisher.camera, 1))
    publisher.send(health(1, 1, leaf_days=1, spooled=0), kind=topics.HEALTH)
    name = "anchorcam_certificate_expiry_timestamp_seconds"
    wait_for(lambda: name in scrape(site)[1], "all metrics")
    _, names = scrape(site)
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} >= {"CertificateExpires", "CameraSilent"}
    for rule in rules:
        used = set(re.findall(r"anchorcam_\w+", rule["expr"]))
        assert used
        assert used <= names, rule["alert"]
        assert rule["annotations"]["summary"]


def test_prometheus_itself_accepts_the_alerts() -> None:
    try:
        root = fetch_packages(("prometheus",), None, cache_folder("prometheus"))
    except (UserError, OSError) as error:
        message = f"no promtool to ask: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    promtool = root / "usr/bin/promtool"
    done = subprocess.run(
        [str(promtool), "check", "rules", str(ALERTS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
