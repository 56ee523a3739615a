"""Start on power-up. Nothing escapes: log, wait, hard reset.

A main.py that ends leaves the board at its prompt for good; only Ctrl-C and the command
"maintenance" may do that.
"""

import gc
import os
import sys
import time

import machine

RESTART_AFTER_S = 30


def _read(path):
    with open(path) as file:
        return file.read()


def _feed():
    try:
        from camera import watchdog
    except Exception:  # half of the files are there: then no watchdog was started either
        return
    watchdog.feed()


def main():
    try:
        # With an SD card in, the firmware starts in /sdcard.
        os.chdir("/flash")
    except OSError:
        pass
    from camera import app, changes, log, maintenance, settings, watchdog

    # What compiling has left: otherwise what stays is put behind it, and the heap is in
    # small pieces for good.
    gc.collect()
    # Where the firmware does not know what the reset was for, it was one.
    power_up = getattr(machine, "PWRON_RESET", None)
    if maintenance.is_asked_for(power_up is not None and machine.reset_cause() == power_up):
        print("maintenance: remove state/maintenance if it is there and reset to start the camera")
        return
    config = _read("config.json")
    try:
        complete = settings.load(config, _read("secrets.json"))
    except settings.SettingsError as error:
        for path, wrong, right in error.problems:
            log.line("%s %s; right would be: %s" % (path, wrong, right))
        raise
    if not watchdog.start():
        log.line("this board has no watchdog of %d s" % (watchdog.TIMEOUTS_MS[-1] // 1000))
    app.App(complete, changes.Changes(config)).run()


try:
    main()
except KeyboardInterrupt:
    raise
except BaseException as error:
    sys.print_exception(error)
    print("restarting in %d s" % RESTART_AFTER_S)
    for _ in range(RESTART_AFTER_S):
        _feed()
        time.sleep(1)
    machine.reset()
