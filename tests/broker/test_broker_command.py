"""`python -m broker`, as a user meets it."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.authority import Authority
from broker.command import main
from tests.brokers import REPOSITORY, BrokerProcess, running_broker, wait_for
from tests.packets import publish
from tests.scripted import self_signed

FREE = ("--port=0", "--rsa-port=0", "--clock-port=0")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """A command that ends by itself, in this process: its status, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        status = ended.value.code
        assert isinstance(status, int)
        return status, *capfd.readouterr()

    return run


def one_line(done: tuple[int, str, str], status: int = 1) -> str:
    """What it said on stderr, which must be one line with our name and no traceback."""
    assert done[:2] == (status, "")
    assert re.fullmatch(r"anchorcam broker: [^\n]+\n", done[2]), done[2]
    return done[2]


def lines_of(process: subprocess.Popen[str], last: str) -> list[str]:
    """The lines of its stdout up to the one that begins with last."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(last):
            return lines
    raise AssertionError(f"no line {last}; there are {lines}")


class TestServe:
    def test_ready_line_and_events(self, data: Path) -> None:
        with running_broker(data, "--camera=cam1", "--camera=garden") as broker:
            ready = broker.ready
            assert list(ready) == ["event", "ecdsa", "rsa", "clock", "anchors", "secrets"]
            assert ready["event"] == "ready"
            assert ready["secrets"] == str(data / "secrets.json")
            assert ready["anchors"][0]["path"] == str(data / "anchors" / "test-root-x1.der")
            assert re.fullmatch("[0-9a-f]{64}", ready["anchors"][0]["sha256"])
            for name in ("ecdsa", "rsa"):
                assert ready[name]["host"] == "127.0.0.1"
                endpoint = broker.endpoint(name)
                assert set(endpoint.passwords) == {"cam1", "garden", "watcher"}
                endpoint.raw("garden", client_id=f"garden/{name}").leave()
                event = broker.event("connect", client=f"garden/{name}", listener=name)
                assert event["account"] == "garden"
                broker.event("disconnect", client=f"garden/{name}", reason="by the client")

    def test_a_listener_for_devices(self, data: Path) -> None:
        with running_broker(data, "--device-port=0") as broker:
            assert list(broker.ready)[1:4] == ["ecdsa", "rsa", "device"]
            endpoint = broker.endpoint("device")
            with pytest.raises((OSError, EOFError)):
                endpoint.raw("cam1")
            event = broker.event("refused", listener="device")
            assert event["reason"] == "TLS: peer did not return a certificate"

    def test_readable_lines(self, data: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "--data", str(data), *FREE],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            lines = lines_of(process, "stop")
            assert [line.split()[0] for line in lines] == [
                "ECDSA",
                "RSA",
                "clock",
                "anchor",
                "SHA-256",
                "passwords",
                "stop",
            ]
            assert "leaf <- YE1 <- YE <- X2 (<- X1, the anchor)" in lines[0]
            assert str(data / "anchors/test-root-x1.der") in lines[3]
            assert str(data / "secrets.json") in lines[5]
            port = re.search(r"127\.0\.0\.1:(\d+)", lines[0])
            assert port
            with socket.create_connection(("127.0.0.1", int(port[1])), timeout=20) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                client.recv(100)
        finally:
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert said == ""
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d refused    from 127\.0\.0\.1:\d+ on ecdsa - TLS: http request\n",
            errors,
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stops_whatever_clients_do(self, data: Path, number: int) -> None:
        broker = BrokerProcess(data)
        endpoint = broker.endpoint()
        idle = endpoint.raw("watcher", keepalive=0)
        half = endpoint.raw("cam1")
        half.send(publish("cameras/cam1/jpeg", bytes(1000))[:500])
        silent = socket.create_connection(("127.0.0.1", endpoint.port))
        began = time.monotonic()
        assert broker.stop(number) == (0, "")
        assert time.monotonic() - began < 5
        idle.wait_closed()
        silent.close()

    def test_restart_keeps_everything(self, data: Path) -> None:
        with running_broker(data) as broker:
            first = broker.ready["anchors"], broker.endpoint().passwords
        with running_broker(data, "--camera=cam2") as broker:
            assert broker.ready["anchors"] == first[0]
            passwords = broker.endpoint().passwords
            assert first[1].items() <= passwords.items()
            broker.endpoint().raw("cam1").leave()

    def test_killed_and_started_again(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        for delay in (0.3, 0.6, 0.9):
            process = subprocess.Popen(
                [sys.executable, "-m", "broker", "--json", "--data", str(data), *FREE],
                cwd=REPOSITORY,
                stdout=subprocess.DEVNULL,
            )
            time.sleep(delay)  # anywhere: the test is that it does not matter where
            process.kill()
            process.wait()
        with running_broker(data) as broker:
            broker.endpoint().raw("cam1").leave()
            anchor = broker.ready["anchors"]
        with running_broker(data) as broker:
            assert broker.ready["anchors"] == anchor

    def test_modes_under_umask_0(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        old = os.umask(0)
        try:
            broker = BrokerProcess(data)
        finally:
            os.umask(old)
        broker.stop()
        modes = {
            str(path.relative_to(data)): stat.S_IMODE(path.stat().st_mode)
            for path in [data, *data.rglob("*")]
        }
        public = {name: modes.pop(name) for name in ("anchors", "anchors/test-root-x1.der")}
        assert public["anchors/test-root-x1.der"] == 0o644
        assert {m for name, m in modes.items() if name in (".", "authority")} == {0o700}
        assert {m for name, m in modes.items() if name not in (".", "authority")} == {0o600}

    def test_other_places_names_prefix_and_limit(self, data: Path, tmp_path: Path) -> None:
        secrets = tmp_path / "flash" / "secrets.json"
        secrets.parent.mkdir()
        secrets.write_text('{"network_key": "wifi"}')
        with running_broker(
            data,
            f"--anchors={tmp_path / 'flash' / 'anchors'}",
            f"--secrets={secrets}",
            "--name=127.0.0.1",
            "--prefix=site/cams",
            "--max-packet=2000",
        ) as broker:
            assert (tmp_path / "flash/anchors/test-root-x1.der").exists()
            contents = json.loads(secrets.read_text())
            assert contents["network_key"] == "wifi"
            local = broker.endpoint()
            endpoint = type(local)(local.port, local.anchor, local.passwords, "127.0.0.1")
            watcher = endpoint.raw("watcher")
            watcher.subscribe(("site/cams/#", 0))
            camera = endpoint.raw("cam1")
            camera.send(publish("site/cams/cam1/jpeg", b"picture"))
            assert watcher.message().payload == b"picture"
            camera.send(publish("site/cams/cam1/jpeg", bytes(2000)))
            camera.wait_closed()
            broker.event("disconnect", client="cam1")

    def test_as_a_name_on_the_network(self, data: Path) -> None:
        with running_broker(data, "--bind=0.0.0.0", "--name=localhost") as broker:
            assert broker.ready["ecdsa"]["host"] == "0.0.0.0"  # noqa: S104
            broker.endpoint().raw("cam1").leave()


class TestErrors:
    @pytest.mark.parametrize("option", ["--port", "--rsa-port", "--clock-port"])
    def test_a_port_in_use(self, run: Run, data: Path, option: str) -> None:
        kind = socket.SOCK_DGRAM if option == "--clock-port" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            port = taken.getsockname()[1]
            done = run("--data", str(data), *FREE, f"{option}={port}")
        assert one_line(done) == (
            f"anchorcam broker: cannot listen on 127.0.0.1 port {port}: address already in use; "
            f"stop the program that uses it, or choose another with {option} (0: any free) "
            "or --bind\n"
        )

    def test_an_address_that_is_not_ours(self, run: Run, data: Path) -> None:
        done = run("--data", str(data), *FREE, "--bind=192.0.2.1")
        assert "cannot listen on 192.0.2.1 port 0: cannot assign" in one_line(done)

    def test_an_address_that_is_none(self, run: Run, data: Path) -> None:
        done = run("--data", str(data), *FREE, "--bind=no such host")
        assert "cannot listen on no such host port 0" in one_line(done)

    @pytest.mark.parametrize("option", ["--data", "--anchors", "--secrets"])
    def test_a_place_that_cannot_be_written(
        self, run: Run, data: Path, tmp_path: Path, option: str
    ) -> None:
        (tmp_path / "file").touch()
        where = str(tmp_path / "file" / "below")
        done = run("--data", str(data), *FREE, option, where)
        said = one_line(done)
        assert re.search(r": Not a directory; make (it|the folder) (read|writ)able", said)
        assert said.endswith(f" with {option}\n")

    def test_a_second_broker_on_the_same_data(self, run: Run, data: Path) -> None:
        with running_broker(data):
            done = run("--data", str(data), *FREE)
        assert "another broker uses the data folder" in one_line(done)

    @pytest.mark.parametrize(
        ("name", "message", "status"),
        [
            ("accounts.json", "is damaged: remove it", 1),
            ("secrets.json", "is not JSON: mend it", 2),
            ("authority/x1.pem", "is not a certificate; restore it", 1),
        ],
    )
    def test_a_damaged_file(
        self, run: Run, data: Path, name: str, message: str, status: int
    ) -> None:
        (data / name).write_text("{")
        done = run("--data", str(data), *FREE)
        assert message in one_line(done, status)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--name", "mqtts://x"], "neither a host name nor an IP address"),
            (["--prefix", "a/#"], "--prefix 'a/#' is not usable"),
            (["--camera", "a b"], "'a b' cannot be an account"),
            (["--camera", "watcher"], "--camera watcher: this account is the watchers'"),
            (["account", "a/b"], "'a/b' cannot be an account"),
        ],
    )
    def test_values_that_are_wrong(
        self, run: Run, data: Path, arguments: list[str], message: str
    ) -> None:
        where = ["--data", str(data)]
        done = run(*arguments, *where) if arguments[0] == "account" else run(*where, *arguments)
        assert message in one_line(done, 2)

    @pytest.mark.parametrize("arguments", [["--port", "x"], ["--port", "65536"], ["account"]])
    def test_usage(self, run: Run, arguments: list[str]) -> None:
        status, said, errors = run(*arguments)
        assert (status, said) == (2, "")
        assert errors.startswith("Usage: anchorcam broker")


class TestAccount:
    def test_makes_an_account(self, run: Run, tmp_path: Path) -> None:
        data, secrets = tmp_path / "data", tmp_path / "secrets.json"
        done = run(
            *("account", "tower", "--role", "watcher"),
            *("--data", str(data), "--secrets", str(secrets)),
        )
        said = f"account tower (watcher) is ready; its password is in {secrets}\n"
        assert done == (0, said, "")
        assert len(json.loads(secrets.read_text())["passwords"]["tower"]) == 32
        assert json.loads((data / "accounts.json").read_text())["accounts"]["tower"]["role"] == (
            "watcher"
        )

    def test_options_before_its_name(self, run: Run, tmp_path: Path) -> None:
        data, secrets = tmp_path / "data", tmp_path / "secrets.json"
        status, *_ = run("--data", str(data), "--secrets", str(secrets), "account", "tower")
        assert status == 0
        assert (data / "accounts.json").exists()
        assert secrets.exists()


class TestHealth:
    def test_a_healthy_broker(self, run: Run, data: Path) -> None:
        with running_broker(data) as broker:
            port = str(broker.ready["ecdsa"]["port"])
            done = run("health", "--data", str(data), "--port", port)
            wait_for(lambda: broker.event("disconnect", reason="by the client"), "its leave")
        said = f"the broker at localhost port {port} answers: TLS verified, account accepted\n"
        assert done == (0, said, "")

    def test_no_broker(self, run: Run, data: Path) -> None:
        with running_broker(data) as broker:
            port = str(broker.ready["ecdsa"]["port"])
        done = run("health", "--data", str(data), "--port", port)
        assert "cannot be reached: connection refused; is it running?" in one_line(done).lower()

    def test_another_brokers_anchor(self, run: Run, data: Path, tmp_path: Path) -> None:
        (tmp_path / "anchors").mkdir()
        (tmp_path / "anchors/test-root-x1.der").write_bytes(self_signed().der)
        with running_broker(data) as broker:
            port = str(broker.ready["ecdsa"]["port"])
            where = ("--data", str(data), "--anchors", str(tmp_path / "anchors"))
            done = run("health", *where, "--port", port)
            assert "unknown ca" in broker.event("refused")["reason"]
        assert "cannot be verified with" in one_line(done)

    def test_a_name_it_does_not_have(self, run: Run, data: Path) -> None:
        with running_broker(data, "--name=broker.lan") as broker:
            port = str(broker.ready["ecdsa"]["port"])
            done = run("health", "--data", str(data), "--port", port)
        assert "mismatch" in one_line(done)

    def test_a_wrong_password(self, run: Run, data: Path, tmp_path: Path) -> None:
        secrets = tmp_path / "secrets.json"
        secrets.write_text('{"passwords": {"watcher": "guess"}}')
        with running_broker(data) as broker:
            port = str(broker.ready["ecdsa"]["port"])
            done = run(*("health", "--data", str(data), "--port", port, "--secrets", str(secrets)))
        assert "refused the account watcher: Not authorized" in one_line(done)

    @pytest.mark.parametrize("missing", ["secrets.json", "anchors/test-root-x1.der"])
    def test_missing_files(self, run: Run, data: Path, missing: str) -> None:
        run("account", "watcher", "--role=watcher", "--data", str(data))
        (data / missing).unlink(missing_ok=True)
        done = run("health", "--data", str(data), "--port", "1")
        assert missing in one_line(done, 2)

    def test_someone_who_never_answers(self, run: Run, data: Path) -> None:
        run("account", "watcher", "--role=watcher", "--data", str(data))
        authority = Authority(data / "authority", ["localhost"])
        authority.ensure()
        authority.write_anchors(data / "anchors")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = str(silent.getsockname()[1])
            done = run("health", "--data", str(data), "--port", port)
        assert "it did not answer" in one_line(done)
