"""The hardware watchdog: started once, fed by every wait that is bounded elsewhere."""

import machine

# STM32 boards can count to about 32 s. The longest thing between two feeds that cannot
# be cut into slices is one DNS look-up: 14 s (lwIP).
TIMEOUT_MS = 30000

_watchdog = None


def start():
    """Start the watchdog; False where the board has none that counts so far.

    It cannot be stopped again.
    """
    global _watchdog
    if _watchdog is None and hasattr(machine, "WDT"):
        try:
            _watchdog = machine.WDT(timeout=TIMEOUT_MS)
        except ValueError:
            # The AE3's ends at 10.7 s (ports/alif/machine_wdt.c), which a sound DNS
            # look-up outlasts.
            pass
    return _watchdog is not None


def feed():
    """Say that the program goes on. Called between steps and in every waiting loop."""
    if _watchdog is not None:
        _watchdog.feed()
