"""What a camera's flash holds: the application, umqtt.simple, settings, secrets, anchors, keys."""

import json
from pathlib import Path
from typing import Any

import camera
from broker.errors import UserError
from broker.files import write_atomic
from camera import der, settings
from host_tools.deploy import client

# Section -> field -> value, as camera.settings.load() gives them.
Settings = dict[str, Any]

_PRIVATE = "secrets.json"


def load_settings(config: Path, secrets: Path) -> Settings:
    """The complete settings, by the camera's own rules.

    Raises UserError (exit code 2) with one line per problem.
    """
    try:
        complete: Settings = settings.load(_read(config), _read(secrets))
    except settings.SettingsError as error:
        raise UserError("\n".join(_lines(error)), exit_code=2) from None
    return complete


def load_config(config: Path) -> Settings:
    """The settings in config.json alone, without passwords and keys.

    Raises UserError (exit code 2) with one line per problem.
    """
    try:
        complete: Settings = settings.load_config(_read(config))
    except settings.SettingsError as error:
        raise UserError("\n".join(_lines(error)), exit_code=2) from None
    return complete


def problems_of_config(config: Path) -> list[str]:
    """One line for each thing that is wrong with config.json alone.

    Raises UserError (exit code 2) when it cannot be read.
    """
    try:
        settings.load_config(_read(config))
    except settings.SettingsError as error:
        return _lines(error)
    return []


def problems(config: Path, secrets: Path) -> list[str]:
    """One line for each thing that is wrong with the settings, secrets, anchors and keys.

    Raises UserError (exit code 2) when config cannot be read.
    """
    found = []
    text = _read(config)
    try:
        secrets_text = _read(secrets)
    except UserError as error:
        found.append(str(error))
        secrets_text = "{}"
    pairs: set[tuple[str, str]] = set()
    try:
        complete = settings.load(text, secrets_text)
        anchors, pairs = _anchor_names(complete), _key_pairs(complete)
    except settings.SettingsError as error:
        found += _lines(error)
        anchors = error.anchors
    for anchor in anchors:
        try:
            _anchor(config, anchor)
        except UserError as error:
            found.append(str(error))
    for pair in sorted(pairs):
        try:
            client.files(config, *pair)
        except UserError as error:
            found.append(str(error))
    return found


def files(config: Path, secrets: Path, umqtt: Path) -> dict[str, bytes]:
    """Everything that a camera with these settings needs: path on its flash -> contents.

    The anchors and keys are taken from anchors/ and keys/ beside the config file; of the
    secrets only those that the camera uses. Raises UserError (exit code 2).
    """
    complete = load_settings(config, secrets)
    image = {"config.json": config.read_bytes(), "lib/umqtt/simple.py": umqtt.read_bytes()}
    for source in sorted(Path(camera.__file__).parent.glob("*.py")):
        name = "main.py" if source.name == "main.py" else f"camera/{source.name}"
        image[name] = source.read_bytes()
    for anchor in _anchor_names(complete):
        image[f"anchors/{anchor}"] = _anchor(config, anchor)
    for pair in _key_pairs(complete):
        image |= client.files(config, *pair)
    image[_PRIVATE] = _camera_secrets(complete)
    return image


def write(image: dict[str, bytes], folder: Path) -> None:
    """Make folder hold the image; other files in it (state/) are left alone. Raises OSError."""
    for name, data in image.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            is_private = name == _PRIVATE or name.startswith(client.FOLDER + "/")
            write_atomic(path, data, 0o600 if is_private else 0o644)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        hint = (
            "`anchorcam broker --secrets` writes one for the test broker; README.md shows its form"
            if path.suffix == ".json" and "secret" in path.name
            else "name the config file, or run this in the folder that has it"
        )
        raise UserError(f"{path}: there is no such file: {hint}", exit_code=2) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", exit_code=2) from None


def _lines(error: settings.SettingsError) -> list[str]:
    return [f"{path} {wrong}; right would be: {right}" for path, wrong, right in error.problems]


def _anchor_names(complete: Settings) -> list[str]:
    return [anchor for broker in complete["brokers"] for anchor in broker["anchors"]]


def _key_pairs(complete: Settings) -> set[tuple[str, str]]:
    """The file names of certificate and key, of each broker that asks for them."""
    brokers = complete["brokers"]
    return {(each["client_cert"], each["client_key"]) for each in brokers if each["client_cert"]}


def _anchor(config: Path, name: str) -> bytes:
    path = config.parent / "anchors" / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"the anchor {path} cannot be read ({error.strerror}): put the CA's .der file there;"
            " `anchorcam broker --anchors` writes the test broker's",
            exit_code=2,
        ) from None
    problem = der.problem(data)
    if problem:
        raise UserError(f"the anchor {path} is of no use to a camera: {problem}", exit_code=2)
    return data


def _camera_secrets(complete: Settings) -> bytes:
    secrets: dict[str, object] = {
        "passwords": {broker["user"]: broker["password"] for broker in complete["brokers"]}
    }
    if complete["network"]["key"] is not None:
        secrets["network_key"] = complete["network"]["key"]
    return json.dumps(secrets).encode()
