"""A fleet over all cores: connect everything, publish for a while, add up."""

import asyncio
import multiprocessing
import os
import resource
import signal
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from broker.errors import UserError
from host_tools.fleet.camera import Camera, Outcome, Target
from host_tools.watch.session import trust_only

# At a time and process: a broker that is asked for a thousand handshakes at once gives none in
# time.
_OPENING = 10
# So that each process has connected its share before the time begins that counts.
_CONNECT_S = 120.0


@dataclass(frozen=True)
class Report:
    """What a fleet did. Times in seconds.

    held: cameras that were connected to the end; unacknowledged: snapshots that were sent and
    for which no PUBACK came; troubles: what happened, and to how many cameras.
    """

    cameras: int
    held: int
    connect_s: float
    seconds: float
    acknowledged: int
    unacknowledged: int
    p50_s: float
    p95_s: float
    p99_s: float
    most_s: float
    troubles: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Snapshots acknowledged a second."""
        return self.acknowledged / self.seconds


def run(
    target: Target,
    anchor: bytes,
    passwords: Mapping[str, str],
    seconds: float,
    connected: Callable[[float], None] = lambda connect_s: None,
) -> Report:
    """Let these cameras (account: password) publish for so long; one process for each core.

    connected(): called when they all are, or have failed to. Raises UserError.
    """
    accounts = list(passwords.items())
    cores = min(len(os.sched_getaffinity(0)), len(accounts))
    context = multiprocessing.get_context("spawn")
    # Reached by all processes, and by this one: then the time begins that counts.
    barrier = context.Barrier(cores + 1)
    began = time.monotonic()
    with ProcessPoolExecutor(
        cores, context, initializer=_remember, initargs=(barrier,)
    ) as processes:
        running = [
            processes.submit(_share, target, anchor, accounts[core::cores], seconds)
            for core in range(cores)
        ]
        try:
            barrier.wait(_CONNECT_S + 30)
        except threading.BrokenBarrierError:
            raise UserError(
                f"{target.host}:{target.port} did not take {len(accounts)} cameras within"
                f" {_CONNECT_S:g} s: ask for fewer"
            ) from None
        connect_s = time.monotonic() - began
        connected(connect_s)
        outcomes = [outcome for future in running for outcome in future.result()]
    return _added_up(outcomes, connect_s, seconds)


_barrier: "multiprocessing.synchronize.Barrier"


def _remember(barrier: "multiprocessing.synchronize.Barrier") -> None:
    global _barrier
    _barrier = barrier
    # Ctrl-C goes to all of them; the first one says so.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A thousand connections are more than a shell usually allows a program.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _share(
    target: Target, anchor: bytes, accounts: Sequence[tuple[str, str]], seconds: float
) -> list[Outcome]:
    """One process's part of the fleet."""
    return asyncio.run(_run(target, anchor, accounts, seconds))


async def _run(
    target: Target, anchor: bytes, accounts: Sequence[tuple[str, str]], seconds: float
) -> list[Outcome]:
    cameras = [Camera(target, account, password) for account, password in accounts]
    context = trust_only(anchor)
    opening = asyncio.Semaphore(_OPENING)

    async def open_one(camera: Camera) -> None:
        async with opening:
            try:
                await camera.connect(context)
            except (OSError, EOFError, TimeoutError) as error:
                camera.outcome.trouble = f"{type(error).__name__}: {error}"

    await asyncio.gather(*(open_one(camera) for camera in cameras))
    await asyncio.to_thread(_barrier.wait, _CONNECT_S)
    start = asyncio.get_running_loop().time()
    there = [camera for camera in cameras if not camera.outcome.trouble]
    await asyncio.gather(*(camera.run(start, start + seconds) for camera in there))
    await asyncio.gather(*(camera.close() for camera in there))
    return [camera.outcome for camera in cameras]


def _added_up(outcomes: Sequence[Outcome], connect_s: float, seconds: float) -> Report:
    latencies = sorted(each for outcome in outcomes for each in outcome.latencies_s) or [0.0]
    troubles: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.trouble:
            troubles[outcome.trouble] = troubles.get(outcome.trouble, 0) + 1
    return Report(
        cameras=len(outcomes),
        held=sum(not outcome.trouble for outcome in outcomes),
        connect_s=connect_s,
        seconds=seconds,
        acknowledged=sum(outcome.acknowledged for outcome in outcomes),
        unacknowledged=sum(outcome.sent - outcome.acknowledged for outcome in outcomes),
        p50_s=statistics.median(latencies),
        p95_s=latencies[int(len(latencies) * 0.95)],
        p99_s=latencies[int(len(latencies) * 0.99)],
        most_s=latencies[-1],
        troubles=troubles,
    )
