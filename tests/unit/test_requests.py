"""camera.commands, on both interpreters: its bounds. What it does is in tests/device."""

import json

from camera.commands import REMEMBERED_MAX, WAITING_MAX, Commands


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
    commands = Commands(app, "")
    answers = []
    for number in range(WAITING_MAX + 5):
        commands.take(request("c%d" % number), answers.append)
    commands.run()
    assert len(answers) == app.health == WAITING_MAX


def ignore(answer):
    pass


def test_as_many_ids_are_remembered():
    app = Counting()
    commands = Commands(app, "")
    for command_id in ["first"] + ["c%d" % number for number in range(REMEMBERED_MAX - 1)]:
        commands.take(request(command_id), ignore)
        commands.run()
    asked = app.health
    commands.take(request("first"), ignore)
    commands.run()
    assert app.health == asked
    commands.take(request("one more"), ignore)
    commands.take(request("one_more"), ignore)
    commands.take(request("first"), ignore)
    commands.run()
    assert app.health == asked + 2
