"""Password accounts: who may connect, and in which role.

<data>/accounts.json holds account -> role and a hash; the passwords themselves are written to
a secrets file only, {"passwords": {account: password}}, which is what a camera is given.

The hash is a fast one (salted BLAKE2b), on purpose. A slow hash protects passwords that people
chose; ours are always 24 random bytes, which no one guesses at any speed. amqtt's own file
authentication uses argon2 inside the event loop: 100 logins stopped the broker for 9 s
(measured).
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from broker.errors import UserError
from broker.files import locked, make_folder, write_atomic
from broker.rules import Role
from camera.topics import is_id

_ROLES = get_args(Role)
WATCHER = "watcher"


@dataclass(frozen=True)
class _Account:
    role: Role
    salt: bytes
    hash: bytes


# Compared with when there is no such account: the answer takes as long as for a wrong password.
_NOBODY = _Account("camera", bytes(16), bytes(32))


class Accounts:
    """The accounts in one file, as of the last refresh()."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version: tuple[int, int, int] | None = None
        self._accounts: dict[str, _Account] = {}

    def login(self, name: str | None, password: str | None) -> bool:
        """True when the password is this account's, by the file as last read."""
        account = self._accounts.get(name or "")
        given = _hash(password or "", (account or _NOBODY).salt)
        return hmac.compare_digest(given, (account or _NOBODY).hash) and account is not None

    def role(self, name: str | None) -> Role | None:
        """The account's role; None: there is none of this name."""
        account = self._accounts.get(name or "")
        return account.role if account else None

    def refresh(self) -> None:
        """Read the file if it is another than the last time. Raises UserError."""
        try:
            status = os.stat(self.path)
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version == self._version:
                return
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            version, text = None, '{"accounts": {}}'
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"cannot read the accounts in {self.path}: {error}; make the file readable"
            ) from error
        # Set first: a file that cannot be used is complained about once, not at each login.
        self._version = version
        self._accounts = _parse(self.path, text)

    def ensure(self, wanted: dict[str, Role], secrets_path: Path) -> None:
        """Make each wanted account exist, with the password that the secrets file has for it.

        Where the secrets file has none, a new one is made and added to it; whatever else is
        in that file stays. Raises UserError.
        """
        for name in wanted:
            if not is_id(name):
                raise UserError(
                    f'{name!r} cannot be an account: use 1 to 32 letters, digits, "-" or "_"',
                    exit_code=2,
                )
        try:
            make_folder(self.path.parent, 0o700)
            with locked(self.path.with_suffix(".lock"), wait=True):
                passwords = ensure_passwords(secrets_path, list(wanted))
                self.refresh()
                changed = dict(self._accounts)
                for name, role in wanted.items():
                    if not self.login(name, passwords[name]) or self.role(name) != role:
                        changed[name] = _new_account(role, passwords[name])
                if changed != self._accounts:
                    write_atomic(self.path, _serialise(changed))
                self.refresh()
        except OSError as error:
            raise UserError(
                f"cannot keep the accounts in {self.path.parent}: {error.strerror or error}; "
                "make it writable or choose another folder with --data"
            ) from error


def read_password(secrets_path: Path, name: str) -> str:
    """The password that the secrets file has for this account. Raises UserError."""
    password = _read_secrets(secrets_path)["passwords"].get(name)
    if not password:
        raise UserError(
            f"{secrets_path} has no password for {name}: start the broker with "
            "--secrets naming this file, which adds it",
            exit_code=2,
        )
    return str(password)


def ensure_passwords(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The passwords in a secrets file, with a new one for each name that has none.

    Raises UserError.
    """
    contents = _read_secrets(path)
    passwords: dict[str, str] = contents["passwords"]
    missing = [name for name in names if not passwords.get(name)]
    if missing:
        passwords.update((name, secrets.token_urlsafe(24)) for name in missing)
        try:
            make_folder(path.parent)
            write_atomic(path, json.dumps(contents, indent=2).encode() + b"\n")
        except OSError as error:
            raise UserError(
                f"cannot write the passwords to {path}: {error.strerror or error}; "
                "make it writable or choose another file with --secrets"
            ) from error
    return passwords


def _read_secrets(path: Path) -> dict[str, Any]:
    """The secrets file, {"passwords": {}} if there is none. Its values never reach a message."""
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"passwords": {}}
    except OSError as error:
        raise UserError(
            f"cannot read the passwords in {path}: {error.strerror}; "
            "make it readable or choose another file with --secrets"
        ) from error
    except (ValueError, RecursionError):
        raise UserError(
            f"the secrets file {path} is not JSON: mend it, or remove it to have new "
            "passwords made (cameras then need the new file)",
            exit_code=2,
        ) from None
    passwords = contents.setdefault("passwords", {}) if isinstance(contents, dict) else None
    if not isinstance(passwords, dict) or not all(isinstance(v, str) for v in passwords.values()):
        raise UserError(
            f"the secrets file {path} has the wrong shape: "
            'it must be {"passwords": {"account": "password"}}',
            exit_code=2,
        )
    return dict(contents)


def _new_account(role: Role, password: str) -> _Account:
    salt = secrets.token_bytes(hashlib.blake2b.SALT_SIZE)
    return _Account(role, salt, _hash(password, salt))


def _hash(password: str, salt: bytes) -> bytes:
    # surrogatepass: a password from the wire may be any text.
    return hashlib.blake2b(
        password.encode("utf-8", "surrogatepass"), salt=salt, digest_size=32
    ).digest()


def _parse(path: Path, text: str) -> dict[str, _Account]:
    try:
        records = json.loads(text)["accounts"]
        accounts = {
            name: _Account(
                record["role"], bytes.fromhex(record["salt"]), bytes.fromhex(record["hash"])
            )
            for name, record in records.items()
        }
        whole = all(
            is_id(name)
            and account.role in _ROLES
            and (len(account.salt), len(account.hash)) == (16, 32)
            for name, account in accounts.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(
            f"the accounts file {path} is damaged: remove it and start the broker again, "
            "which makes it anew from the passwords in the secrets file"
        )
    return accounts


def _serialise(accounts: dict[str, _Account]) -> bytes:
    records = {
        name: {"role": account.role, "salt": account.salt.hex(), "hash": account.hash.hex()}
        for name, account in accounts.items()
    }
    return json.dumps({"accounts": records}, indent=2).encode() + b"\n"
