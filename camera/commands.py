"""Commands over MQTT: taken in while a packet is read, run between two steps, answered once.

Request, at most 1 KiB, on <prefix>/<id>/cmd; answer on .../cmd/result:

    {"id": "a1", "do": "set", "interval_s": 5}    {"id": "a1", "ok": true}
    {"id": "a2", "do": "fly"}                     {"id": "a2", "ok": false, "error": "..."}

Pure, but for what it asks of the application.
"""

import json

from camera.topics import is_id

REQUEST_MAX_BYTES = 1024
# Requests that wait at a time, and ids that are remembered; a sender awaits its answer.
WAITING_MAX = 8
REMEMBERED_MAX = 16

_RESTARTS = ("reboot", "maintenance")
_VERBS = ("snapshot", "health", "set") + _RESTARTS


class Commands:
    """The commands of one application.

    app: an app.App, or whatever has its methods for commands. ran_last: the id of the
    command that restarted the camera, if one did: when the broker delivers it again (a
    retained one at each connect) it must not restart the camera again.
    """

    def __init__(self, app, ran_last):
        self._app = app
        self._waiting = []
        self._remembered = [ran_last] if ran_last else []

    def take(self, message, answer):
        """Keep a request until run(); answer(bytes) is called once, before a restart."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((bytes(message), answer))

    def run(self):
        """Run what waits."""
        while self._waiting:
            self._run(*self._waiting.pop(0))

    def _run(self, message, answer):
        try:
            request = json.loads(message.decode()) if len(message) <= REQUEST_MAX_BYTES else None
        except (ValueError, RuntimeError):  # RuntimeError: nested too deep
            request = None
        if not isinstance(request, dict) or not is_id(request.get("id")):
            answer(_refusal(None, 'a request is {"id": ID, "do": VERB}, at most 1 KiB'))
            return
        command_id = request.pop("id")
        if command_id in self._remembered:
            answer(_reply(command_id, {"repeated": True}))
            return
        self._remembered.append(command_id)
        del self._remembered[:-REMEMBERED_MAX]
        verb = request.pop("do", None)
        problem = self._problem(command_id, verb, request)
        if problem:
            answer(_refusal(command_id, problem))
            return
        told = {}
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


def _refusal(command_id, problem):
    return json.dumps({"id": command_id, "ok": False, "error": problem}).encode()
