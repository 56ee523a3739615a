"""The hardware watchdog: started once, fed by every wait that is bounded elsewhere."""

import machine

# The slowest step that cannot be cut into slices is one write: in it lwIP may wait 10 s for
# memory (extmod/modlwip.c). STM32 boards can count to about 32 s, the AE3 to 10.7 s
# (ports/alif/machine_wdt.c).
TIMEOUTS_MS = (30000, 10600)

# What it counts to, None: this board has none.
timeout_ms = None

_watchdog = None


def start():
    """Start the watchdog, which cannot be stopped again; False where the board has none."""
    global _watchdog, timeout_ms
    if not hasattr(machine, "WDT"):
        return False
    for timeout in TIMEOUTS_MS:
        try:
            _watchdog = machine.WDT(timeout=timeout)
        except ValueError:
            continue
        timeout_ms = timeout
        return True
    return False


def feed():
    """Say that the program goes on. Called between steps and in every waiting loop."""
    if _watchdog is not None:
        _watchdog.feed()
