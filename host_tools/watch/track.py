"""What became of each snapshot: one state machine per camera, in bounded memory. Pure.

A snapshot is (camera, boot, seq); every seq from 1 up is handed to the network once.
What a watcher knows of one boot is kept as the range of expected seqs and the gaps in it,
so its size depends on the number of gaps and not on the number of snapshots.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from host_tools.watch.gaps import Boot, Fate, Gap
from host_tools.watch.verdicts import VERIFIED, Dropped, Judgement, Missing, Verdict

# Kept for each camera. Past them the oldest is settled: what is missing of it stays missing.
BOOTS_MAX = 32
GAPS_MAX = 500
DAMAGED_MAX = 256
# Of what dump() writes.
_LAYOUT = 2


class Track:
    """The verdicts of one camera.

    Times are seconds of any clock that does not go back. reorder_s: how long a snapshot may
    be overtaken by later ones before it counts as missing.
    """

    def __init__(self, reorder_s: float) -> None:
        self.reorder_s = reorder_s
        # The newest (boot, seq) that arrived intact; (0, 0): none.
        self.newest = (0, 0)
        self._arrived: dict[str, int] = {}
        self._boots: dict[int, Boot] = {}
        # The boot during which watching began: later ones are expected from seq 1.
        self._origin = 0
        # The highest boot no longer kept, and what the boots no longer kept add to the counts.
        self._floor = 0
        self._settled = {Verdict.MISSING: 0, Verdict.DROPPED: 0}
        # Identities that arrived damaged, oldest first: here in a sense, so not missing.
        self._damaged: dict[tuple[int, int], None] = {}
        self._news: list[Missing | Dropped] = []
        # The oldest (boot, seq) that the camera says it still holds.
        self._held: tuple[int, int] | None = None

    def snapshot(self, boot: int, seq: int, now: float) -> Judgement:
        """An intact snapshot has arrived."""
        state = self._open(boot, seq, now)
        if state is None:
            return self.unverifiable(f"boot {boot} is too long ago to tell it from a duplicate")
        judgement = _arrive(state, seq, now)
        if judgement.verdict in VERIFIED:
            self._damaged.pop((boot, seq), None)
            self.newest = max(self.newest, (boot, seq))
        self._bound(boot, state)
        return self._count(judgement)

    def corrupt(self, identity: tuple[int, int] | None, reason: str) -> Judgement:
        """A damaged snapshot has arrived.

        identity: (boot, seq) if its stamp could be read. It is no evidence of what was sent,
        for the damage may be in the stamp.
        """
        was = None
        if identity:
            state = self._boots.get(identity[0])
            was = Verdict.MISSING if state and state.is_missing(identity[1]) else None
            self._damaged.pop(identity, None)
            self._damaged[identity] = None
            if len(self._damaged) > DAMAGED_MAX:
                self._damaged.pop(next(iter(self._damaged)))
        return self._count(Judgement(Verdict.CORRUPT, reason, was))

    def unverifiable(self, reason: str) -> Judgement:
        """A payload without proof of what it is has arrived."""
        return self._count(Judgement(Verdict.UNVERIFIABLE, reason))

    def health(
        self,
        boot: int,
        seq: int,
        now: float,
        *,
        held: tuple[int, int] | None = None,
        drops: Iterable[Dropped] = (),
    ) -> None:
        """The camera says: every snapshot of this boot up to seq was acknowledged or dropped.

        held: the oldest (boot, seq) that it still holds, None: it holds none. Nothing from
        there on is missing, whatever came later. drops: what it gave up; each is counted once,
        however often it is told. Drops of boots later than this one are nonsense.
        """
        # For what it held until now and holds no longer the time begins here.
        self._let_held_wait(now)
        self._held = held
        state = self._open(boot, seq + 1, now)
        if state is None:
            return
        # It reached us, so what was sent after it should have.
        state.expect_from(seq + 1, now)
        state.sent_up_to(seq, now)
        # The last first: each may lead on from what is expected to what was before.
        dropped = [
            each
            for drop in sorted(drops, reverse=True)
            if drop.boot <= boot
            for each in self._drop(drop, now)
        ]
        self._news += sorted(dropped)
        self._bound(boot, state)

    def tick(self, now: float) -> list[Missing | Dropped]:
        """Count as missing what has been overtaken for too long; returns what is new."""
        self._let_held_wait(math.inf)
        for boot, state in self._boots.items():
            for gap in state.overdue(now, self.reorder_s):
                self._announce(boot, gap)
        return self.news()

    def news(self) -> list[Missing | Dropped]:
        """What counts as missing or dropped and was not told yet."""
        news, self._news = self._news, []
        return news

    def has(self, boot: int, seq: int) -> bool:
        """Whether this snapshot, if it came intact now, would be a duplicate."""
        state = self._boots.get(boot)
        return state is not None and state.has(seq)

    def lost(self) -> list[Missing | Dropped]:
        """All that counts as missing or dropped now and is kept one by one, without reasons."""
        lost: list[Missing | Dropped] = []
        for boot, state in sorted(self._boots.items()):
            for gap in state.gaps:
                if gap.fate is Fate.DROPPED:
                    lost.append(Dropped(boot, gap.first, gap.last, ""))
                elif gap.fate is Fate.MISSING:
                    lost += self._undamaged(boot, gap)
        return lost

    def counts(self) -> dict[Verdict, int]:
        """How many snapshots have each verdict now."""
        counts = {verdict: self._arrived.get(verdict, 0) for verdict in Verdict}
        missing, dropped = self._settled.values()
        for boot, state in self._boots.items():
            missing += state.missing(self._damaged_of(boot))
            dropped += state.dropped()
        return counts | {Verdict.MISSING: missing, Verdict.DROPPED: dropped}

    def dump(self) -> str:
        """Everything but the times of pending gaps, as JSON for `load`."""
        return json.dumps(
            {
                "v": _LAYOUT,
                "newest": self.newest,
                "arrived": self._arrived,
                "origin": self._origin,
                "floor": self._floor,
                "settled": self._settled,
                "damaged": list(self._damaged),
                "held": self._held,
                "boots": {boot: state.dump() for boot, state in self._boots.items()},
            },
            separators=(",", ":"),
        )

    @classmethod
    def load(cls, text: str, reorder_s: float, now: float) -> "Track":
        """The machine that was dumped; the reorder time of its pending gaps starts again.

        Raises ValueError for a text that dump() did not write.
        """
        try:
            return cls._load(json.loads(text), reorder_s, now)
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a state of verdicts ({error!r})") from error

    @classmethod
    def _load(cls, saved: Mapping[str, Any], reorder_s: float, now: float) -> "Track":
        if saved["v"] != _LAYOUT:
            raise ValueError(f"its layout is {saved['v']}, not {_LAYOUT}")
        track = cls(reorder_s)
        track.newest = (saved["newest"][0], saved["newest"][1])
        track._arrived = dict(saved["arrived"])
        track._origin = saved["origin"]
        track._floor = saved["floor"]
        track._settled = {Verdict(name): count for name, count in saved["settled"].items()}
        track._damaged = {(boot, seq): None for boot, seq in saved["damaged"]}
        track._held = (saved["held"][0], saved["held"][1]) if saved["held"] else None
        for boot, state in saved["boots"].items():
            track._boots[int(boot)] = Boot.load(state, now)
        return track

    def _open(self, boot: int, seq: int, now: float) -> Boot | None:
        """The state of this boot; seq is the first heard of if it is new. None: too old."""
        if boot in self._boots:
            return self._boots[boot]
        if boot <= self._floor:
            return None
        if not self._origin:
            self._origin = boot
        base = 1 if boot > self._origin else seq
        self._boots[boot] = Boot(base, base - 1)
        if len(self._boots) > BOOTS_MAX:
            self._settle(min(self._boots))
        return self._boots.get(boot)

    def _drop(self, drop: Dropped, now: float) -> list[Dropped]:
        """What of it is news."""
        if drop.boot < self._origin and drop.boot not in self._boots:
            return []
        state = self._open(drop.boot, drop.last + 1, now)
        if state is None:
            return []
        news = state.drop(drop.first, drop.last, now)
        self._bound(drop.boot, state)
        return [Dropped(drop.boot, gap.first, gap.last, drop.reason) for gap in news]

    def _let_held_wait(self, since: float) -> None:
        """Begin the reorder time of all that the camera says it holds then; infinite: not yet."""
        if self._held is None:
            return
        held_boot, held_seq = self._held
        for boot, state in self._boots.items():
            if boot >= held_boot:
                state.wait_again(held_seq if boot == held_boot else 1, since)
                # It may have parted a gap.
                self._bound(boot, state)

    def _settle(self, boot: int) -> None:
        state = self._boots[boot]
        while state.gaps:
            self._settle_gap(boot, state)
        self._settled[Verdict.MISSING] += state.settled_missing
        self._settled[Verdict.DROPPED] += state.settled_dropped
        self._floor = boot
        del self._boots[boot]

    def _bound(self, boot: int, state: Boot) -> None:
        while len(state.gaps) > GAPS_MAX:
            self._settle_gap(boot, state)

    def _settle_gap(self, boot: int, state: Boot) -> None:
        gap = state.settle_one(self._damaged_of(boot))
        if gap.fate is Fate.PENDING:
            self._announce(boot, gap)

    def _damaged_of(self, boot: int) -> list[int]:
        """The seqs of this boot that arrived damaged, ascending."""
        return sorted(seq for at, seq in self._damaged if at == boot)

    def _announce(self, boot: int, gap: Gap) -> None:
        self._news += self._undamaged(boot, gap)

    def _undamaged(self, boot: int, gap: Gap) -> list[Missing]:
        """What of this gap did not even arrive damaged."""
        parts, first = [], gap.first
        for seq in self._damaged_of(boot):
            if first <= seq <= gap.last:
                if first < seq:
                    parts.append(Missing(boot, first, seq - 1))
                first = seq + 1
        return [*parts, Missing(boot, first, gap.last)] if first <= gap.last else parts

    def _count(self, judgement: Judgement) -> Judgement:
        self._arrived[judgement.verdict] = self._arrived.get(judgement.verdict, 0) + 1
        return judgement


def _arrive(state: Boot, seq: int, now: float) -> Judgement:
    state.expect_from(seq, now)
    state.sent_up_to(seq, now)
    highest = state.high
    gap = state.arrive(seq)
    if gap is None:
        return Judgement(Verdict.DUPLICATE, "it was here before")
    if gap.fate is Fate.MISSING:
        return Judgement(Verdict.REORDERED, "late: it was counted as missing", Verdict.MISSING)
    if gap.fate is Fate.DROPPED:
        return Judgement(
            Verdict.REORDERED, "late: the camera had called it dropped", Verdict.DROPPED
        )
    if seq < highest:
        return Judgement(Verdict.REORDERED, f"it came after seq {highest}")
    return Judgement(Verdict.DELIVERED)
