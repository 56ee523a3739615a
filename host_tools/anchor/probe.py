"""Asks the TLS library that it runs on whether it accepts a server (runs under MicroPython).

Reads jobs.json: {"limits_s": {..}, "network": {..}, "jobs": [{"host": .., "address": .., "port":
.., "pins": [digest, ..], "anchor": path}, ..]}, where a job can have "client_cert", "client_key":
path, too; prints one line of JSON for each job, in their order. A job with port 0 asks only whether
these files can be loaded; one with an empty address needs the network, which is then brought up
first. It is the application's own code that shakes hands, so the reason codes are its own.
"""

import gc
import json
import sys

if "" not in sys.path:
    sys.path.insert(0, "")

from camera.anchors import Anchor
from camera.errors import CameraError
from camera.transport import shake_hands


def _ask(job, limits, resolver):
    anchor = None
    try:
        client = (job["client_cert"], job["client_key"]) if "client_cert" in job else None
        anchor = Anchor(job["anchor"], client)
        if job["port"]:
            address = job["address"] or resolver.resolve(job["host"])
            shake_hands(job["host"], address, job["port"], anchor, limits, job["pins"])
        told = {"code": "accepted", "words": ""}
    except CameraError as error:
        told = {"code": error.code, "words": error.detail or ""}
    if anchor is not None:
        told["ends"] = anchor.chain
        told["leaf"] = anchor.leaf
        told["issuers"] = anchor.issuers
    return told


def _bring_up(network, limits):
    """On a camera: the network, and who tells addresses there."""
    from camera.link import Link
    from camera.resolver import Resolver

    link = Link(network, limits["link"])
    link.up()
    return Resolver(link, limits["dns"])


def main():
    with open("jobs.json") as file:
        asked = json.load(file)
    limits = asked["limits_s"]
    resolver = asked["network"] and _bring_up(asked["network"], limits)
    for job in asked["jobs"]:
        print(json.dumps(_ask(job, limits, resolver)))
        gc.collect()


main()
