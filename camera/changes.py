"""Settings changed by command: kept over restarts, until config.json itself is changed."""

import hashlib
import json
from binascii import hexlify

from camera import settings, state

# Of the section "camera".
CHANGEABLE = ("interval_s", "quality")

_NAME = "changes"


class Changes:
    """What was changed since this config.json came onto the camera.

    config: the digest of that file.
    """

    def __init__(self, config_text):
        self.config = hexlify(hashlib.sha256(config_text.encode()).digest()).decode()
        self._values = self._recall()

    def apply(self, camera):
        """Put the changes into the settings' section "camera"."""
        camera.update(self._values)

    def change(self, values):
        """Keep new values; None, or what is wrong with them, and then none is kept.

        values: a dict. Raises OSError when the flash cannot be written.
        """
        problem = _problem(values)
        if problem is None:
            self._values.update(values)
            state.keep(_NAME, json.dumps({"config": self.config, "values": self._values}))
        return problem

    def _recall(self):
        try:
            kept = json.loads(state.recall(_NAME))
            if kept["config"] == self.config and _problem(kept["values"]) is None:
                return kept["values"]
        except (ValueError, KeyError, TypeError):  # none, or a file that was damaged
            pass
        return {}


def _problem(values):
    if not isinstance(values, dict) or not values:
        return "nothing to set"
    for name, value in values.items():
        if name not in CHANGEABLE:
            return name + " cannot be set; " + " and ".join(CHANGEABLE) + " can"
        right = settings.problem("camera", name, value)
        if right:
            return "%s must be %s" % (name, right)
    return None
