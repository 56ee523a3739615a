"""What a camera needs of its own, made on the host: a password, a client key, an account."""

from datetime import timedelta
from pathlib import Path

from broker.accounts import Accounts, ensure_passwords
from host_tools import device_cert
from host_tools.deploy import client, flash

_CERTIFICATE_DAYS = 365


def provision(config: Path, secrets: Path, broker: Path) -> list[str]:
    """Make what this config file needs and has not: what was done, without anything secret.

    broker: the test broker's data folder; where there is none, the account has to be made at
    the broker by hand. Raises UserError.
    """
    settings = flash.load_config(config)
    users = sorted({each["user"] for each in settings["brokers"]})
    accounts = broker / "accounts.json"
    if accounts.exists():
        Accounts(accounts).ensure(dict.fromkeys(users, "camera"), secrets)
        told = [
            f"account {user} of the test broker; its password is in {secrets}" for user in users
        ]
    else:
        ensure_passwords(secrets, users)
        told = [
            f"password of {user} in {secrets}: make this account at the broker, with the right to"
            f" write below {settings['topics']['prefix']}/{settings['camera']['id']}/"
            for user in users
        ]
    for each in settings["brokers"]:
        told += _client_certificate(config.parent / client.FOLDER, each, broker)
    return told


def _client_certificate(folder: Path, settings: flash.Settings, broker: Path) -> list[str]:
    user = settings["user"]
    names = (settings["client_cert"], settings["client_key"])
    # Any other names are those of files that somebody else makes.
    if names != device_cert.names(user) or (folder / names[0]).exists():
        return []
    device_cert.issue(user, broker, folder, timedelta(days=_CERTIFICATE_DAYS), force=False)
    return [f"client key and certificate of {user} in {folder}"]
