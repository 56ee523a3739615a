"""`anchorcam anchor check`: what real mbedTLS makes of every broker and anchor of config.json."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.errors import UserError
from camera.errors import REASONS
from host_tools.anchor import describing, mbedtls, report
from host_tools.anchor import on_camera as on_camera_probe
from host_tools.anchor.looking import WARN_DAYS, Json, Roots, look
from host_tools.anchor.mbedtls import Answer, Question
from host_tools.anchor.published import Published, own
from host_tools.anchor.target import Target
from host_tools.config import CONFIG, ConfigFile, SecretsFile, secrets_of
from host_tools.deploy import client, flash
from host_tools.virtual_camera import micropython

# What is asked, the limits_s of the settings, when: what mbedTLS says.
Ask = Callable[[Sequence[Question], Mapping[str, float], datetime], list[Answer]]

GOOD, SOON, REFUSED, NOT_ASKED = range(4)

# Reasons that say nothing of certificates: the broker could not be asked.
_UNREACHABLE = ("dns", "refused", "timeout", "memory")
_REMEDIES = {
    "anchor": "get it again: `anchorcam anchor fetch`",
    "untrusted": "`anchorcam anchor inspect {server}` shows which root anchors it now",
    "name_mismatch": "put a name of its certificate into `host`; `anchorcam anchor inspect"
    " {server}` shows them",
    "not_yet_valid": "is it the clock, or the broker's certificate?",
    "expired": "renew what has expired; `anchorcam anchor inspect {server}` shows it",
    "pin_mismatch": "`anchorcam anchor pin {server}` computes the pins of today",
    "client_cert": "`anchorcam config check` says what is wrong with the files in keys/",
    "tls": "`anchorcam anchor inspect {server}` shows what a camera cannot do there",
    "broker_closed": "does it speak TLS on this port? Its log may say why it closed",
    "dns": "is the name right, does DNS work here?",
    "refused": "is it the right port, does the broker run?",
    "timeout": "does the broker run, does a firewall drop?",
}


@dataclass(frozen=True)
class Verdict:
    """Of one broker with one anchor. is_spare: it is refused as untrusted, and another anchor
    of the same broker is accepted: a camera goes on to that.
    """

    server: str
    anchor: str
    answer: Answer
    remedy: str = ""
    is_spare: bool = False

    def expires(self) -> tuple[str, datetime] | None:
        """What of the path that mbedTLS built expires first, or has first expired, and when."""
        ends = self.answer.ends
        if self.answer.code not in (mbedtls.ACCEPTED, "expired") or not ends:
            return None
        at = ends.index(min(ends))
        what = "leaf" if at == 0 else "anchor" if at == len(ends) - 1 else "intermediate"
        return what, datetime.fromtimestamp(ends[at], UTC)

    def days(self, at: datetime) -> int | None:
        """Days until then."""
        first = self.expires()
        return None if first is None else (first[1] - at).days


def check(
    config: ConfigFile = CONFIG,
    at: Annotated[
        str | None,
        typer.Option("--at", help="Ask about a day to come: 2027-03-01, +60d, +12w, +1y."),
    ] = None,
    warn_days: Annotated[
        int, typer.Option(min=0, help="Exit code 1 when something expires this soon.")
    ] = WARN_DAYS,
    roots: Roots = [],  # noqa: B006 typer reads it, nobody changes it
    on_camera: Annotated[
        bool, typer.Option("--on-camera", help="Ask the attached camera's own mbedTLS.")
    ] = False,
    port: Annotated[
        str | None, typer.Option(help="The camera's port or USB serial number, if there are two.")
    ] = None,
    secrets: SecretsFile = None,
    json: Json = False,
) -> None:
    """Ask real mbedTLS whether a camera with this config.json accepts its brokers.

    Exit code 0: yes, and nothing expires soon; 1: something does; 2: something is refused now;
    3: it could not be asked.
    """
    when = moment(at)
    ask: Ask = ask_here
    if on_camera:
        # With the Wi-Fi's key.
        network = flash.load_settings(config, secrets_of(config, secrets))["network"]
        ask = partial(on_camera_probe.ask, port, network)
    elif port or secrets:
        raise UserError("--port and --secrets are for --on-camera", exit_code=2)
    verdicts = verdicts_of(config, when, Published(own(roots)), ask)
    status = status_of(verdicts, when, warn_days)
    if json:
        report.show_json(_as_json(verdicts, when, status))
    else:
        _show(verdicts, when, warn_days)
    raise typer.Exit(status)


def moment(text: str | None) -> datetime:
    """ "2027-03-01" or "+60d" as a time; None: now. Raises UserError (exit code 2)."""
    now = datetime.now(UTC)
    if text is None:
        return now
    ahead = re.fullmatch(r"\+(\d{1,5})([dwy])", text)
    try:
        if ahead:
            return now + int(ahead[1]) * timedelta(days={"d": 1, "w": 7, "y": 365}[ahead[2]])
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UserError(
            f"--at {text!r} is no day: give it as 2027-03-01, +60d, +12w or +1y", exit_code=2
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def ask_here(
    questions: Sequence[Question], limits_s: Mapping[str, float], at: datetime
) -> list[Answer]:
    """The answers of the virtual camera's mbedTLS. Raises UserError (exit code 3)."""
    asked: list[Question] = []
    not_found: dict[int, Answer] = {}
    for index, each in enumerate(questions):
        try:
            address = Target(each.host, each.port, each.host).address()
        except UserError as error:
            not_found[index] = Answer("dns", str(error))
        else:
            asked.append(replace(each, address=address))
    with report.working(f"asking mbedTLS {len(asked)} times"):
        told = iter(mbedtls.ask(micropython.find(), asked, limits_s, at) if asked else ())
    return [not_found.get(index) or next(told) for index in range(len(questions))]


