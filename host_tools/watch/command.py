"""`anchorcam watch`: the live table on a terminal, NDJSON for everything else, and the page."""

import gc
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from broker.errors import UserError
from host_tools.config import CONFIG, ConfigFile, SecretsFile
from host_tools.watch import display, home_assistant, options, retention
from host_tools.watch.report import parse_time
from host_tools.watch.table import FOOTER
from host_tools.watch.web.server import LOOPBACK, PORT, Wanted, serving

DATA = Path("data/watch")

Expect = Annotated[
    int | None, typer.Option(min=1, help="Stop, exit code 0, after N verified snapshots.")
]
Timeout = Annotated[
    float | None, typer.Option(min=0.1, help="Give up, exit code 1, after so many seconds.")
]

LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="URL",
        help="The ledger's database, postgresql://HOST/NAME (password: PGPASSWORD or .pgpass).",
        show_default="a file in the data folder",
    ),
]


class HomeAssistant(StrEnum):
    """What to do about the cameras in Home Assistant."""

    announce = "announce"
    remove = "remove"


class Watch(TyperCommand):
    """--home-assistant alone means --home-assistant announce."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        name = "--home-assistant"
        for at, (word, following) in enumerate(zip(args, [*args, ""][1:], strict=True)):
            if word == name and following not in list(HomeAssistant):
                args[at] = f"{name}={HomeAssistant.announce}"
        return super().parse_args(ctx, args)


def check_timeout(expect: int | None, timeout: float | None) -> None:
    """Raises UserError (exit code 2) for a --timeout without --expect."""
    if timeout is not None and expect is None:
        raise UserError("--timeout is for --expect; give both", exit_code=2)


def watch(
    config: ConfigFile = CONFIG,
    expect: Expect = None,
    timeout: Timeout = None,
    data: Annotated[Path, typer.Option(help="Folder of the snapshots and the ledger.")] = DATA,
    secrets: SecretsFile = None,
    ledger: LedgerUrl = None,
    ndjson: Annotated[
        bool, typer.Option("--ndjson", help="One JSON object per line, on a terminal too.")
    ] = False,
    camera: Annotated[
        str | None,
        typer.Option(help="Show this camera only; the others are recorded all the same."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="NDJSON only: begin with what the ledger has from then on (90m, 24h, 7d ago, "
            "or a date).",
        ),
    ] = None,
    reorder: Annotated[
        float, typer.Option(min=0, help="Seconds until an overtaken snapshot counts as missing.")
    ] = 10.0,
    keep_images: Annotated[
        str, typer.Option(help="How long the snapshots are kept: an age, a size, both, or all.")
    ] = retention.IMAGES,
    keep_rows: Annotated[
        str, typer.Option(help="The same for what the ledger says of them.")
    ] = retention.ROWS,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port, instead of the one in CONFIG.")
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Serve the page, too.")] = False,
    web_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The page's port; 0: any that is free.")
    ] = PORT,
    bind: Annotated[
        str, typer.Option(help="The page's address; others than loopback need the token.")
    ] = LOOPBACK,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="The page's token; made if there is none.", show_default="page.token in DATA"
        ),
    ] = None,
    home: Annotated[
        HomeAssistant | None,
        typer.Option(
            "--home-assistant",
            metavar="[remove]",
            help="Announce each camera to Home Assistant; remove: take that back, and end.",
        ),
    ] = None,
) -> None:
    """Watch what the cameras send: verify it, record it, show it."""
    check_timeout(expect, timeout)
    wanted = Wanted(bind, web_port, token_file)
    if not web and wanted != Wanted():
        raise UserError("--bind, --web-port and --token-file are for --web; give it too", 2)
    chosen = options.load(
        config,
        data,
        secrets=secrets,
        port=port,
        ledger=ledger,
        reorder_s=reorder,
        keep_images=keep_images,
        keep_rows=keep_rows,
    )
    if home is HomeAssistant.remove:
        removed = home_assistant.remove(chosen)
        print(f"removed from Home Assistant: {', '.join(removed) or 'none was announced'}")
        return
    # What is loaded by now stays: nobody need look again and again whether it is garbage.
    gc.freeze()
    stop = display.interrupted()
    since_ms = None if since is None else parse_time(since)
    footer = [*FOOTER]
    with ExitStack() as stack:
        watcher = stack.enter_context(
            display.shown(
                chosen,
                stop,
                camera=camera,
                ndjson=ndjson,
                since_ms=since_ms,
                footer=lambda: footer,
            )
        )
        if web:
            address = stack.enter_context(serving(watcher, wanted))
            footer.insert(0, f"the page: {address.plain}")
            address.announce()
        if home:
            stack.enter_context(
                home_assistant.Announcer(
                    chosen, lambda: [each.name for each in watcher.view().cameras]
                )
            )
        display.wait(watcher, stop, expect, timeout, camera)
    display.conclude(watcher, expect, camera)
