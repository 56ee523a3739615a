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
    for number in range(WAITING_MAX + 5):
        commands.take(b"t", request("c%d" % number))
    answers = []
    commands.run(answers.append)
    assert len(answers) == app.health == WAITING_MAX


def test_as_many_ids_are_remembered():
    app = Counting()
    commands = Commands(app, "")
    for command_id in ["first"] + ["c%d" % number for number in range(REMEMBERED_MAX - 1)]:
        commands.take(b"t", request(command_id))
        commands.run(len)
    asked = app.health
    commands.take(b"t", request("first"))
    commands.run(len)
    assert app.health == asked
    commands.take(b"t", request("one more"))
    commands.take(b"t", request("one_more"))
    commands.take(b"t", request("first"))
    commands.run(len)
    assert app.health == asked + 2


def test_an_answer_that_cannot_be_sent_does_not_run_it_again():
    def fail(answer):
        raise OSError

    app = Counting()
    commands = Commands(app, "")
    commands.take(b"t", request("a"))
    try:
        commands.run(fail)
    except OSError:
        pass
    answers = []
    commands.take(b"t", request("a"))
    commands.run(answers.append)
    assert app.health == 1
    assert json.loads(answers[0])["repeated"] is True
