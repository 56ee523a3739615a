"""What a deploy changes on a camera: new, changed and left-over files, and those edited there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

# Where the camera keeps what was deployed.
MANIFEST = "state/deployed"

# The main.py that the firmware puts onto an empty flash is nobody's work (openmv,
# scripts/libraries/_boot.py at 11caeff). Path -> SHA-256.
FACTORY = {"main.py": "55308872362c67e218d9cdbf09823aae5741fd80053fa405d25a807b520c27ce"}


@dataclass(frozen=True)
class Manifest:
    """Which files a deploy has put onto a camera: its id; path -> SHA-256, hexadecimal."""

    camera: str
    files: Mapping[str, str]

    def encode(self) -> bytes:
        """The bytes of the file MANIFEST."""
        return json.dumps({"camera": self.camera, "files": dict(self.files)}).encode()


def manifest_of(image: Mapping[str, bytes], camera: str) -> Manifest:
    """The manifest of an image."""
    return Manifest(camera, {path: sha256(data).hexdigest() for path, data in image.items()})


def read_manifest(data: bytes) -> Manifest | None:
    """What encode() made; None for anything else."""
    try:
        fields = json.loads(data)
        files = {str(path): str(digest) for path, digest in fields["files"].items()}
        return Manifest(str(fields["camera"]), files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


@dataclass(frozen=True)
class Plan:
    """Paths on the camera's flash, sorted.

    edited: files that are neither what was deployed nor what is to be deployed: somebody's work.
    """

    new: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    edited: tuple[str, ...]

    @property
    def install(self) -> tuple[str, ...]:
        """What must be transferred."""
        return tuple(sorted((*self.new, *self.changed)))


def make(
    wanted: Mapping[str, str],
    present: Mapping[str, str | None],
    before: Mapping[str, str],
    force: bool,
) -> Plan:
    """The way from what is on the camera to what is wanted.

    wanted, before: path -> SHA-256 of what is to be deployed and of what an earlier deploy has
    put there; present: of all these paths, what is there now, None: nothing. force: with what
    was edited as with the rest.
    """
    new, changed, unchanged, edited = [], [], [], []
    for path, digest in sorted(wanted.items()):
        there = present[path]
        if there is None:
            new.append(path)
        elif there == digest:
            unchanged.append(path)
        elif force or there in (before.get(path), FACTORY.get(path)):
            changed.append(path)
        else:
            edited.append(path)
    removed = []
    for path, digest in sorted(before.items()):
        there = present[path]
        if path in wanted or there is None:
            continue
        if force or there == digest:
            removed.append(path)
        else:
            edited.append(path)
    return Plan(tuple(new), tuple(changed), tuple(removed), tuple(unchanged), tuple(edited))
