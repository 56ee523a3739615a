# anchorcam deploy: on the SD card as boot.py; what is to be started is on the flash.
import os

# Where the firmware looks for main.py next.
os.chdir("/flash")
try:
    with open("boot.py") as _file:
        _code = _file.read()
except OSError:
    _code = ""
exec(_code)
