"""`anchorcam anchor`: one verb each, defined where its work is done."""

import typer

from host_tools.anchor import check, fetch, listing, looking, rollover, send

app = typer.Typer(
    help="Trust anchors: what a camera has to have so that it accepts a server, and no other.",
    no_args_is_help=True,
)
app.command("inspect")(looking.inspect)
app.command("fetch")(fetch.fetch)
app.command("check")(check.check)
app.command("list")(listing.list_anchors)
app.command("show")(listing.show)
app.command("pin")(looking.pin)
app.command("rollover")(rollover.rollover)
app.command("send")(send.send)
app.command("remove")(send.remove)
