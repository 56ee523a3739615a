"""The cameras of one ledger in memory; what could not be stored of them is taken back."""

import time
from collections.abc import Mapping

from host_tools.watch.ledger import Ledger, LedgerError
from host_tools.watch.seen import Seen
from host_tools.watch.track import Track

# More cameras than any one broker here has; a name is made up faster than memory is bought.
CAMERAS_MAX = 1000


class Cameras:
    """Each camera by its name, and none that is not in the ledger or about to be.

    reorder_s: see Track. Raises LedgerError, and ValueError for a damaged verdict state.
    """

    def __init__(self, ledger: Ledger, reorder_s: float) -> None:
        self._ledger = ledger
        self._reorder_s = reorder_s
        self._seen: dict[str, Seen] = {}
        # Whose verdict state in memory is not the one that is on disk.
        self._stale: set[str] = set()
        for name, saved in ledger.states().items():
            self._seen[name] = Seen(name, self._load(saved))

    def all(self) -> list[Seen]:
        """Every camera, those that came later behind."""
        return list(self._seen.values())

    def to_change(self, name: str, before: dict[str, Seen | None]) -> Seen | None:
        """This camera, a new one if need be; None: there are too many.

        before: gets the camera as it was, None: not yet known. See take_back().
        """
        camera = self._seen.get(name)
        if camera is None and len(self._seen) >= CAMERAS_MAX:
            return None
        if name not in before:
            before[name] = camera and camera.copy()
        if camera is None:
            camera = self._seen[name] = Seen(name, Track(self._reorder_s))
        return camera

    def take_back(self, before: Mapping[str, Seen | None]) -> None:
        """Make these what they were."""
        for name, camera in before.items():
            self._seen[name] = camera or Seen(name, Track(self._reorder_s))
            self._stale.add(name)
        try:
            self.reload()
        except LedgerError:
            pass  # it is called again before anything is changed

    def reload(self) -> None:
        """Bring back the verdict states that are on disk. Raises LedgerError."""
        if self._stale:
            saved = self._ledger.states()
            for name in self._stale:
                if name in saved:
                    self._seen[name].track = self._load(saved[name])
                else:
                    del self._seen[name]
            self._stale.clear()

    def _load(self, saved: str) -> Track:
        return Track.load(saved, self._reorder_s, time.monotonic())
