"""What a watcher needs to know, from config.json, anchors/ and secrets.json."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from cryptography import x509
from sqlalchemy import URL

from broker.accounts import WATCHER
from broker.errors import UserError
from camera import der, settings
from host_tools.watch import schema
from host_tools.watch.account import Account
from host_tools.watch.retention import IMAGES, ROWS, Keep


@dataclass(frozen=True, kw_only=True)
class Options(Account):
    """One broker to watch, and where to keep what comes. Times in seconds."""

    folder: Path
    ledger: URL
    reorder_s: float = 10.0
    keep_images: Keep = field(default_factory=Keep)
    keep_rows: Keep = field(default_factory=Keep)
    user: str = WATCHER

    @property
    def account(self) -> Account:
        """Only that."""
        return Account(**{each.name: getattr(self, each.name) for each in fields(Account)})


def load(
    config: Path,
    folder: Path,
    *,
    secrets: Path | None = None,
    port: int | None = None,
    ledger: str | None = None,
    reorder_s: float = 10.0,
    keep_images: str = IMAGES,
    keep_rows: str = ROWS,
) -> Options:
    """The options in config.json, and beside it anchors/ and, unless given, secrets.json.

    ledger: see schema.location(). Raises UserError (exit code 2) that names every problem
    found in the settings.
    """
    secrets = secrets or config.parent / "secrets.json"
    try:
        checked = settings.load_config(_text(config, "give its path as CONFIG"))
    except settings.SettingsError as error:
        lines = [f"{config}: {path} {what}; put {right}" for path, what, right in error.problems]
        raise UserError("\n".join(lines), exit_code=2) from error
    broker = checked["brokers"][0]
    name = broker["anchors"][0]
    return Options(
        host=broker["host"],
        port=port or broker["port"],
        anchor=_anchor(config.parent / "anchors" / name),
        anchor_name=name,
        password=_password(secrets),
        prefix=checked["topics"]["prefix"],
        folder=folder,
        ledger=schema.location(folder, ledger),
        reorder_s=reorder_s,
        keep_images=Keep.parse(keep_images, "--keep-images"),
        keep_rows=Keep.parse(keep_rows, "--keep-rows"),
    )


def _anchor(path: Path) -> bytes:
    anchor = _bytes(path, "copy the broker's anchor there")
    problem = der.problem(anchor)
    if not problem:
        try:
            x509.load_der_x509_certificate(anchor)
        except ValueError:
            problem = "it is DER, but no certificate: copy the CA's .der file again"
    if problem:
        raise UserError(f"the anchor {path} cannot be used: {problem}", exit_code=2)
    return anchor


def _password(path: Path) -> str:
    try:
        secrets = json.loads(_text(path, "the broker writes it; --secrets names another"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON; mend the syntax", exit_code=2) from error
    passwords = secrets.get("passwords") if isinstance(secrets, dict) else None
    password = passwords.get(WATCHER) if isinstance(passwords, dict) else None
    if not isinstance(password, str) or not password:
        raise UserError(
            f'{path} has no password of the account {WATCHER}; add it under "passwords"',
            exit_code=2,
        )
    return password


def _text(path: Path, remedy: str) -> str:
    try:
        return _bytes(path, remedy).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save it as that", exit_code=2) from error


def _bytes(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {remedy}", exit_code=2) from error
