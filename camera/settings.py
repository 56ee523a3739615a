"""config.json and secrets.json: read, checked and completed, all problems at once. Pure.

Both sides use this file: the camera at boot, the host in `anchorcam config check`.
"""

import json

from camera.topics import ID_MAX, is_id

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


# A rule takes a value and returns None, or what would be right.


def _number(least, most, unit):
    def rule(value):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            return "a number from %s to %s%s" % (least, most, unit)

    return rule


def _whole(least, most, unit=""):
    def rule(value):
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not least <= value <= most:
            return "a whole number from %d to %d%s" % (least, most, unit)

    return rule


def _one_of(*choices):
    def rule(value):
        if value not in choices:
            return "one of " + ", ".join('"%s"' % choice for choice in choices)

    return rule


def _id(value):
    if not is_id(value):
        return '1 to %d letters, digits, "-" or "_"' % ID_MAX


def _text(most):
    def rule(value):
        if not isinstance(value, str) or not 0 < len(value.encode()) <= most:
            return "text of 1 to %d bytes" % most

    return rule


def _is_host(value):
    # A NUL would end the name early inside mbedTLS; a space or "/" is a URL pasted whole.
    return (
        isinstance(value, str)
        and 0 < len(value) <= 253
        and all(char.isalpha() or char.isdigit() or char in ".-_" for char in value)
        and all(ord(char) < 128 for char in value)
    )


def _host(value):
    if not _is_host(value):
        return 'a host name or IPv4 address, without "mqtts://" and without port'


def _prefix(value):
    if not isinstance(value, str) or not all(is_id(level) for level in value.split("/")):
        return 'topic levels of letters, digits, "-" or "_", joined by "/"'


def _anchor_file(value):
    if (
        not isinstance(value, str)
        or not value.endswith(".der")
        or not is_id(value[:-4].replace(".", "-"))
    ):
        return "the name of a .der file in anchors/, beside config.json, without a folder"


def split_server(text):
    """("pool.ntp.org" or "127.0.0.1:11123") to (host, port); port 123 unless given."""
    host, colon, port = text.partition(":")
    return host, int(port) if colon else 123


def _server(value):
    remedy = '"host" or "host:port", such as "pool.ntp.org"'
    if not isinstance(value, str):
        return remedy
    host, colon, port = value.partition(":")
    if not _is_host(host):
        return remedy
    if colon and not (port.isdigit() and 0 < int(port) < 65536):
        return remedy


_REQUIRED = object()

# section -> field -> (rule, default). A list's rule is for each of its elements.
_SECTIONS = {
    "camera": {
        "id": (_id, _REQUIRED),
        "interval_s": (_number(0.05, 86400, " seconds"), 10),
        "framesize": (_one_of(*FRAMESIZES), "VGA"),
        "quality": (_whole(1, 100), 80),
    },
    "network": {
        "kind": (_one_of(*NETWORK_KINDS), _REQUIRED),
        # 32: IEEE 802.11, the SSID element.
        "ssid": (_text(32), None),
    },
    "clock": {
        "servers": ([_server], ("0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org")),
        "resync_s": (_whole(60, 604800, " seconds"), 21600),
    },
    "topics": {"prefix": (_prefix, "cameras")},
    "limits_s": {
        "link": (_number(1, 120, " seconds"), 20),
        "clock": (_number(0.5, 60, " seconds"), 5),
        # One call that cannot be cut into slices: it must end before the watchdog bites.
        "connect": (_number(0.5, 20, " seconds"), 10),
        "handshake": (_number(1, 120, " seconds"), 20),
        "reply": (_number(0.5, 60, " seconds"), 10),
        "write": (_number(0.5, 300, " seconds"), 20),
    },
    "retry_s": {
        "first": (_number(0.1, 60, " seconds"), 1),
        "most": (_number(1, 3600, " seconds"), 60),
    },
}
_BROKER = {
    "host": (_host, _REQUIRED),
    "port": (_whole(1, 65535), 8883),
    "user": (_id, _REQUIRED),
    "anchors": ([_anchor_file], _REQUIRED),
    # MQTT 3.1.1, 3.1.2.10: 16 bits; 0 would switch off the notice of a dead peer.
    "keepalive_s": (_whole(5, 65535, " seconds"), 60),
}
# So that CONNECT, with the will, is one TLS record: the handshake runs inside that write.
_PASSWORD = _text(2048)
_SECRETS = {
    # 63: IEEE 802.11, a WPA passphrase; 64 hexadecimal digits are a raw key.
    "network_key": (_text(64), None),
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
    # One broker and one anchor: fail-over over several is not there yet.
    if not isinstance(given, list) or len(given) != 1:
        problems.append(("brokers", "is not a list of one", "[{...}], one broker"))
        return []
    broker = _section(given[0], _BROKER, "brokers[0]", problems)
    anchors = broker.get("anchors")
    if isinstance(anchors, list) and len(anchors) > 1:
        problems.append(("brokers[0].anchors", "names several", "one anchor"))
    return [broker]


def _usable_anchors(settings):
    named = [broker.get("anchors") for broker in settings.get("brokers", ())]
    return [
        anchor
        for anchors in named
        if isinstance(anchors, list)
        for anchor in anchors
        if _anchor_file(anchor) is None
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
