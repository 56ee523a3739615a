"""Snapshots through a slow link, with one in flight and with several, in turn."""

from parts import VALUES, frame, session, stamped, tell, timed, topic

broker = VALUES["broker"]
mqtt = session(broker)
name = topic(broker)
data = frame(VALUES["size"])
landed = 0


def on_puback(seq):
    global landed
    landed += 1


def publish(count, window):
    """As camera/route.py does, with snapshots that are always there."""
    global landed
    landed = sent = 0
    while landed < count:
        if sent < count and sent - landed < window:
            sent += 1
            mqtt.send(name, stamped(data, sent), False, sent)
        else:
            mqtt.service(1000)


mqtt.on_puback = on_puback
publish(4, 4)
for _ in range(VALUES["rounds"]):
    tell(one=timed(publish, VALUES["count"], 1), window=timed(publish, VALUES["count"], 4))
mqtt.disconnect()