def verdicts_of(config: Path, at: datetime, known: Published, ask: Ask = ask_here) -> list[Verdict]:
    """mbedTLS's verdict of each broker with each of its anchors, in their order.

    Raises UserError (exit code 2 for the settings, 3 when mbedTLS cannot be asked).
    """
    settings = flash.load_config(config)
    asked: list[tuple[Target, str, Question | Answer]] = []
    for broker in settings["brokers"]:
        target = Target(broker["host"], broker["port"], broker["host"])
        for name in broker["anchors"]:
            asked.append((target, name, _question(config, broker, target, name)))
    questions = [each for _, _, each in asked if isinstance(each, Question)]
    told = iter(ask(questions, settings["limits_s"], at) if questions else ())
    verdicts = []
    for target, name, each in asked:
        answer = each if isinstance(each, Answer) else next(told)
        server = f"{target.host}:{target.port}"
        verdicts.append(Verdict(server, name, answer, _remedy(answer, server, known)))
    working = {verdict.server for verdict in verdicts if verdict.answer.is_accepted}
    return [
        Verdict(v.server, v.anchor, v.answer, "another anchor of this broker serves", True)
        if v.answer.code == "untrusted" and v.server in working
        else v
        for v in verdicts
    ]


def status_of(verdicts: Sequence[Verdict], at: datetime, warn_days: int) -> int:
    """The exit code: # What is asked, the limits_s of the settings, when: what mbedTLS says.
    Ask = Callable[[Sequence[Question], Mapping[str, float], datetime], list[Answer]]

    GOOD, SOON, REFUSED or NOT_ASKED."""
    counted = [verdict for verdict in verdicts if not verdict.is_spare]
    codes = [verdict.answer.code for verdict in counted]
    if any(code not in (mbedtls.ACCEPTED, *_UNREACHABLE) for code in codes):
        return REFUSED
    if any(code in _UNREACHABLE for code in codes):
        return NOT_ASKED
    days = [verdict.days(at) for verdict in counted]
    return SOON if any(left is not None and left < warn_days for left in days) else GOOD


def _question(config: Path, broker: dict[str, Any], target: Target, name: str) -> Question | Answer:
    """What to ask, or the answer where there is nothing to ask mbedTLS."""
    try:
        anchor = (config.parent / "anchors" / name).read_bytes()
    except OSError as error:
        return Answer("anchor", f"anchors/{name} cannot be read: {error.strerror}")
    own: tuple[bytes, ...] = ()
    if broker["client_cert"]:
        try:
            own = tuple(client.files(config, broker["client_cert"], broker["client_key"]).values())
        except UserError as error:
            return Answer("client_cert", str(error))
    pins = tuple(broker["pin_sha256"])
    return Question(anchor, target.name, "", target.port, pins, *own)


def _remedy(answer: Answer, server: str, known: Published) -> str:
    if answer.code == "untrusted":
        try:
            found = look(server, None, known, 10.0)
        except UserError:
            found = None
        if found is not None and found.recommended is not None:
            root = describing.name(found.recommended.certificate)
            return f"its chain leads to {root}: `anchorcam anchor fetch {server}`"
    return _REMEDIES.get(answer.code, "").format(server=server)


def _show(verdicts: Sequence[Verdict], at: datetime, warn_days: int) -> None:
    rows, to = [], report.console()
    for verdict in verdicts:
        first, days = verdict.expires(), verdict.days(at)
        expires = f"{first[0]} {first[1]:%Y-%m-%d}" if first else ""
        style = "green"
        if verdict.is_spare:
            style = "dim"
        elif not verdict.answer.is_accepted:
            style = "red"
        elif days is not None and days < warn_days:
            style = "yellow"
        code = "spare" if verdict.is_spare else verdict.answer.code
        left = "" if days is None else str(days)
        rows.append(((verdict.server, verdict.anchor, code, expires, left), style))
    report.show_rows(rows, ("broker", "anchor", "a camera", "expires first", "days"), to)
    for verdict in verdicts:
        if not verdict.answer.is_accepted:
            to.print()
            sheet = report.Sheet()
            sheet.line("broker", f"{verdict.server} with {verdict.anchor}", "bold")
            sheet.line("reason", f"{verdict.answer.code}: {REASONS[verdict.answer.code]}")
            if verdict.answer.words:
                sheet.line("mbedTLS", verdict.answer.words)
            if verdict.remedy:
                sheet.line("remedy", verdict.remedy)
            sheet.show(to)


def _as_json(verdicts: Sequence[Verdict], at: datetime, status: int) -> dict[str, Any]:
    told = []
    for verdict in verdicts:
        first = verdict.expires()
        told.append(
            {
                "broker": verdict.server,
                "anchor": verdict.anchor,
                "code": verdict.answer.code,
                "words": verdict.answer.words or None,
                "remedy": verdict.remedy or None,
                "spare": verdict.is_spare,
                "expires": first[1].isoformat() if first else None,
                "expires_first": first[0] if first else None,
                "days": verdict.days(at),
            }
        )
    return {"at": at.isoformat(), "exit_code": status, "verdicts": told}
