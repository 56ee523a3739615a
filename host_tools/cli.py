"""The anchorcam command line: one verb each, defined where its work is done."""

import sys

import typer

from broker import command as broker_command
from broker.errors import UserError
from host_tools import config, demo, device_cert, send
from host_tools.anchor import command as anchor_command
from host_tools.deploy import command as deploy_command
from host_tools.deploy import deploying, doctor, logs, undeploying
from host_tools.fleet import command as fleet_command
from host_tools.virtual_camera import command as virtual_camera_command
from host_tools.watch import command as watch_command
from host_tools.watch import report_command

app = typer.Typer(
    help="A camera that knows whom it is talking to, and a host that can prove what arrived.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(broker_command.app, name="broker")
app.add_typer(config.app, name="config")
app.add_typer(anchor_command.app, name="anchor")
app.command("send")(send.send)
app.command("watch", cls=watch_command.Watch)(watch_command.watch)
app.command("report")(report_command.report)
app.command("virtual-camera")(virtual_camera_command.virtual_camera)
app.command("deploy")(deploying.deploy)
app.command("undeploy")(undeploying.undeploy)
app.command("doctor")(doctor.doctor)
app.command("logs")(logs.logs)
app.command("fleet")(fleet_command.fleet)
app.command("bundle")(deploy_command.bundle)
app.command("device-cert")(device_cert.device_cert)
app.command("demo")(demo.demo)
app.command("setup")(demo.setup)


def main() -> None:
    """The entry point: a UserError is a line on stderr and an exit code, never a traceback."""
    try:
        app(prog_name="anchorcam")
    except UserError as error:
        print(f"anchorcam: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
