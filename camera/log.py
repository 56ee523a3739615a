"""Lines on the serial console, one per event, each with the time since the program began."""

from camera.uptime import Uptime

# The application's too: it asks it in every step, so that it never misses a wrap.
uptime = Uptime()


def line(text):
    """Print "[seconds] text"."""
    ms = uptime.ms()
    print("[%6d.%03d] %s" % (ms // 1000, ms % 1000, text))
