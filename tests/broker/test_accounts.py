"""Accounts: what may be read and written by whom, and what happens to the files."""

import json
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.accounts import Accounts
from broker.errors import UserError
from broker.rules import may_publish, may_subscribe, may_use_client_id
from tests.broker.local import LocalBroker
from tests.brokers import REPOSITORY, Endpoint, wait_for
from tests.packets import CONNACK, PUBACK, RawClient, connect, publish


class TestRules:
    @pytest.mark.parametrize("kind", ["jpeg", "state", "health", "cmd/result"])
    def test_what_a_camera_publishes(self, kind: str) -> None:
        assert may_publish("cameras", "cam1", "camera", f"cameras/cam1/{kind}")
        assert not may_publish("cameras", "cam1", "camera", f"cameras/cam2/{kind}")
        assert not may_publish("cameras", "cam1", "camera", f"other/cam1/{kind}")
        assert not may_publish("cameras", "cam1", "camera", f"cameras/cam1/{kind}/more")
        assert not may_publish("cameras", "cam1", "watcher", f"cameras/cam1/{kind}")

    @pytest.mark.parametrize(
        "topic", ["", "cameras/cam1", "cameras/cam1/", "cameras/cam1/cmd", "$SYS/x", "/cam1/jpeg"]
    )
    def test_what_a_camera_does_not_publish(self, topic: str) -> None:
        assert not may_publish("cameras", "cam1", "camera", topic)

    def test_what_a_watcher_publishes(self) -> None:
        assert may_publish("cameras", "watcher", "watcher", "cameras/cam1/cmd")
        assert not may_publish("cameras", "watcher", "watcher", "cameras/cmd")
        assert not may_publish("cameras", "watcher", "watcher", "cameras/+/cmd")

    def test_discovery_is_for_watchers_only(self) -> None:
        topic = "homeassistant/device/anchorcam_cameras_cam1/config"
        assert may_publish("cameras", "watcher", "watcher", topic)
        assert may_subscribe("cameras", "watcher", "watcher", "homeassistant/device/+/config")
        assert not may_publish("cameras", "watcher", "watcher", "homeassistant/device/+/config")
        assert not may_publish("cameras", "watcher", "watcher", "homeassistantx/a")
        assert not may_publish("cameras", "cam1", "camera", topic)
        assert not may_subscribe("cameras", "cam1", "camera", topic)

    def test_what_a_camera_subscribes_to(self) -> None:
        assert may_subscribe("cameras", "cam1", "camera", "cameras/cam1/cmd")
        for topic_filter in ("cameras/cam2/cmd", "cameras/+/cmd", "cameras/cam1/#", "#"):
            assert not may_subscribe("cameras", "cam1", "camera", topic_filter)

    def test_what_a_watcher_subscribes_to(self) -> None:
        for topic_filter in ("cameras/#", "cameras/+/jpeg", "cameras/cam1/health"):
            assert may_subscribe("cameras", "watcher", "watcher", topic_filter)
        for topic_filter in ("#", "+/#", "camerasx/#", "$SYS/#", "$share/g/cameras/#", "cameras"):
            assert not may_subscribe("cameras", "watcher", "watcher", topic_filter)

    def test_client_ids(self) -> None:
        assert may_use_client_id("cam1", "cam1")
        assert may_use_client_id("cam1", "cam1/second")
        for client_id in ("", "cam", "cam2", "cam10", "cam2/cam1", "amqtt/Xy"):
            assert not may_use_client_id("cam1", client_id)


