"""What a camera makes of a server: the verdict of real mbedTLS, through the camera's own code."""

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import camera
from broker.errors import UserError
from camera.errors import REASONS
from host_tools.anchor import report
from host_tools.virtual_camera import micropython
from host_tools.virtual_camera.board import FIRMWARE, clock_environment
from host_tools.virtual_camera.micropython import MicroPython

PROBE = Path(__file__).parent / "probe.py"
ACCEPTED = "accepted"
# Seconds for each step, where no config.json says otherwise.
LIMITS_S = {"connect": 10, "handshake": 20, "connack": 10, "write": 20}


@dataclass(frozen=True)
class Question:
    """Would a camera with this anchor (DER) accept the server at address, asked for as host?

    With port 0: would it load the anchor at all?
    pins: see camera.anchors.Anchor.begin(); client_cert, client_key: the camera's own, DER.
    """

    anchor: bytes
    host: str = ""
    address: str = ""
    port: int = 0
    pins: tuple[str, ...] = ()
    client_cert: bytes = b""
    client_key: bytes = b""


@dataclass(frozen=True)
class Answer:
    """code: "accepted" or a reason code; words: mbedTLS's own. Of the path that it built, as
    camera.anchors.Anchor tells it: ends (Unix time in s, leaf first), leaf and issuers (digests).
    """

    code: str
    words: str
    ends: tuple[int, ...] = ()
    leaf: str = ""
    issuers: str = ""

    @property
    def is_accepted(self) -> bool:
        return self.code == ACCEPTED


def ask(
    runtime: MicroPython,
    questions: Sequence[Question],
    limits_s: Mapping[str, float],
    at: datetime | None = None,
) -> list[Answer]:
    """The answer to each question, in their order.

    limits_s: of the settings; at: the time that mbedTLS takes it to be, None: now. Raises
    UserError (exit code 3) when the probe itself fails.
    """
    with tempfile.TemporaryDirectory(prefix="anchorcam-probe-") as name:
        folder = Path(name)
        (folder / "camera").mkdir()
        for path, contents in laid_out(questions, limits_s).items():
            (folder / path).write_bytes(contents)
        clock = folder / "clock"
        offset = 0 if at is None else round(at.timestamp() - time.time())
        clock.write_text(f"{offset:+d}")
        each = limits_s["connect"] + limits_s["handshake"] + 5
        try:
            done = subprocess.run(
                [*runtime.command, "probe.py"],
                cwd=folder,
                env={"MICROPYPATH": f"{FIRMWARE}:.frozen", **clock_environment(runtime, clock)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=10 + each * len(questions),
            )
        except subprocess.TimeoutExpired:
            raise UserError("the probe of mbedTLS did not come to an end", exit_code=3) from None
    return read_answers(done.stdout, len(questions), done.stderr or done.stdout)


def ask_this_machine(questions: Sequence[Question]) -> list[Answer]:
    """As ask(), now, of the virtual camera's MicroPython. Raises UserError."""
    with report.working("asking mbedTLS"):
        return ask(micropython.find(), questions, LIMITS_S)


def read_answers(said: str, count: int, errors: str) -> list[Answer]:
    """What the probe has printed. Raises UserError (exit code 3)."""
    try:
        answers = [_answer(json.loads(line)) for line in said.splitlines()]
    except (ValueError, KeyError, TypeError):
        answers = []
    if len(answers) != count:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"the probe of mbedTLS failed: {last}", exit_code=3)
    return answers


def _answer(told: Any) -> Answer:
    code = told["code"]
    if code != ACCEPTED and code not in REASONS:
        raise ValueError(code)
    return Answer(
        code,
        str(told["words"]),
        tuple(told.get("ends", ())),
        told.get("leaf", ""),
        told.get("issuers", ""),
    )


def laid_out(
    questions: Sequence[Question],
    limits_s: Mapping[str, float],
    network: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Path -> contents of a folder in which probe.py can run: the application, the certificates,
    the jobs. network: of the settings, for a probe that has to bring it up first.
    """
    laid = {
        f"camera/{path.name}": path.read_bytes()
        for path in Path(camera.__file__).parent.glob("*.py")
    }
    laid["probe.py"] = PROBE.read_bytes()
    jobs = []
    for at, question in enumerate(questions):
        job: dict[str, Any] = {
            "host": question.host,
            "address": question.address,
            "port": question.port,
            "pins": question.pins,
        }
        for field in ("anchor", "client_cert", "client_key"):
            contents = getattr(question, field)
            if contents or field == "anchor":
                job[field] = f"{at}-{field}.der"
                laid[job[field]] = contents
        jobs.append(job)
    asked = {"limits_s": dict(limits_s), "network": network, "jobs": jobs}
    laid["jobs.json"] = json.dumps(asked).encode()
    return laid
