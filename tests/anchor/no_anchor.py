"""As host_tools/anchor/probe.py, with a context that verifies and has no anchor at all."""

import json
import socket
import sys

sys.path.insert(0, "")

import ssl

from camera import anchors
from camera.errors import CameraError


def _ask(job):
    sock = socket.socket()
    sock.connect(socket.getaddrinfo(job["address"], job["port"])[0][-1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.wrap_socket(sock, server_hostname=job["host"]).close()
        return {"code": "accepted", "words": ""}
    except (OSError, ValueError) as error:
        closed = isinstance(error, OSError) and abs(error.errno) in (104, 0x7280)
        reason = CameraError("broker_closed") if closed else anchors.reason(error)
        return {"code": reason.code, "words": reason.detail}
    finally:
        sock.close()


with open("jobs.json") as file:
    for each in json.load(file)["jobs"]:
        print(json.dumps(_ask(each)))