class TestThroughTheFrontDoor:
    def test_publishing_elsewhere_reaches_nobody(self, local_broker: LocalBroker) -> None:
        endpoint = local_broker.endpoint
        watcher = endpoint.raw("watcher")
        watcher.subscribe(("cameras/#", 1))
        camera = endpoint.raw("cam1")
        for topic in ("cameras/cam2/jpeg", "cameras/cam1/cmd", "elsewhere"):
            for _ in range(2):
                camera.send(publish(topic, b"picture", 1, retain=True))
                # MQTT 3.1.1 has no other answer, and mosquitto gives this one too.
                assert camera.receive()[0] == PUBACK
        assert watcher.is_idle()
        denied = [event for event in local_broker.events if event["event"] == "denied"]
        assert [event["reason"] for event in denied] == [
            "may not publish to cameras/cam2/jpeg",
            "may not publish to cameras/cam1/cmd",
            "may not publish to elsewhere",
        ]

    def test_subscribing_elsewhere_is_refused(self, local_broker: LocalBroker) -> None:
        camera = local_broker.endpoint.raw("cam1")
        own, other = ("cameras/cam1/cmd", 1), ("cameras/cam2/cmd", 1)
        assert camera.subscribe(own, other, ("#", 1), ("", 0)) == [1, 0x80, 0x80, 0x80]
        assert local_broker.endpoint.raw("watcher").subscribe(("#", 0)) == [0x80]

    def test_a_command_reaches_its_camera(self, local_broker: LocalBroker) -> None:
        cameras = [local_broker.endpoint.raw(name) for name in ("cam1", "cam2")]
        for name, camera in zip(("cam1", "cam2"), cameras, strict=True):
            camera.subscribe((f"cameras/{name}/cmd", 1))
        watcher = local_broker.endpoint.raw("watcher")
        watcher.send(publish("cameras/cam2/cmd", b"{}", 1))
        assert cameras[1].message().payload == b"{}"
        assert cameras[0].is_idle()

    @pytest.mark.parametrize(
        ("client_id", "user", "code"),
        [("cam1", "cam2", 2), ("", "cam1", 2), ("cam1/x", "cam1", 0), ("cam1", "nobody", 5)],
    )
    def test_whose_client_id(
        self, local_broker: LocalBroker, client_id: str, user: str, code: int
    ) -> None:
        endpoint = local_broker.endpoint
        client = RawClient(endpoint.tls())
        client.send(connect(client_id, user, endpoint.passwords.get(user, "guess")))
        assert client.receive() == (CONNACK, 0, bytes([0, code]))

    def test_an_ordinary_client(self, local_broker: LocalBroker) -> None:
        got: list[bytes] = []
        with (
            local_broker.endpoint.paho("watcher") as watcher,
            local_broker.endpoint.paho("cam1") as camera,
        ):
            subscribed = threading.Event()
            watcher.on_subscribe = lambda *_: subscribed.set()
            watcher.on_message = lambda _c, _u, message: got.append(bytes(message.payload))
            watcher.subscribe("cameras/+/jpeg", 1)
            assert subscribed.wait(10)
            for payload in (b"", b"picture"):
                camera.publish("cameras/cam1/jpeg", payload, 1).wait_for_publish(10)
            wait_for(lambda: got == [b"", b"picture"], "both payloads")

    def test_an_account_made_while_it_runs(self, local_broker: LocalBroker, data: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "broker", "account", "cam9", "--data", str(data)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        secrets = data / "secrets.json"
        assert done.stdout == (f"account cam9 (camera) is ready; its password is in {secrets}\n")
        passwords = json.loads(secrets.read_text())["passwords"]
        local = local_broker.endpoint
        endpoint = Endpoint(local.port, local.anchor, passwords)
        assert endpoint.raw("cam9").subscribe(("cameras/cam9/cmd", 0)) == [0]

    def test_an_account_that_is_removed(self, local_broker: LocalBroker, data: Path) -> None:
        path = data / "accounts.json"
        contents = json.loads(path.read_text())
        camera = local_broker.endpoint.raw("cam1")
        del contents["accounts"]["cam1"]
        path.write_text(json.dumps(contents))
        watcher = local_broker.endpoint.raw("watcher")  # a login: the file is read again
        watcher.subscribe(("cameras/#", 0))
        camera.send(publish("cameras/cam1/jpeg", b"picture"))
        assert camera.is_idle()
        assert watcher.is_idle()

    def test_a_damaged_file_locks_nobody_out(self, local_broker: LocalBroker, data: Path) -> None:
        (data / "accounts.json").write_text("{")
        local_broker.endpoint.raw("cam1").leave()
        local_broker.endpoint.raw("cam1").leave()
        warnings = [event for event in local_broker.events if event["event"] == "warning"]
        assert len(warnings) == 1
        assert "accounts.json is damaged" in warnings[0]["reason"]


class TestFiles:
    @pytest.fixture
    def paths(self, tmp_path: Path) -> tuple[Path, Path]:
        return tmp_path / "data" / "accounts.json", tmp_path / "secrets.json"

    def test_modes_and_contents(self, paths: tuple[Path, Path]) -> None:
        path, secrets = paths
        Accounts(path).ensure({"watcher": "watcher", "cam1": "camera"}, secrets)
        assert [stat.S_IMODE(p.stat().st_mode) for p in (*paths, path.parent)] == [
            0o600,
            0o600,
            0o700,
        ]
        passwords = json.loads(secrets.read_text())["passwords"]
        assert set(passwords) == {"watcher", "cam1"}
        assert all(len(password) == 32 for password in passwords.values())
        assert not any(password in path.read_text() for password in passwords.values())
        accounts = Accounts(path)
        accounts.refresh()
        assert accounts.login("cam1", passwords["cam1"])
        assert accounts.role("cam1") == "camera"
        for name, password in (
            ("cam1", passwords["watcher"]),
            ("cam1", ""),
            ("cam1", None),
            ("cam2", passwords["cam1"]),
            (None, None),
            ("", ""),
            ("cam1", "\udcff"),
        ):
            assert not accounts.login(name, password)

    def test_what_is_there_is_kept(self, paths: tuple[Path, Path]) -> None:
        path, secrets = paths
        secrets.write_text('{"network_key": "wifi", "passwords": {"cam1": "known"}}')
        Accounts(path).ensure({"cam1": "camera", "watcher": "watcher"}, secrets)
        contents = json.loads(secrets.read_text())
        assert contents["network_key"] == "wifi"
        assert contents["passwords"]["cam1"] == "known"
        assert login(path, "cam1", "known")
        files = [p.read_bytes() for p in paths]
        Accounts(path).ensure({"cam1": "camera", "watcher": "watcher"}, secrets)
        assert [p.read_bytes() for p in paths] == files

    def test_the_secrets_file_decides(self, paths: tuple[Path, Path]) -> None:
        path, secrets = paths
        Accounts(path).ensure({"cam1": "camera"}, secrets)
        secrets.write_text('{"passwords": {"cam1": "another"}}')
        Accounts(path).ensure({"cam1": "camera"}, secrets)
        assert login(path, "cam1", "another")

    def test_a_role_can_change(self, paths: tuple[Path, Path]) -> None:
        path, secrets = paths
        for role in ("camera", "watcher"):
            accounts = Accounts(path)
            accounts.ensure({"someone": role}, secrets)
            assert accounts.role("someone") == role

    @pytest.mark.parametrize(
        "damage",
        [
            "",
            "[]",
            "{}",
            '{"accounts": []}',
            '{"accounts": {"cam1": 1}}',
            "[" * 100_000,
            '{"accounts": {"cam1": {"role": "king", "salt": "00", "hash": "00"}}}',
        ],
    )
    def test_damaged_accounts(self, paths: tuple[Path, Path], damage: str) -> None:
        path, secrets = paths
        path.parent.mkdir()
        path.write_text(damage)
        with pytest.raises(UserError, match=r"accounts\.json is damaged: remove it"):
            Accounts(path).ensure({"cam1": "camera"}, secrets)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ("{", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ("[]", "has the wrong shape"),
            ('{"passwords": {"cam1": 1}}', "has the wrong shape"),
        ],
    )
    def test_damaged_secrets(self, paths: tuple[Path, Path], damage: str, message: str) -> None:
        path, secrets = paths
        secrets.write_text(damage)
        with pytest.raises(UserError, match=message):
            Accounts(path).ensure({"cam1": "camera"}, secrets)
        assert secrets.read_text() == damage

    def test_two_at_the_same_time(self, paths: tuple[Path, Path]) -> None:
        path, secrets = paths
        names = [f"cam{n}" for n in range(8)]

        def make(name: str) -> Callable[[], None]:
            return lambda: Accounts(path).ensure({name: "camera"}, secrets)

        threads = [threading.Thread(target=make(name)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passwords = json.loads(secrets.read_text())["passwords"]
        assert all(login(path, name, passwords[name]) for name in names)


def login(path: Path, name: str, password: str) -> bool:
    accounts = Accounts(path)
    accounts.refresh()
    return accounts.login(name, password)
