"""`anchorcam anchor rollover`: which roots come next, which cameras lack them, and until when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from broker.errors import UserError
from host_tools.anchor import describing, fetching, files, report
from host_tools.anchor.looking import Json
from host_tools.anchor.published import Published, Root
from host_tools.config import CONFIG, ConfigFile
from host_tools.deploy import flash
from host_tools.watch import records, schema
from host_tools.watch.command import DATA, LedgerUrl

# As long before the last day a fleet should be done: a camera may be off for a while.
_MARGIN_DAYS = 90


@dataclass(frozen=True)
class Anchor:
    """An anchor of today, as config.json names it. until: when it ends, and why then."""

    file: str
    certificate: x509.Certificate
    until: date
    why: str


@dataclass(frozen=True)
class Step:
    """One root to come, at one broker. file: its name in config.json, "" if it is not there;
    cameras: those of the ledger that use the broker: True if it has the root, False if not,
    None if it does not say.
    """

    server: str
    today: tuple[Anchor, ...]
    root: Root
    file: str
    cameras: Mapping[str, bool | None]

    def lacking(self) -> list[str]:
        """The cameras that are not known to have it."""
        return sorted(name for name, has in self.cameras.items() if not has)

    def is_done(self) -> bool:
        """Configured, and on every camera that is known."""
        return bool(self.file) and not self.lacking()

    def last_day(self) -> tuple[date, str]:
        """When the last anchor of today ends, and why then."""
        last = max(self.today, key=lambda anchor: anchor.until)
        return last.until, f"{describing.name(last.certificate)}: {last.why}"


def rollover(
    config: ConfigFile = CONFIG,
    next_roots: Annotated[
        list[str],
        typer.Option("--next", help="A root to come: a published name, or a file; repeatable."),
    ] = [],  # noqa: B006 typer reads it, nobody changes it
    data: Annotated[Path, typer.Option(help="The watcher's folder, with its ledger.")] = DATA,
    ledger: LedgerUrl = None,
    json: Json = False,
) -> None:
    """Plan the change to the roots that come next.

    Exit code 0: nothing is to be done; 1: something is.
    """
    steps = plan(config, next_roots, _births(data, ledger))
    if json:
        report.show_json([_as_json(step) for step in steps])
    else:
        _show(steps, config)
    raise typer.Exit(0 if all(step.is_done() for step in steps) else 1)


def plan(
    config: Path,
    next_roots: Sequence[str],
    births: Mapping[str, Mapping[str, Any] | None],
) -> list[Step]:
    """Every root to come, at every broker. births: camera -> its last birth message.

    Raises UserError (exit code 2).
    """
    known = Published()
    wanted = [_named(each, known) for each in next_roots]
    steps = []
    for broker in flash.load_config(config)["brokers"]:
        today = tuple(_anchor(config, name, known) for name in broker["anchors"])
        digests = {describing.sha256(anchor.certificate): anchor.file for anchor in today}
        coming = {root.sha256: root for root in (*_successors(today, known), *wanted)}
        # What comes next is no anchor of today, even where it is configured already.
        old = tuple(a for a in today if describing.sha256(a.certificate) not in coming) or today
        using = {name: birth for name, birth in births.items() if _uses(birth, broker["host"])}
        steps += [
            Step(
                f"{broker['host']}:{broker['port']}",
                old,
                root,
                digests.get(digest, ""),
                {name: _has(birth, digest) for name, birth in using.items()},
            )
            for digest, root in coming.items()
        ]
    return steps


def _births(data: Path, ledger: str | None) -> dict[str, Mapping[str, Any] | None]:
    """Every camera's last birth message; {} where no watcher has been."""
    where = schema.location(data, ledger)
    if ledger is None and not Path(str(where.database)).exists():
        return {}
    return {name: birth for name, (birth, _) in records.reports(where).items()}


