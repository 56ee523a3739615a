"""The claim: every frame was delivered once, counted as dropped, or in RAM at a power cut."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from host_tools.watch.schema import FILE
from host_tools.watch.verdicts import Verdict
from tests.faults.bench import Bench


@dataclass
class Findings:
    """What became of the frames; wrong: every way in which the claim does not hold."""

    captured: int = 0
    delivered: int = 0
    dropped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # as told, also of what came after all
    in_ram: int = 0
    duplicates: int = 0
    reordered: int = 0
    boots: int = 0
    wrong: list[str] = field(default_factory=list)


def judge(bench: Bench) -> Findings:
    """Compare what the sensor gave with what the ledger has. The camera is off."""
    found = Findings(captured=bench.recorder.total(), boots=len(bench.recorder.starts))
    rows = list(_rows(bench.watcher.options.folder))
    identity = {digest: (boot, seq) for boot, seq, digest in rows}
    found.delivered = len(rows)
    if len(identity) != len(rows):
        found.wrong.append("a frame is in the ledger under two identities")
    known = {digest for start in bench.recorder.starts for digest in start.digests}
    if strangers := [row[:2] for row in rows if row[2] not in known]:
        found.wrong.append(f"in the ledger, but never taken: {strangers}")
    told = [(e.fields["boot"], e.fields["seq"], e.fields["to"]) for e in bench.dropped]
    arrived = [
        {identity[digest][0] for digest in start.digests if digest in identity}
        for start in bench.recorder.starts
    ]
    last_boot = max((each[0] for each in (*told, *identity.values())), default=0)
    for number, start in enumerate(bench.recorder.starts, 1):
        boots = arrived[number - 1]
        if len(boots) > 1:
            found.wrong.append(f"start {number} has several boot numbers: {sorted(boots)}")
        if not boots:
            # Of a start of which nothing arrived it is one of those between its neighbours'.
            before = max((boot for each in arrived[:number] for boot in each), default=0)
            after = min((boot for each in arrived[number:] for boot in each), default=last_boot + 1)
            boots = set(range(before + 1, after))
        lost = []
        for seq, digest in enumerate(start.digests, 1):
            if digest not in identity:
                lost.append(seq)
            elif identity[digest][1] != seq:
                found.wrong.append(f"start {number}: frame {seq} came as {identity[digest]}")
        # The last of a start were in RAM when the power went, and nowhere else.
        last = len(start.digests)
        for seq in range(last, max(last - bench.in_ram_most, 0), -1):
            is_told = any(boot in boots and a <= seq <= b for boot, a, b in told)
            if lost[-1:] != [seq] or is_told:
                break
            lost.pop()
            found.in_ram += 1
        for seq in lost:
            if not any(boot in boots and a <= seq <= b for boot, a, b in told):
                found.wrong.append(f"start {number} (boot {sorted(boots)}): frame {seq} is lost")
        found.dropped += len(lost)
    for event in bench.dropped:
        reason = str(event.fields["reason"])
        found.reasons[reason] = found.reasons.get(reason, 0) + int(str(event.fields["count"]))
    _compare_counts(bench, found)
    _look_at_console(bench, found)
    return found


def _compare_counts(bench: Bench, found: Findings) -> None:
    view = bench.view()
    assert view
    counts = view.counts
    found.duplicates, found.reordered = counts[Verdict.DUPLICATE], counts[Verdict.REORDERED]
    for verdict in (Verdict.CORRUPT, Verdict.UNVERIFIABLE, Verdict.MISSING):
        if counts[verdict]:
            found.wrong.append(f"{counts[verdict]} {verdict}, the last: {view.fault}")
    if counts[Verdict.DROPPED] != found.dropped:
        found.wrong.append(
            f"{counts[Verdict.DROPPED]} told as dropped, {found.dropped} did not come"
        )


def _look_at_console(bench: Bench, found: Findings) -> None:
    for line in bench.camera.console:
        if any(word in line for word in ("Traceback", "watchdog has bitten", "at its prompt")):
            found.wrong.append(f"on the console: {line}")


def _rows(folder: Path) -> Iterator[tuple[int, int, bytes]]:
    database = sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)
    try:
        yield from database.execute("SELECT boot, seq, digest FROM snapshots ORDER BY boot, seq")
    finally:
        database.close()
