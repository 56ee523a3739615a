"""Do two cameras use one id? Seen in what they say of themselves. Pure.

Of one camera there is news of its boot, then of the next, and never again of the one before. Two,
each with a boot counter of its own, are heard by turns.
"""

# So many boots are remembered: of two cameras that take turns there are two.
_BOOTS_MAX = 8


class Twins:
    """What one id has said: births and health that were not retained."""

    def __init__(self) -> None:
        self._latest: dict[int, tuple[int, int]] = {}  # by boot: (connection, seconds up)
        self._last = 0  # the boot of which there was news last

    def report(self, boot: int, conn: int, up_s: int) -> bool:
        """Whether this report shows that there are two. up_s: 0 in a birth.

        What a broker brings again is no news of any boot, and shows nothing.
        """
        known, at = self._latest.get(boot), (conn, up_s)
        if known is not None and at <= known:
            return False
        self._latest[boot] = at
        if len(self._latest) > _BOOTS_MAX:
            del self._latest[next(each for each in self._latest if each != boot)]
        is_back = known is not None and self._last != boot
        self._last = boot
        return is_back
