"""`anchorcam bundle`: the files of a camera's flash in a folder, ready to be copied."""

from pathlib import Path
from typing import Annotated

import typer

from host_tools.config import CONFIG, ConfigFile, SecretsFile, secrets_of
from host_tools.deploy import flash, umqtt

BUNDLE = Path("build/flash")


def bundle(
    config: ConfigFile = CONFIG,
    secrets: SecretsFile = None,
    into: Annotated[Path, typer.Option(help="The folder to write.")] = BUNDLE,
) -> None:
    """Put together what a camera's flash must hold."""
    image = flash.files(config, secrets_of(config, secrets), umqtt.find())
    flash.write(image, into)
    width = max(map(len, image))
    for name, data in sorted(image.items()):
        print(f"{name:<{width}}  {len(data):>7,} bytes")
    print(f"{len(image)} files, {sum(map(len, image.values())):,} bytes in {into}")
