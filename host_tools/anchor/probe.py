"""Asks the TLS library that it runs on whether it accepts a server (runs under MicroPython).

Reads jobs.json: {"limits_s": {..}, "jobs": [{"host": .., "address": .., "port": .., "anchor":
path}, ..]}, a job also with "pins": [digest, ..] and with "client_cert" and "client_key": path;
prints one line of JSON for each job, in their order. A job with port 0 asks only whether these
files can be loaded. It is the application's own code that shakes hands, so the reason codes are
those of the application.
"""

import gc
import json
import sys

if "" not in sys.path:
    sys.path.insert(0, "")

from camera.anchors import Anchor
from camera.errors import CameraError
from camera.transport import shake_hands


def _ask(job, limits):
    anchor = None
    try:
        client = (job["client_cert"], job["client_key"]) if "client_cert" in job else None
        anchor = Anchor(job["anchor"], client)
        if job["port"]:
            pins = job.get("pins", ())
            shake_hands(job["host"], job["address"], job["port"], anchor, limits, pins)
        told = {"code": "accepted", "words": ""}
    except CameraError as error:
        told = {"code": error.code, "words": error.detail or ""}
    if anchor is not None:
        told["ends"] = anchor.chain
        told["leaf"] = anchor.leaf
        told["issuers"] = anchor.issuers
    return told


def main():
    with open("jobs.json") as file:
        asked = json.load(file)
    for job in asked["jobs"]:
        print(json.dumps(_ask(job, asked["limits_s"])))
        gc.collect()


main()
