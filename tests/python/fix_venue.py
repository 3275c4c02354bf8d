"""A FIX venue that we did not write, for the engine's cTrader adapter: one session of a script.

Says its port, plays, and says "ok" when the adapter answered as the protocol wants.
"""

import socket

from fix_session import Session

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
venue = Session(listener.accept()[0], "cServer", "demo.broker.77", "QUOTE")

venue.expect("A", (34, 1), (49, "demo.broker.77"), (56, "cServer"), (57, "QUOTE"), (50, "QUOTE"), (98, 0), (108, 1), (141, "Y"), (553, 77), (554, "hunter2"))
venue.send("A", (98, 0), (108, 1), (141, "Y"))
asked = venue.expect("x", (34, 2), (559, 0))
venue.send("y", (320, asked.get(320).decode()), (322, "responce:1"), (560, 0), (146, 2), (55, 7), (1007, "USDJPY"), (1008, 3), (55, 41), (1007, "EURUSD"), (1008, 5))
asked = venue.expect("V", (34, 3), (263, 1), (264, 0), (267, 2), (146, 1), (55, 41))
request = asked.get(262)

# A book, and one change.
venue.send("W", (55, 41), (268, 2), (269, 1), (270, "1.08523"), (271, 3000000), (278, 16), (269, 0), (270, "1.0851"), (271, 1000000), (278, 17))
venue.send("X", (268, 2), (279, 0), (269, 1), (278, 18), (55, 41), (270, "1.08525"), (271, 500000), (279, 2), (278, 16), (55, 41))
venue.send("1", (112, "hello"))
venue.expect("0", (112, "hello"))

# A message that never comes: it is asked for, and the book is asked for anew.
lost = venue.seq
venue.seq += 1
venue.send("0")
venue.expect("2", (7, lost), (16, lost))
venue.expect("V", (262, request.decode()), (263, 2))
venue.expect("V", (262, request.decode()), (263, 1), (55, 41))
venue.send("4", (123, "Y"), (36, lost + 1), seq=lost, header=[(43, "Y"), (122, "20260916-14:57:52.000")])
venue.send("W", (55, 41), (268, 2), (269, 1), (270, "1.0855"), (271, 1), (278, 30), (269, 0), (270, "1.0854"), (271, 1), (278, 31))

# What the adapter sent is asked for again: requests come, the rest is skipped.
venue.send("2", (7, 1), (16, 4))
venue.expect("4", (34, 1), (43, "Y"), (123, "Y"), (36, 2))
again = venue.expect("x", (34, 2), (43, "Y"), (559, 0))
assert again.get(122) is not None, again
venue.expect("V", (34, 3), (43, "Y"), (55, 41), (263, 1))
venue.expect("4", (34, 4), (123, "Y"), (36, 5))

# Silence is questioned.
question = venue.expect("1")
venue.send("0", (112, question.get(112).decode()))
venue.send("5", (58, "Maintenance"))
venue.expect("5")
venue.ends()
print("ok", flush=True)
