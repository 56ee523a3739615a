"""camera.commands, on both interpreters: its bounds. What it does is in tests/device."""

import json

from camera.commands import (
    REMEMBERED_MAX,
    REQUEST_MAX_BYTES,
    WAITING_MAX,
    WAITING_MAX_BYTES,
    Commands,
)


class Route:
    """Where a command came from, and its answer goes."""

    def __init__(self):
        self.answers = []

    def answer(self, text):
        self.answers.append(text)


class Counting:
    """An application that counts what it is asked for."""

    def __init__(self):
        self.health = 0

    def health_now(self):
        self.health += 1


def request(command_id):
    return json.dumps({"id": command_id, "do": "health"}).encode()


def test_no_more_wait_than_are_kept():
    app = Counting()
    commands = Commands(app, [])
    route = Route()
    for number in range(WAITING_MAX + 5):
        commands.take(request("c%d" % number), route)
    commands.run()
    assert len(route.answers) == app.health == WAITING_MAX


def test_no_more_bytes_wait_than_are_kept():
    app = Counting()
    commands = Commands(app, [])
    route = Route()
    for number in range(WAITING_MAX):
        commands.take(request("c%d" % number) + b" " * (REQUEST_MAX_BYTES - 100), route)
    commands.run()
    assert app.health == WAITING_MAX_BYTES // (REQUEST_MAX_BYTES - 50)
    # What is longer is refused, not kept.
    for number in range(WAITING_MAX):
        commands.take(request("d%d" % number) + b" " * REQUEST_MAX_BYTES, route)
    commands.run()
    refused = [answer for answer in route.answers if not json.loads(answer)["ok"]]
    assert len(refused) == WAITING_MAX


def test_as_many_ids_are_remembered():
    app = Counting()
    commands = Commands(app, [])
    for command_id in ["first"] + ["c%d" % number for number in range(REMEMBERED_MAX - 1)]:
        commands.take(request(command_id), Route())
        commands.run()
    asked = app.health
    commands.take(request("first"), Route())
    commands.run()
    assert app.health == asked
    commands.take(request("one more"), Route())
    commands.take(request("one_more"), Route())
    commands.take(request("first"), Route())
    commands.run()
    assert app.health == asked + 2
