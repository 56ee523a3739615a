"""So many handshakes with a broker, each verified, over a socket of this script's own."""

import socket
import ssl

from parts import VALUES

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.verify_mode = ssl.CERT_REQUIRED
context.load_verify_locations(cafile=VALUES["anchor"])
address = socket.getaddrinfo("127.0.0.1", VALUES["port"])[0][-1]
for _ in range(VALUES["count"]):
    raw = socket.socket()
    raw.connect(address)
    tls = context.wrap_socket(raw, server_hostname="localhost")
    tls.close()
    raw.close()
