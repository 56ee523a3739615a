"""Stand-in for the firmware's omv: which board and release it is (runs under MicroPython)."""

import os


def version_string():
    return os.getenv("VIRTUAL_CAMERA_RELEASE")


def board_type():
    return "VIRTUAL"


def arch():
    return "virtual camera"


def board_id():
    return os.getenv("VIRTUAL_CAMERA_UNIQUE_ID")
