"""What loading the application takes: time and heap."""

import gc
import sys
import time

sys.modules["csi"] = object  # the stand-in is there only with a host behind it

gc.collect()
before = gc.mem_alloc()
started = time.ticks_us()
from camera import app, changes, settings  # noqa: E402, F401

us = time.ticks_diff(time.ticks_us(), started)
gc.collect()
print('{"us": %d, "heap": %d}' % (us, gc.mem_alloc() - before))
