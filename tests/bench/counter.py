"""A bare subscriber that only counts: what the watcher's speed is compared with.

`python -m tests.bench.counter PORT ANCHOR COUNT`, the password of "watcher" on stdin; prints
the seconds from the first to the last of COUNT messages. COUNT 0: it subscribes and leaves.
"""

import socket
import ssl
import sys
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def main() -> None:
    port, anchor, count = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with open(anchor, "rb") as file:
        context.load_verify_locations(cadata=file.read())
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="watcher/bare", clean_session=False)
    client.username_pw_set("watcher", sys.stdin.readline().strip())
    client.tls_set_context(context)

    def on_socket_open(_client: paho.Client, _userdata: object, stream: Any) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    client.on_socket_open = on_socket_open
    left, began = int(count), 0.0

    def on_message(_client: paho.Client, _userdata: object, _message: Any) -> None:
        nonlocal left, began
        began = began or time.perf_counter()
        left -= 1
        if left == 0:
            print(time.perf_counter() - began, flush=True)
            client.disconnect()

    def on_connect(*_: object) -> None:
        client.subscribe("cameras/+/jpeg", 1)

    def on_subscribe(*_: object) -> None:
        if count == "0":
            client.disconnect()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect("localhost", int(port))
    client.loop_forever()


main()
