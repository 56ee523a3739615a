"""Rules for the values of settings. Pure.

A rule takes a value and returns None, or what would be right instead.
"""

from camera.topics import ID_MAX, is_id


def number(least, most, unit):
    def rule(value):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            return "a number from %s to %s%s" % (least, most, unit)

    return rule


def whole(least, most, unit=""):
    def rule(value):
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not least <= value <= most:
            return "a whole number from %d to %d%s" % (least, most, unit)

    return rule


def one_of(*choices):
    def rule(value):
        if value not in choices:
            return "one of " + ", ".join('"%s"' % choice for choice in choices)

    return rule


def identifier(value):
    if not is_id(value):
        return '1 to %d letters, digits, "-" or "_"' % ID_MAX


def text(most):
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


def host(value):
    if not _is_host(value):
        return 'a host name or IPv4 address, without "mqtts://" and without port'


def prefix(value):
    if not isinstance(value, str) or not all(is_id(level) for level in value.split("/")):
        return 'topic levels of letters, digits, "-" or "_", joined by "/"'


def der_file(folder):
    def rule(value):
        if (
            not isinstance(value, str)
            or not value.endswith(".der")
            or not is_id(value[:-4].replace(".", "-"))
        ):
            return "the name of a .der file in %s/, beside config.json, without a folder" % folder

    return rule


anchor_file = der_file("anchors")


def sha256(value):
    if (
        not isinstance(value, str)
        or len(value) != 64
        or not all(char in "0123456789abcdefABCDEF" for char in value)
    ):
        return "a SHA-256: 64 hexadecimal digits"


def flag(value):
    if not isinstance(value, bool):
        return "true or false"


def split_server(text, usual_port):
    """("pool.ntp.org" or "127.0.0.1:11123") to (host, port)."""
    host, colon, port = text.partition(":")
    return host, int(port) if colon else usual_port


def name_server(value):
    if server(value) or not all(part.isdigit() for part in value.partition(":")[0].split(".")):
        return '"address" or "address:port", such as "192.168.1.1"'


def server(value):
    remedy = '"host" or "host:port", such as "pool.ntp.org"'
    if not isinstance(value, str):
        return remedy
    host, colon, port = value.partition(":")
    if not _is_host(host):
        return remedy
    if colon and not (port.isdigit() and 0 < int(port) < 65536):
        return remedy
