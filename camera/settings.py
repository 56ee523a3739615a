"""config.json and secrets.json: read, checked and completed, all problems at once. Pure.

Both sides use this file: the camera at boot, the host in `anchorcam config check`.
"""

import json

from camera import rules

NETWORK_KINDS = ("wifi", "ethernet")
FRAMESIZES = ("QQVGA", "QVGA", "VGA", "SVGA", "XGA", "HD", "SXGA", "UXGA", "FHD")


class SettingsError(Exception):
    """What is wrong with the settings.

    problems: a list, not empty, of (path, what is wrong, what would be right).
    anchors: the anchor files that are named properly all the same.
    """

    def __init__(self, problems, anchors):
        super().__init__("; ".join("%s: %s; %s" % problem for problem in problems))
        self.problems = problems
        self.anchors = anchors


_REQUIRED = object()

# section -> field -> (rule, default). A list's rule is for each of its elements.
_SECTIONS = {
    "camera": {
        "id": (rules.identifier, _REQUIRED),
        "interval_s": (rules.number(0.05, 86400, " seconds"), 10),
        "framesize": (rules.one_of(*FRAMESIZES), "VGA"),
        "quality": (rules.whole(1, 100), 80),
        "health_s": (rules.number(1, 3600, " seconds"), 30),
        # Whether anchors may be sent to it over its verified connection.
        "accept_anchors": (rules.flag, False),
    },
    "network": {
        "kind": (rules.one_of(*NETWORK_KINDS), _REQUIRED),
        # 32: IEEE 802.11, the SSID element.
        "ssid": (rules.text(32), None),
        # None: what DHCP gives.
        "dns": (rules.name_server, None),
    },
    "clock": {
        "servers": ([rules.server], ("0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org")),
        "resync_s": (rules.whole(60, 604800, " seconds"), 21600),
        # A step over this is counted and logged.
        "step_s": (rules.number(0.1, 3600, " seconds"), 5),
    },
    "topics": {"prefix": (rules.prefix, "cameras")},
    # Of each step: docs/operations.md says what each of them is for.
    "limits_s": {
        "link": (rules.number(1, 120, " seconds"), 20),
        "clock": (rules.number(0.5, 60, " seconds"), 5),
        "dns": (rules.number(0.5, 60, " seconds"), 5),
        "connect": (rules.number(0.5, 60, " seconds"), 10),
        "handshake": (rules.number(1, 120, " seconds"), 20),
        "connack": (rules.number(0.5, 60, " seconds"), 10),
        "suback": (rules.number(0.5, 60, " seconds"), 10),
        "puback": (rules.number(0.5, 60, " seconds"), 10),
        "ping": (rules.number(0.5, 60, " seconds"), 10),
        "write": (rules.number(0.5, 300, " seconds"), 20),
        "attempt": (rules.number(1, 600, " seconds"), 90),
    },
    "delivery": {
        # failover: to the first broker that works; mirror: to all of them.
        "mode": (rules.one_of("failover", "mirror"), "failover"),
        # Which goes first while there is a backlog.
        "first": (rules.one_of("live", "backlog"), "live"),
        # How many may be on their way, not acknowledged yet. None: as the heap allows.
        "window": (rules.whole(1, 16), None),
    },
    "spool": {
        # None: /sdcard/spool with an SD card in, otherwise spool beside config.json.
        "folder": (rules.text(64), None),
        "most_kb": (rules.whole(0, 2097152, " KiB, 0 for no spool"), 4096),
        "free_kb": (rules.whole(0, 2097152, " KiB"), 256),
        # None: spool.FLASH_WRITES_PER_DAY on flash, unlimited on an SD card.
        "writes_per_day": (rules.whole(24, 10000000), None),
    },
    "recovery": {
        "first_s": (rules.number(0.1, 60, " seconds"), 1),
        "most_s": (rules.number(1, 3600, " seconds"), 60),
        "next_broker_after": (rules.whole(1, 100, " failures"), 3),
        "return_after_s": (rules.number(1, 86400, " seconds"), 300),
        "radio_after": (rules.whole(1, 1000, " failures"), 5),
        "reboot_after_s": (rules.number(10, 604800, " seconds"), 3600),
    },
}
# Each anchor in use costs a TLS context, each broker of a mirror a connection's buffers.
BROKERS_MAX = 4
ANCHORS_MAX = 4
PINS_MAX = 4
_BROKER = {
    "host": (rules.host, _REQUIRED),
    "port": (rules.whole(1, 65535), 8883),
    "user": (rules.identifier, _REQUIRED),
    "anchors": ([rules.anchor_file], _REQUIRED),
    # Digests of which one must be the leaf's, of it or of its SubjectPublicKeyInfo.
    "pin_sha256": ([rules.sha256], ()),
    # For a broker that asks for the camera's own certificate: both or neither.
    "client_cert": (rules.der_file("keys"), None),
    "client_key": (rules.der_file("keys"), None),
    # MQTT 3.1.1, 3.1.2.10: 16 bits; 0 would switch off the notice of a dead peer.
    "keepalive_s": (rules.whole(5, 65535, " seconds"), 60),
}
# So that CONNECT, with the will, is one TLS record: the handshake runs inside that write.
_PASSWORD = rules.text(2048)
_SECRETS = {
    # 63: IEEE 802.11, a WPA passphrase; 64 hexadecimal digits are a raw key.
    "network_key": (rules.text(64), None),
    "passwords": (None, {}),
}


