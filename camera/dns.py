"""DNS messages: a query for an address, and what an answer to it says (RFC 1035). Pure."""

_NO_SUCH_NAME = 3
# More records than an answer of 512 bytes can hold.
_RECORDS_MAX = 32


class NoAddress(Exception):
    """The server has answered, and there is none."""


def is_address(text):
    """True for an IPv4 address in its dotted form."""
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)


def query(host, identity):
    """A query for the address of host; identity: 2 bytes. RFC 1035, 4.1."""
    # One question, recursion desired.
    packet = bytearray(identity) + b"\x01\0\0\x01\0\0\0\0\0\0"
    for label in host.split("."):
        if label:
            packet.append(len(label))
            packet.extend(label.encode())
    return packet + b"\0\0\x01\0\x01"


def read_answer(packet, asked):
    """The address in the answer to a query(), None when it is none, or none that helps.

    Raises NoAddress when it says that there is no such name or address. packet may hold
    anything.
    """
    end = len(asked)
    if packet[:2] != asked[:2] or len(packet) < end or not packet[2] & 0x80:
        return None
    if bytes(packet[12:end]).lower() != bytes(asked[12:]).lower():
        return None
    code = packet[3] & 0x0F
    if code == _NO_SUCH_NAME:
        raise NoAddress("there is no such name")
    if code:  # such as SERVFAIL: it may know the next time
        return None
    try:
        return _first_address(packet, end, packet[6] << 8 | packet[7])
    except IndexError:
        return None


def _first_address(packet, at, count):
    for _ in range(min(count, _RECORDS_MAX)):
        at = _after_name(packet, at)
        kind = packet[at] << 8 | packet[at + 1]
        family = (packet[at + 2] & 0x7F) << 8 | packet[at + 3]
        size = packet[at + 8] << 8 | packet[at + 9]
        at += 10
        if (kind, family, size) == (1, 1, 4):
            return "%d.%d.%d.%d" % (packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
        at += size
    raise NoAddress("it has no IPv4 address")


def _after_name(packet, at):
    # A pointer ends a name, and is not followed: whose record it is, is of no interest.
    while packet[at]:
        if packet[at] & 0xC0:
            return at + 2
        at += packet[at] + 1
    return at + 1
