"""Some snapshots, one after the other; says how many bytes of MQTT each is."""

from parts import VALUES, frame, session, stamped, tell, topic

broker = VALUES["broker"]
mqtt = session(broker)
name = topic(broker)
for size in VALUES["sizes"]:
    data = frame(size)
    for seq in range(VALUES["count"]):
        parts = stamped(data, seq)
        mqtt.send(name, parts)
        mqtt.await_puback()
    tell(size=size, payload=sum(len(part) for part in parts))
mqtt.sock.close()
