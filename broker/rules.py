"""Who may publish and subscribe to what. Pure.

The broker refuses what is not allowed here, whatever a client claims about itself: the account
that gave the right password is the only identity.
"""

from typing import Literal

from camera import topics

Role = Literal["camera", "watcher"]

# Where Home Assistant looks for devices, and says itself whether it is there.
DISCOVERY = "homeassistant"

_CAMERA_KINDS = (topics.JPEG, topics.STATE, topics.HEALTH, topics.CMD_RESULT)


def may_use_client_id(account: str, client_id: str) -> bool:
    """An account's client ids are its name and "<name>/...": no other can take them over."""
    return client_id == account or client_id.startswith(account + "/")


def may_publish(prefix: str, account: str, role: Role, topic: str) -> bool:
    """A camera publishes its own kinds below its own topic, a watcher commands and discovery."""
    camera_id, kind = topics.split(prefix, topic) or ("", "")
    if role == "camera":
        return camera_id == account and kind in _CAMERA_KINDS
    if topic.startswith(DISCOVERY + "/"):
        return "+" not in topic and "#" not in topic
    return bool(kind == topics.CMD)


def may_subscribe(prefix: str, account: str, role: Role, topic_filter: str) -> bool:
    """A camera receives its commands only, a watcher everything under the prefix, and discovery.

    topic_filter: also a topic name, to judge whether a message may be received.
    """
    if role == "camera":
        return bool(topic_filter == topics.topic(prefix, account, topics.CMD))
    return topic_filter.startswith((prefix + "/", DISCOVERY + "/"))
