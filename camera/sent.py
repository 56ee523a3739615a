"""Anchors that were sent over the air: beside those of config.json, until that changes.

One file each in state/, and one list of them: a file that is not in the list does not count, so
a power cut leaves the list as it was before or as it is afterwards.
"""

import hashlib
import json
from binascii import a2b_base64, hexlify

from camera import anchors, der, files, log, rules, state
from camera.commands import ANCHOR_MAX_BYTES
from camera.errors import REASONS, code_of
from camera.settings import ANCHORS_MAX

_LIST = "sent"
_PREFIX = "sent-"


class Sent:
    """The anchors of each broker: those of config.json, then those that were sent.

    config: the digest of this config.json; brokers: of the settings; accepts: whether anchors
    may be sent to this camera.
    """

    def __init__(self, config, brokers, accepts):
        self._config = config
        self._brokers = brokers
        self._accepts = accepts
        # Of each broker: SHA-256, hexadecimal.
        self._digests = self._recall()
        for name in files.names(state.FOLDER):
            if name.startswith(_PREFIX) and not self._is_listed(name[len(_PREFIX) :]):
                files.remove(state.path(name))

    def paths(self, broker):
        """The anchor files of one of the brokers, in the order in which they are tried."""
        sent = [_path(digest) for digest in self._of(broker)]
        return [_shipped(name) for name in broker["anchors"]] + sent

    def digests(self, broker):
        """The first 16 digits of the SHA-256 of each, but for a file that cannot be read."""
        found = [anchors.digest(path)[:16] for path in self.paths(broker)]
        return [digest for digest in found if digest]

    def problem(self, request):
        """None, or what is wrong with a request, before anything of it is done."""
        if not self._accepts:
            return "camera.accept_anchors is off in config.json"
        if set(request) not in ({"sha256", "der"}, {"remove"}):
            return 'it takes "sha256" and "der", or "remove"'
        right = rules.sha256(request.get("remove", request.get("sha256")))
        if right:
            return "right would be: " + right
        return None

    def run(self, dialer, request):
        """Do what a request asks for, at the broker that the dialer uses.

        Returns (what is wrong or None, {field: value} to tell). Raises nothing.
        """
        try:
            if "remove" in request:
                return self._remove(dialer, request["remove"].lower()), {}
            return self._add(dialer, request["sha256"].lower(), request["der"])
        except OSError as error:
            log.line("an anchor cannot be stored: %s" % error)
            return "the flash cannot be written", {}

    def _add(self, dialer, digest, text):
        data = _decoded(text)
        if data is None:
            return '"der" must be base64 of at most %d bytes' % ANCHOR_MAX_BYTES, {}
        if hexlify(hashlib.sha256(data).digest()).decode() != digest:
            return "its SHA-256 is another: it was damaged on its way", {}
        problem = der.problem(data)
        if problem:
            return problem, {}
        present = self.paths(dialer.broker)
        for path in present:
            if anchors.digest(path) == digest:
                return None, {"anchor": path.split("/")[-1], "known": True}
        if len(present) >= ANCHORS_MAX:
            return "the broker has %d anchors: remove one that was sent" % len(present), {}
        code = self._try(dialer, digest, data)
        if code:
            return "%s: %s" % (code, REASONS[code]), {"code": code}
        return None, {"anchor": _path(digest).split("/")[-1]}

    def _try(self, dialer, digest, data):
        """Store it, connect with it, and keep it if that works; otherwise the reason code."""
        of_broker = self._of(dialer.broker)
        code = None
        try:
            state.keep(_name(digest), data)
            dialer.try_anchor(_path(digest))
            of_broker.append(digest)
            self._keep()
        except OSError:
            # The list on flash is the old one.
            if digest in of_broker:
                of_broker.remove(digest)
            raise
        except Exception as error:
            log.line("an anchor that was sent is not kept: %s" % error)
            code = code_of(error)
        finally:
            self._remove_unlisted(dialer, digest)
        return code

    def _remove(self, dialer, digest):
        of_broker = self._of(dialer.broker)
        if digest not in of_broker:
            return "no anchor that was sent has this SHA-256"
        if dialer.anchor.path == _path(digest):
            return "it is in use"
        at = of_broker.index(digest)
        of_broker.pop(at)
        try:
            self._keep()
        except OSError:
            of_broker.insert(at, digest)
            raise
        self._remove_unlisted(dialer, digest)
        return None

    def _remove_unlisted(self, dialer, digest):
        if not self._is_listed(digest[:16] + ".der"):
            dialer.forget_anchor(_path(digest))
            files.remove(_path(digest) + ".new")
            files.remove(_path(digest))

    def _of(self, broker):
        return self._digests[self._brokers.index(broker)]

    def _is_listed(self, rest):
        return any(
            digest[:16] + ".der" == rest for of_broker in self._digests for digest in of_broker
        )

    def _keep(self):
        state.keep(_LIST, json.dumps({"config": self._config, "sent": self._digests}))

    def _recall(self):
        try:
            kept = json.loads(state.recall(_LIST))
            if kept["config"] == self._config and len(kept["sent"]) == len(self._brokers):
                # A file that was damaged is none.
                return [
                    [digest for digest in of_broker if anchors.digest(_path(digest)) == digest]
                    for of_broker in kept["sent"]
                ]
        except (ValueError, KeyError, TypeError):  # none, or a list that was damaged
            pass
        return [[] for _ in self._brokers]


def _name(digest):
    return _PREFIX + digest[:16] + ".der"


def _path(digest):
    return state.path(_name(digest))


def _decoded(text):
    """The bytes of base64; None when it is not, or of too many."""
    # 4 digits for each 3 bytes.
    if not isinstance(text, str) or len(text) > (ANCHOR_MAX_BYTES + 2) // 3 * 4:
        return None
    try:
        data = a2b_base64(text)
    except ValueError:
        return None
    return data if len(data) <= ANCHOR_MAX_BYTES else None


def _shipped(name):
    """Where an anchor of config.json is: on the flash, or in a ROMFS (read-only)."""
    path = "anchors/" + name
    in_rom = "/rom/" + path
    return in_rom if not files.is_there(path) and files.is_there(in_rom) else path
