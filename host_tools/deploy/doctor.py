"""`anchorcam doctor`: the whole way from the camera to the watcher, one line per step."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from broker.errors import UserError
from host_tools.config import CONFIG, ConfigFile, SecretsFile, secrets_of
from host_tools.deploy import (
    application,
    compiling,
    facts,
    flash,
    passing,
    plan,
    ports,
    romfs,
    transfer,
    umqtt,
)
from host_tools.deploy.device import Device
from host_tools.deploy.stopping import PortOption

_WALK = Path(__file__).parent / "camera_side/doctor.py"
# Scan, link, clock servers, and a handshake for each anchor: each within its limit.
_WALK_S = 300.0
_PLACES = (transfer.FLASH, romfs.MOUNT)
_MARKS = {"good": ("✓", "green"), "bad": ("✗", "red"), "note": ("·", "dim")}
_REMEDIES = {
    "port": "",
    "firmware": "",
    "deployed": "`anchorcam deploy`",
    "config": "`anchorcam config check`, then deploy",
    "Wi-Fi seen": "is network.ssid right, is the access point on, near, and on 2.4 GHz?",
    "link": "is the Wi-Fi key in secrets.json right, is the cable in?",
    "NTP": "UDP port 123 to clock.servers; the broker's clock service where there is no NTP",
    "DNS": "is brokers[].host right, does network.dns answer?",
    "TCP and TLS": "docs/operations.md says what the code means; `anchorcam anchor check`",
    "MQTT login": "account and password: `anchorcam deploy --provision`",
    "ACL": "the broker must let the account write below <prefix>/<id>/",
    "payload": "a smaller camera.framesize or camera.quality, or raise the broker's limit",
    "watcher sees it": "the account `watcher` must be allowed to read <prefix>/#",
}


@dataclass(frozen=True)
class Finding:
    """A step of the way. state: "good", "bad", or "note"."""

    step: str
    state: str
    text: str


def doctor(
    config: ConfigFile = CONFIG, secrets: SecretsFile = None, port: PortOption = None
) -> None:
    """Walk the whole way; exit code 1 when a step of it is barred. The camera is restarted."""
    secrets = secrets_of(config, secrets)
    console = Console(highlight=False)
    width = max(map(len, _REMEDIES))
    bad = 0
    for finding in _findings(config, secrets, port):
        mark, style = _MARKS[finding.state]
        console.print(
            Text(f"{mark} {finding.step:<{width}}  {finding.text}", style), soft_wrap=True
        )
        if finding.state == "bad":
            bad += 1
            remedy = _REMEDIES.get(finding.step)
            if remedy:
                console.print(Text(f"  {'':<{width}}  ↳ {remedy}", "yellow"), soft_wrap=True)
    raise typer.Exit(1 if bad else 0)


def _findings(config: Path, secrets: Path, port: str | None) -> Iterator[Finding]:
    settings = flash.load_settings(config, secrets)
    try:
        found = ports.choose(port)
        found.check()
    except UserError as error:
        yield Finding("port", "bad", str(error))
    else:
        yield Finding("port", "good", f"{found.device} {found.name}".rstrip())
        try:
            with Device(found) as device:
                yield from _of_camera(device, config, secrets)
        except UserError as error:
            yield Finding("port", "bad", str(error))
        except OSError as error:
            yield Finding("flash", "bad", transfer.of_flash(error))
    for broker in settings["brokers"]:
        for step, state, text in passing.through(config, secrets, settings, broker):
            yield Finding(step, state, text)


def _of_camera(device: Device, config: Path, secrets: Path) -> Iterator[Finding]:
    device.interrupt()
    try:
        about = facts.read(device)
        settings = flash.load_settings(config, secrets)
        refusals = facts.refusals(about, settings["network"]["kind"])
        yield Finding("firmware", "good", about.title)
        yield from (Finding("firmware", "bad", refusal) for refusal in refusals)
        application.stop(device)
        yield from _of_files(device, config, secrets)
        if application.camera_id(device) is None:
            return
        for line in device.run(_WALK.read_text(), _WALK_S).splitlines():
            try:
                yield Finding(*json.loads(line))
            except (ValueError, TypeError):  # something else was printed
                continue
    finally:
        device.reset()


def _of_files(device: Device, config: Path, secrets: Path) -> Iterator[Finding]:
    """Is on the camera what this config makes: as source or compiled, on the flash or in ROMFS?"""
    image = flash.files(config, secrets, umqtt.find())
    compiled = compiling.compiled(image)
    # compiled() keeps the order.
    forms = {source: {source, path} for source, path in zip(image, compiled, strict=True)}
    digests = plan.manifest_of({**image, **compiled}, "").files
    there = device.digests(place + path for path in digests for place in _PLACES)
    other = [
        source
        for source, each in forms.items()
        if not any(there[place + path] == digests[path] for path in each for place in _PLACES)
    ]
    if other:
        some = ", ".join(other[:4]) + (", ..." if len(other) > 4 else "")
        yield Finding("deployed", "bad", f"{len(other)} of {len(image)} files are other: {some}")
    else:
        yield Finding("deployed", "good", f"all {len(image)} files are those of {config}")
