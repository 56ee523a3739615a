"""Topic names and the rule for camera ids: one codec for camera, broker and host. Pure."""

JPEG = "jpeg"
STATE = "state"
HEALTH = "health"
CMD = "cmd"
CMD_RESULT = "cmd/result"

# The wildcard, in place of a camera id, of a subscription to every camera.
ANY = "+"

_ID_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
ID_MAX = 32


def is_id(text):
    """True when text may name a camera, an account or one level of the topic prefix.

    1 to 32 of letters, digits, "-" and "_": safe in a topic (no "/", "+", "#"), in a
    file name, in a URL and inside a JSON string without escaping.
    """
    return (
        isinstance(text, str)
        and 0 < len(text) <= ID_MAX
        and all(char in _ID_CHARS for char in text)
    )


def topic(prefix, camera_id, kind):
    """The topic name, <prefix>/<camera id>/<kind>; kind is one of the names above."""
    return prefix + "/" + camera_id + "/" + kind


def split(prefix, name):
    """The (camera id, kind) of a topic name, or None when it is none of ours."""
    head = prefix + "/"
    if not name.startswith(head):
        return None
    camera_id, slash, kind = name[len(head) :].partition("/")
    if not slash or not is_id(camera_id):
        return None
    return camera_id, kind
