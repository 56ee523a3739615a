"""`anchorcam config`: config.json and secrets.json, judged by the camera's own rules."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from host_tools.deploy import flash

app = typer.Typer(help="The settings of a camera.", no_args_is_help=True)

ConfigFile = Annotated[Path, typer.Argument(help="The settings.")]
SecretsFile = Annotated[
    Path | None,
    typer.Option("--secrets", help="The secrets.", show_default="secrets.json beside CONFIG"),
]
CONFIG = Path("config.json")


def secrets_of(config: Path, secrets: Path | None) -> Path:
    """The secrets file that goes with a config file unless another is named."""
    return secrets or config.with_name("secrets.json")


@app.command()
def check(config: ConfigFile = CONFIG, secrets: SecretsFile = None) -> None:
    """Name every problem of the settings, secrets and anchors; exit code 2 if there is one."""
    problems = flash.problems(config, secrets_of(config, secrets))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    print(f"{config}: good")
