"""The command line of the broker: `anchorcam broker`, and `python -m broker`, the same."""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from broker import health as health_check
from broker.accounts import WATCHER, Accounts
from broker.certificates import CHAINS
from broker.connection import Limits
from broker.errors import UserError
from broker.events import emit_json, emit_line
from broker.server import BrokerServer, Options
from broker.zoo.table import ROWS
from camera.topics import is_id

PROGRAM = "anchorcam broker"

app = typer.Typer(
    help="The test broker: certificates shaped like Let's Encrypt's, accounts, a clock service.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

DATA = Path("data/broker")
Data = Annotated[
    Path | None,
    typer.Option(help="Folder of the certificates and accounts.", show_default=str(DATA)),
]
AnchorsFolder = Annotated[
    Path | None,
    typer.Option("--anchors", help="Folder for the trust anchors.", show_default="DATA/anchors"),
]
SecretsFile = Annotated[
    Path | None,
    typer.Option("--secrets", help="File of the passwords.", show_default="DATA/secrets.json"),
]


class RoleName(StrEnum):
    """The roles, as choices."""

    camera = "camera"
    watcher = "watcher"


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    data: Data = None,
    anchors: AnchorsFolder = None,
    secrets: SecretsFile = None,
    name: Annotated[
        list[str],
        typer.Option(help="Host name or IP address in the certificates; repeatable."),
    ] = ["localhost", "127.0.0.1"],  # noqa: B006 typer reads it, nobody changes it
    camera: Annotated[
        list[str], typer.Option(help="Id of a camera that gets an account; repeatable.")
    ] = ["cam1"],  # noqa: B006
    bind: Annotated[
        str, typer.Option(help="IP address to listen on; 0.0.0.0 is the whole network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port with the ECDSA chain; 0: any free.")
    ] = 8883,
    rsa_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port with the RSA chain; 0: any free.")
    ] = 8884,
    clock_port: Annotated[
        int, typer.Option(min=0, max=65535, help="UDP port of the clock service; 0: any free.")
    ] = 11123,
    device_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port that asks devices for their certificate."),
    ] = None,
    zoo: Annotated[
        bool, typer.Option("--zoo", help="Also one listener for each way a chain can be wrong.")
    ] = False,
    zoo_port: Annotated[
        int, typer.Option(min=0, max=65000, help="First port of the zoo; 0: any free.")
    ] = 8900,
    prefix: Annotated[str, typer.Option(help="Topic prefix.")] = "cameras",
    max_packet: Annotated[
        int, typer.Option(min=1024, max=268435455, help="Largest MQTT packet, bytes.")
    ] = Limits.max_packet,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
) -> None:
    """Run the test broker until it is interrupted."""
    if context.invoked_subcommand:
        return
    if not all(is_id(level) for level in prefix.split("/")):
        raise UserError(
            f'--prefix {prefix!r} is not usable: give levels of letters, digits, "-" or "_", '
            'joined by "/"',
            exit_code=2,
        )
    if WATCHER in camera:
        raise UserError(
            f"--camera {WATCHER}: this account is the watchers'; give the camera another id",
            exit_code=2,
        )
    places = _places(context, data, anchors, secrets)
    options = Options(
        data=places.data,
        anchors=places.anchors,
        secrets=places.secrets,
        names=name,
        cameras=camera,
        bind=bind,
        port=port,
        rsa_port=rsa_port,
        clock_port=clock_port,
        prefix=prefix,
        device_port=device_port,
        zoo_port=zoo_port if zoo else None,
        limits=Limits(max_packet=max_packet),
    )
    asyncio.run(_serve(options, json))


@app.command()
def account(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The account; a camera's is its id.")],
    role: Annotated[RoleName, typer.Option(help="What it may do.")] = RoleName.camera,
    data: Data = None,
    secrets: SecretsFile = None,
) -> None:
    """Make an account; a running broker knows it at once."""
    places = _places(context, data, None, secrets)
    Accounts(places.data / "accounts.json").ensure({name: role.value}, places.secrets)
    typer.echo(f"account {name} ({role.value}) is ready; its password is in {places.secrets}")


@app.command()
def health(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The broker's name or address.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8883,
    data: Data = None,
    anchors: AnchorsFolder = None,
    secrets: SecretsFile = None,
) -> None:
    """Make a verified TLS and MQTT connection to a running broker, as the watcher."""
    places = _places(context, data, anchors, secrets)
    health_check.check(host, port, places.anchors / "test-root-x1.der", places.secrets)
    typer.echo(f"the broker at {host} port {port} answers: TLS verified, account accepted")


class _Places(NamedTuple):
    data: Path
    anchors: Path
    secrets: Path


def _places(
    context: typer.Context, data: Path | None, anchors: Path | None, secrets: Path | None
) -> _Places:
    """Where things are: as given to the command, else before its name, else the defaults."""
    given = context.parent.params if context.parent else {}
    data = data or given.get("data") or DATA
    return _Places(
        data,
        anchors or given.get("anchors") or data / "anchors",
        secrets or given.get("secrets") or data / "secrets.json",
    )


async def _serve(options: Options, json: bool) -> None:
    _quieten()
    emit = emit_json if json else emit_line
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def tell(_: object, fault: dict[str, Any]) -> None:
        emit("warning", reason=f"internal error: {fault.get('exception') or fault['message']}")

    loop.set_exception_handler(tell)
    server = BrokerServer(options, emit)
    await server.start()
    try:
        if json:
            _ready_json(server)
        else:
            _ready_lines(server)
        await stop.wait()
    finally:
        await server.stop()


def _ready_json(server: BrokerServer) -> None:
    host = server.options.bind
    emit_json(
        "ready",
        **{name: {"host": host, "port": port} for name, port in server.ports.items()},
        clock={"host": host, "port": server.clock_port},
        **({"zoo": server.zoo_ports} if server.zoo_ports else {}),
        anchors=[{"path": str(a.path), "sha256": a.sha256} for a in server.anchors],
        secrets=str(server.options.secrets),
    )


def _ready_lines(server: BrokerServer) -> None:
    host = server.options.bind
    for chain in CHAINS:
        sent = " <- ".join(("leaf", *(name.upper() for name in chain.issuers)))
        where = f"mqtts://{host}:{server.ports[chain.name]}"
        typer.echo(f"{chain.name.upper():<10}{where:<26}  {sent} (<- X1, the anchor)")
    if "device" in server.ports:
        where = f"mqtts://{host}:{server.ports['device']}"
        what = "as ECDSA, for devices with a certificate of their account"
        typer.echo(f"{'device':<10}{where:<26}  {what}")
    for row in ROWS if server.zoo_ports else ():
        where = f"mqtts://{host}:{server.zoo_ports[row.name]}"
        typer.echo(f"{'zoo':<10}{where:<26}  {row.name:<22}{row.what}; camera: {row.camera}")
    typer.echo(f"{'clock':<10}{f'udp://{host}:{server.clock_port}':<26}  SNTP, this machine's time")
    for anchor in server.anchors:
        typer.echo(f"{'anchor':<10}{anchor.path}\n{'':<10}SHA-256 {anchor.sha256}")
    typer.echo(f"{'passwords':<10}{server.options.secrets}")
    typer.echo(f"{'stop':<10}Ctrl-C")


def _quieten() -> None:
    """Events are ours to tell (events.py); amqtt's log would add tracebacks, and secrets."""
    for name in ("amqtt", "asyncio", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m broker`: a UserError is one line, never a traceback. Raises SystemExit."""
    try:
        app(arguments, prog_name=PROGRAM)
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
