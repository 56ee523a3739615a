"""The spool alone: how fast snapshots are written, and read, sent nowhere and removed."""

import time

from parts import VALUES, frame, stamped, tell

from camera.drops import Drops
from camera.log import uptime
from camera.spool import Spool

settings = {"folder": "spool", "most_kb": 1 << 20, "free_kb": 0, "writes_per_day": 10000000}
in_flight = []
spool = Spool(settings, "0", Drops("drops0"), uptime, in_flight)
data = frame(VALUES["size"])
buffer = bytearray(4096)
count = VALUES["count"]


def write():
    for seq in range(1, count + 1):
        spool.put((1, seq), stamped(data, seq))


def drain():
    while spool.index.count:
        stored = spool.next()
        left = len(stored)
        while left:
            left -= stored.file.readinto(buffer, min(left, 4096))
        stored.file.close()
        spool.remove(stored.identity)


for _ in range(VALUES["rounds"]):
    started = time.ticks_us()
    write()
    written = time.ticks_us()
    drain()
    tell(
        write=time.ticks_diff(written, started) / count,
        drain=time.ticks_diff(time.ticks_us(), written) / count,
    )
