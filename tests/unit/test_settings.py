"""camera.settings, on both interpreters."""

import json
import sys

from camera import rules, settings
from tests.unit.pure import raised

SECRETS = '{"passwords": {"cam1": "secret"}}'


def shipped():
    with open("config.json") as file:
        return json.loads(file.read())


def problems(config, secrets=SECRETS):
    text = config if isinstance(config, str) else json.dumps(config)
    error = raised(settings.SettingsError, settings.load, text, secrets)
    return {path: (wrong, right) for path, wrong, right in error.problems}


def test_the_shipped_file_is_good():
    complete = settings.load(json.dumps(shipped()), SECRETS)
    assert complete["brokers"][0]["password"] == "secret"
    assert complete["network"]["key"] is None


def test_what_is_left_out_has_a_default():
    config = {
        "camera": {"id": "cam1"},
        "network": {"kind": "ethernet"},
        "brokers": [{"host": "b.test", "user": "cam1", "anchors": ["x.der"]}],
    }
    complete = settings.load(json.dumps(config), SECRETS)
    assert complete["brokers"][0]["port"] == 8883
    assert complete["limits_s"]["handshake"] == 20
    assert complete["topics"]["prefix"] == "cameras"


def test_all_mistakes_in_one_run():
    config = shipped()
    config["camera"]["id"] = "a b"
    config["camera"]["interval_s"] = 0
    config["camera"]["quality"] = True
    config["network"] = {"kind": "wifi"}
    config["clock"]["servers"] = []
    config["brokers"][0]["host"] = "mqtts://broker"
    config["brokers"][0]["port"] = 0
    config["brokers"][0]["anchors"] = ["../root.der", "root.pem"]
    config["topics"]["prefix"] = "a/+/b"
    config["limits_s"] = 5
    config["verify"] = False
    found = problems(config, '{"passwords": []}')
    for path in (
        "camera.id",
        "camera.interval_s",
        "camera.quality",
        "network.ssid",
        "clock.servers",
        "brokers[0].host",
        "brokers[0].port",
        "brokers[0].anchors[0]",
        "brokers[0].anchors[1]",
        "topics.prefix",
        "limits_s",
        "verify",
        "secrets.json.passwords",
    ):
        assert path in found, path
    assert all(wrong and right for wrong, right in found.values())


def test_pins_and_the_cameras_own_certificate():
    config = shipped()
    broker = config["brokers"][0]
    broker["pin_sha256"] = ["a" * 64, "0123456789ABCDEF" * 4]
    broker["client_cert"] = "cam1.der"
    broker["client_key"] = "cam1.key.der"
    settings.load(json.dumps(config), SECRETS)
    broker["pin_sha256"] = ["a" * 63, "g" * 64, 5]
    broker["client_cert"] = "../cam1.der"
    del broker["client_key"]
    found = problems(config)
    for name in ("pin_sha256[0]", "pin_sha256[1]", "pin_sha256[2]", "client_cert", "client_key"):
        assert "brokers[0]." + name in found, name
    for pins in ([], "a" * 64, ["a" * 64] * 5):
        broker["pin_sha256"] = pins
        assert "brokers[0].pin_sha256" in problems(config), pins


def test_required_ones():
    found = problems({})
    for path in ("camera.id", "network.kind", "brokers"):
        assert path in found, path
    found = problems({"brokers": [{}]})
    for path in ("brokers[0].host", "brokers[0].user", "brokers[0].anchors"):
        assert path in found, path


def test_not_json():
    # MicroPython's parser lets a missing end pass: what is then missing is found all the same.
    ends = ("{", '{"camera": {', "{} {}") if sys.implementation.name == "cpython" else ()
    for text in ends + ("", "nonsense", "[" * 5000):
        assert "config.json" in problems(text)
    assert "config.json" in problems("[]")
    assert "secrets.json" in problems(shipped(), "nonsense")


def test_a_secret_is_never_shown():
    for secrets in (
        '{"network_key": 31415926535, "passwords": {"cam1": "x"}}',
        '{"passwords": {"cam1": 31415926535}}',
        '{"passwords": "31415926535"}',
        '{"31415926535": 1}'.replace("31415926535", "typo"),
    ):
        assert "31415926535" not in str(problems(shipped(), secrets))


def test_passwords():
    for password in ("x" * 2049, "", None, 5, ["x"]):
        found = problems(shipped(), json.dumps({"passwords": {"cam1": password}}))
        assert "secrets.json.passwords.cam1" in found, password
    assert "secrets.json.passwords.cam1" in problems(shipped(), "{}")


def test_hosts_and_servers():
    for host in ("broker", "a.b-c.test", "10.0.0.7"):
        config = shipped()
        config["brokers"][0]["host"] = host
        settings.load(json.dumps(config), SECRETS)
    for host in ("", "a b", "a/b", "a:1", "x" * 254, "é", "a\0b", 7, None):
        config["brokers"][0]["host"] = host
        assert "brokers[0].host" in problems(config)
    assert rules.split_server("pool.ntp.org", 123) == ("pool.ntp.org", 123)
    assert rules.split_server("127.0.0.1:11123", 123) == ("127.0.0.1", 11123)
    for server in ("a:", "a:0", "a:65536", "a:x", ":123", 5):
        config = shipped()
        config["clock"]["servers"] = [server]
        assert "clock.servers[0]" in problems(config), server
