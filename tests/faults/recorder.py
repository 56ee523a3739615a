"""What the camera was given to see: the evidence that does not come from the camera."""

import hashlib
import threading
from dataclasses import dataclass, field

from host_tools.virtual_camera.sensor import Frames


@dataclass
class Start:
    """One start of the camera: the SHA-256 of each frame that it took, in order.

    The k-th has seq k, for the camera numbers the frames that it has taken whole.
    """

    digests: list[bytes] = field(default_factory=list)


class Recorder:
    """Frames of a source, each noted under the start of the camera that it was for."""

    def __init__(self, source: Frames) -> None:
        self._source = source
        self._thread: threading.Thread | None = None
        self.starts: list[Start] = []

    def jpeg(self, framesize: str, quality: int) -> bytes:
        # The stand-in's sensor has a thread of its own for each start of the camera.
        if threading.current_thread() is not self._thread:
            self._thread = threading.current_thread()
            self.starts.append(Start())
        data = self._source.jpeg(framesize, quality)
        self.starts[-1].digests.append(hashlib.sha256(data).digest())
        return data

    def total(self) -> int:
        """How many frames were taken."""
        return sum(len(start.digests) for start in self.starts)
