"""`anchorcam anchor check --on-camera`: the camera's own verdict, and nothing is left on it."""

import json
from datetime import UTC, datetime

from tests.deploy.bench import Bench
from tests.host.commands import Done, anchorcam
from tests.scripted import self_signed


def check(bench: Bench, *arguments: str) -> Done:
    (bench.folder / "config.json").write_text(json.dumps(bench.config))
    return anchorcam(
        *("anchor", "check", "--on-camera", "--port", str(bench.port), *arguments),
        cwd=bench.folder,
    )


def test_a_camera_with_nothing_on_it(bench: Bench) -> None:
    before = bench.files()
    done = check(bench)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[1].split()[1:4] == ["root.der", "accepted", "leaf"]
    assert bench.files() == before


def test_a_camera_that_is_running_goes_on_afterwards(bench: Bench) -> None:
    assert bench.deploy("--no-wait").status == 0
    bench.line("listening for commands")
    before, seen = bench.files(), len(bench.console)
    assert check(bench).status == 0
    assert bench.files() == before
    bench.line("listening for commands", after=seen)


def test_refused_as_the_camera_says(bench: Bench) -> None:
    (bench.folder / "anchors/root.der").write_bytes(self_signed().der)
    done = check(bench, "--json")
    [verdict] = json.loads(done.out)["verdicts"]
    assert (done.status, verdict["code"]) == (2, "untrusted")


def test_a_day_to_come_by_the_camera_s_own_clock(bench: Bench) -> None:
    done = check(bench, "--at", "+1y", "--json")
    told = json.loads(done.out)
    assert (done.status, told["verdicts"][0]["code"]) == (2, "expired")
    assert datetime.fromisoformat(told["at"]) > datetime.now(UTC)


def test_a_name_that_the_camera_does_not_find(bench: Bench) -> None:
    bench.config["brokers"][0]["host"] = "nowhere.invalid"
    done = check(bench, "--json")
    [verdict] = json.loads(done.out)["verdicts"]
    assert (done.status, verdict["code"]) == (3, "dns")


def test_without_on_camera_there_is_no_port_to_name(bench: Bench) -> None:
    (bench.folder / "config.json").write_text(json.dumps(bench.config))
    done = anchorcam("anchor", "check", "--port", str(bench.port), cwd=bench.folder)
    assert done.status == 2
    assert "are for --on-camera" in done.err