def load(config_text, secrets_text):
    """The settings, complete: {section: {field: value}}, "brokers" a list of dicts.

    Each broker has its "password" from secrets.json filled in, the network its "key"
    (None: an open network). Raises SettingsError with every problem found.
    """
    problems = []
    config = _parse("config.json", config_text, problems)
    secrets = _parse("secrets.json", secrets_text, problems)
    settings = {} if config is None else _checked(config, problems)
    if secrets is not None:
        secrets = _section(secrets, _SECRETS, "secrets.json", problems)
    if config is not None and secrets is not None:
        _merge(settings, secrets, problems)
    if problems:
        raise SettingsError(problems, _usable_anchors(settings))
    return settings


def problem(section, name, value):
    """None, or what would be right instead of this value of a setting that exists."""
    rule, _ = _SECTIONS[section][name]
    return rule(value)


def load_config(config_text):
    """What is in config.json alone, for a program that signs in with another account.

    As load(), without the passwords and the network's key. Raises SettingsError.
    """
    problems = []
    config = _parse("config.json", config_text, problems)
    settings = {} if config is None else _checked(config, problems)
    if problems:
        raise SettingsError(problems, _usable_anchors(settings))
    return settings


def _parse(name, text, problems):
    try:
        parsed = json.loads(text)
    except (ValueError, RuntimeError) as error:  # RuntimeError: nested too deep
        # CPython says where; MicroPython only that.
        where = getattr(error, "lineno", None)
        at = " (line %d: %s)" % (where, error.msg) if where else ""
        problems.append((name, "is not JSON" + at, "mend the syntax"))
        return None
    if not isinstance(parsed, dict):
        problems.append((name, "is not a JSON object", "{...} at its top level"))
        return None
    return parsed


def _checked(config, problems):
    settings = {}
    _unknown(config, tuple(_SECTIONS) + ("brokers",), "", problems)
    for section, fields in _SECTIONS.items():
        settings[section] = _section(config.get(section, {}), fields, section, problems)
    settings["brokers"] = _brokers(config.get("brokers"), problems)
    if settings["network"].get("kind") == "wifi" and not settings["network"].get("ssid"):
        problems.append(("network.ssid", "is missing", "the name of the Wi-Fi network"))
    return settings


def _unknown(given, known, path, problems):
    for name in given:
        if name not in known:
            problems.append(
                (path + name, "is not a setting", "remove it, or one of " + ", ".join(known))
            )


def _section(given, fields, path, problems):
    if not isinstance(given, dict):
        problems.append((path, "is not an object", "{...}"))
        return {}
    complete = {}
    _unknown(given, tuple(fields), path + ".", problems)
    for name, (rule, default) in fields.items():
        where = path + "." + name
        if name not in given:
            if default is _REQUIRED:
                problems.append((where, "is missing", _remedy(rule)))
            complete[name] = default
            continue
        value = complete[name] = given[name]
        if isinstance(rule, list):
            _elements(value, rule[0], where, problems)
        elif rule:
            right = rule(value)
            if right:
                # Never show a secret: it may be the right one in the wrong shape.
                shown = "not usable" if fields is _SECRETS else _show(value)
                problems.append((where, "is " + shown, right))
    return complete


def _elements(value, rule, where, problems):
    if not isinstance(value, list) or not value:
        problems.append((where, "is " + _show(value), "a list, each " + rule(None)))
        return
    for index, element in enumerate(value):
        right = rule(element)
        if right:
            problems.append(("%s[%d]" % (where, index), "is " + _show(element), right))


def _remedy(rule):
    return "a list, each " + rule[0](None) if isinstance(rule, list) else rule(None)


def _show(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _brokers(given, problems):
    if not isinstance(given, list) or not 0 < len(given) <= BROKERS_MAX:
        right = "[{...}, ...], 1 to %d brokers, the one to prefer first" % BROKERS_MAX
        problems.append(("brokers", "is " + _show(given), right))
        return []
    brokers = []
    for index, one in enumerate(given):
        where = "brokers[%d]" % index
        broker = _section(one, _BROKER, where, problems)
        for name, most in (("anchors", ANCHORS_MAX), ("pin_sha256", PINS_MAX)):
            given = broker.get(name)
            if isinstance(given, list) and len(given) > most:
                problems.append(
                    ("%s.%s" % (where, name), "names %d" % len(given), "1 to %d" % most)
                )
        for name, other in (("client_cert", "client_key"), ("client_key", "client_cert")):
            if broker.get(name) is not None and broker.get(other) is None:
                problems.append(
                    ("%s.%s" % (where, other), "is missing", "the one that goes with " + name)
                )
        brokers.append(broker)
    return brokers


def _usable_anchors(settings):
    named = [broker.get("anchors") for broker in settings.get("brokers", ())]
    return [
        anchor
        for anchors in named
        if isinstance(anchors, list)
        for anchor in anchors
        if rules.anchor_file(anchor) is None
    ]


def _merge(settings, secrets, problems):
    settings["network"]["key"] = secrets.get("network_key")
    passwords = secrets.get("passwords", {})
    if not isinstance(passwords, dict):
        problems.append(("secrets.json.passwords", "is not an object", '{"user": "password"}'))
        return
    for broker in settings["brokers"]:
        user = broker.get("user")
        if not isinstance(user, str) or user is _REQUIRED:
            continue
        password = passwords.get(user)
        right = _PASSWORD(password)
        if right:
            where = "secrets.json.passwords." + user
            problems.append((where, "is missing or not usable", right))
        broker["password"] = password