def _anchor(config: Path, name: str, known: Published) -> Anchor:
    certificate = files.read_one(config.parent / "anchors" / name)
    until, why = certificate.not_valid_after_utc.date(), "its certificate expires"
    root = known.with_digest(describing.sha256(certificate))
    if root and root.trusted_until and root.trusted_until < until:
        until, why = root.trusted_until, "root programs end their trust in it"
    return Anchor(name, certificate, until, why)


def _successors(today: Sequence[Anchor], known: Published) -> list[Root]:
    found = []
    for anchor in today:
        root = known.with_digest(describing.sha256(anchor.certificate))
        for name in root.successors if root else ():
            found += known.named(name)
    return found


def _named(text: str, known: Published) -> Root:
    path = Path(text)
    if path.is_file():
        certificate = files.read_one(path)
        digest = describing.sha256(certificate)
        return known.with_digest(digest) or Root(
            describing.name(certificate), digest, f"your own {path}", certificate
        )
    named = known.named(text)
    if not named:
        raise UserError(
            f"--next {text!r} is neither a published root nor a file: `anchorcam anchor fetch"
            f" {text!r}` tells what is like it",
            exit_code=2,
        )
    return named[0]


def _uses(birth: Mapping[str, Any] | None, host: str) -> bool:
    return birth is not None and birth.get("broker") in (host, None)


def _has(birth: Mapping[str, Any] | None, sha256: str) -> bool | None:
    """Whether a camera told that it has it: docs/protocol.md, State."""
    told = birth.get("anchors") if birth else None
    return sha256[:16] in told if isinstance(told, list) else None


def _show(steps: Sequence[Step], config: Path) -> None:
    to = report.console()
    if not steps:
        to.print(
            "no CA of these anchors has announced another root that is known here; --next names one"
        )
    for step in steps:
        sheet = report.Sheet()
        sheet.line("broker", step.server, "bold")
        for anchor in step.today:
            name = describing.name(anchor.certificate)
            sheet.line("today", f"{name} ({anchor.file}), until {anchor.until}: {anchor.why}")
        sheet.line("next", f"{step.root.name}, {step.root.source}")
        sheet.line("next", f"SHA-256 {step.root.sha256}")
        if step.cameras:
            has = sum(has is True for has in step.cameras.values())
            sheet.line("cameras", f"{has} of {len(step.cameras)} have it")
            if step.lacking():
                sheet.line("cameras", f"lacking, or not told: {', '.join(step.lacking())}")
        else:
            sheet.line("cameras", "none is known: the watcher's ledger has no birth message")
        for text in _to_do(step, config):
            sheet.line("to do", text)
        day, why = step.last_day()
        sheet.line("before", f"{day} ({why}); be done {_MARGIN_DAYS} days earlier")
        sheet.show(to)
        to.print()


def _to_do(step: Step, config: Path) -> list[str]:
    if step.is_done():
        return ["nothing"]
    file = step.file or fetching.file_name(step.root.name)
    steps = []
    if not (config.parent / "anchors" / file).is_file():
        steps.append(f'anchorcam anchor fetch "{step.root.name}"')
    if not step.file:
        steps.append(f'add "{file}" behind the anchors of {step.server} in {config}')
    lacking = step.lacking()
    if lacking:
        steps.append(f"deploy, or: anchorcam anchor send {lacking[0]} anchors/{file}")
    elif not step.cameras:
        steps.append("deploy it to every camera")
    return [f"{at}. {text}" for at, text in enumerate(steps, 1)]


def _as_json(step: Step) -> dict[str, Any]:
    day, why = step.last_day()
    return {
        "broker": step.server,
        "today": [
            {
                "file": anchor.file,
                "name": describing.name(anchor.certificate),
                "sha256": describing.sha256(anchor.certificate),
                "until": anchor.until.isoformat(),
                "why": anchor.why,
            }
            for anchor in step.today
        ],
        "next": step.root.name,
        "sha256": step.root.sha256,
        "source": step.root.source,
        "file": step.file or None,
        "cameras": dict(step.cameras),
        "before": day.isoformat(),
        "before_why": why,
        "days": (day - datetime.now(UTC).date()).days,
        "done": step.is_done(),
    }
