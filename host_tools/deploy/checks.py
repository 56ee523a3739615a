"""What is checked before a camera is touched: do its anchors anchor its brokers?"""

import time
from datetime import UTC, datetime
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, getaddrinfo

from broker.errors import UserError
from host_tools.anchor.mbedtls import Answer, Question, ask
from host_tools.deploy.flash import Settings
from host_tools.virtual_camera.micropython import MicroPython

# The way there failed, and not the verification.
_NO_VERDICT = ("refused", "timeout", "memory")
_DAY_S = 86400
_WARN_DAYS = 14


def anchors(runtime: MicroPython, settings: Settings, folder: Path) -> tuple[list[str], list[str]]:
    """What mbedTLS says of each broker's anchors: lines that are good or only warn, and refusals.

    One accepted anchor of a broker is enough: the camera tries them in turn. folder: that of the
    anchors.
    """
    told, refused = [], []
    for broker in settings["brokers"]:
        where = f"{broker['host']}:{broker['port']}"
        try:
            found = getaddrinfo(broker["host"], broker["port"], AF_INET, SOCK_STREAM)
        except (OSError, UnicodeError):
            told.append(f"{where} is not known here: its anchors were not checked")
            continue
        address = str(found[0][4][0])
        questions = [
            Question(broker["host"], address, broker["port"], (folder / name).read_bytes())
            for name in broker["anchors"]
        ]
        answers = ask(runtime, questions, settings["limits_s"])
        lines = [
            f"{where}, {name}: {_said(answer)}"
            for name, answer in zip(broker["anchors"], answers, strict=True)
        ]
        if any(answer.is_accepted for answer in answers) or all(
            answer.code in _NO_VERDICT for answer in answers
        ):
            told += lines
        else:
            refused += lines
    return told, refused


def refuse(refused: list[str], force: bool) -> None:
    """Raises UserError (exit code 1) for what was refused, unless forced."""
    if refused and not force:
        raise UserError(
            "a camera with these anchors would not connect:\n"
            + "\n".join(f"  {line}" for line in refused)
            + "\nput the right anchor into anchors/ (docs/operations.md), or --force"
        )


def _said(answer: Answer) -> str:
    if answer.code in _NO_VERDICT:
        return f"not checked, it cannot be reached from here ({answer.code})"
    if not answer.is_accepted:
        return f"refused, {answer.code}: {answer.words}"
    days = int((min(answer.ends) - time.time()) // _DAY_S)
    day = datetime.fromtimestamp(min(answer.ends), UTC).date()
    soon = " SOON" if days < _WARN_DAYS else ""
    return f"accepted; what ends first of its chain does so in {days} days, on {day}{soon}"
