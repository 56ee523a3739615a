"""Commands over MQTT: taken in while a packet is read, run between two steps, answered once.

Request, at most 3 KiB, on <prefix>/<id>/cmd; answer on .../cmd/result:

    {"id": "a1", "do": "set", "interval_s": 5}    {"id": "a1", "ok": true}
    {"id": "a2", "do": "fly"}                     {"id": "a2", "ok": false, "error": "..."}

Pure, but for what it asks of the application.
"""

import json

from camera.topics import is_id

# A root's certificate is 0.5 to 1.5 KiB.
ANCHOR_MAX_BYTES = 2048
# An anchor in base64, and what goes with it.
REQUEST_MAX_BYTES = 3072
# Requests that wait at a time, and ids that are remembered; a sender awaits its answer.
WAITING_MAX = 8
WAITING_MAX_BYTES = 8192
REMEMBERED_MAX = 16

_RESTARTS = ("reboot", "maintenance")
_VERBS = ("snapshot", "health", "set", "anchor") + _RESTARTS


class Commands:
    """The commands of one application.

    app: an app.App, or whatever has its methods for commands. ran: ids of commands of earlier
    boots: when the broker delivers one again (a retained one at each connect) it must not, say,
    restart the camera again.
    """

    def __init__(self, app, ran):
        self._app = app
        self._waiting = []
        self._remembered = ran

    def take(self, message, route):
        """Keep a request until run(); route.answer(bytes) is called once, before a restart."""
        # What is too long is refused like what is empty; it need not be kept for that.
        message = bytes(message) if len(message) <= REQUEST_MAX_BYTES else b""
        size = sum(len(each) for each, _ in self._waiting)
        if len(self._waiting) < WAITING_MAX and size + len(message) <= WAITING_MAX_BYTES:
            self._waiting.append((message, route))

    def run(self):
        """Run what waits."""
        while self._waiting:
            self._run(*self._waiting.pop(0))

    def _run(self, message, route):
        answer = route.answer
        try:
            request = json.loads(message.decode())
        except (ValueError, RuntimeError):  # RuntimeError: nested too deep
            request = None
        if not isinstance(request, dict) or not is_id(request.get("id")):
            answer(_refusal(None, 'a request is {"id": ID, "do": VERB}, at most 3 KiB'))
            return
        command_id = request.pop("id")
        if command_id in self._remembered:
            answer(_reply(command_id, {"repeated": True}))
            return
        self._remembered.append(command_id)
        del self._remembered[:-REMEMBERED_MAX]
        verb = request.pop("do", None)
        told = {}
        if verb == "anchor":
            problem, told = self._app.change_anchors(route, command_id, request)
        else:
            problem = self._problem(command_id, verb, request)
        if problem:
            answer(_refusal(command_id, problem, told))
            return
        if verb == "snapshot":
            told["seq"] = self._app.snapshot_now()
        elif verb == "health":
            self._app.health_now()
        answer(_reply(command_id, told))
        if verb in _RESTARTS:
            self._app.restart()

    def _problem(self, command_id, verb, rest):
        if verb == "set":
            return self._app.change(rest)
        if verb not in _VERBS:
            return '"do" must be one of ' + ", ".join(_VERBS)
        if rest:
            return "it takes nothing beside id and do"
        if verb in _RESTARTS:
            return self._app.prepare_restart(command_id, verb == "maintenance")
        return None


def _reply(command_id, told):
    told["id"] = command_id
    told["ok"] = True
    return json.dumps(told).encode()


def _refusal(command_id, problem, told=()):
    refusal = dict(told)
    refusal.update({"id": command_id, "ok": False, "error": problem})
    return json.dumps(refusal).encode()
