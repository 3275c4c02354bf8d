"""A FIX client that we did not write talks to the simulated cTrader broker.

Usage: fix_client.py HOST:PORT. Says "ok" and exits 0 when all went as documented.
"""

import socket
import sys

from fix_session import Session

HOST, PORT = sys.argv[1].rsplit(":", 1)


def connect():
    return Session(socket.create_connection((HOST, int(PORT))), "demo.broker.77", "CSERVER", "QUOTE")


def logon(session, password="hunter2", heartbeat=30):
    session.send("A", (98, 0), (108, heartbeat), (141, "Y"), (553, 77), (554, password))


def entries(message):
    """Price, size and id of every entry of a W."""
    count = int(message.get(268))
    return [tuple(message.get(tag, n) for tag in (269, 270, 271, 278)) for n in range(1, count + 1)]


def refused():
    session = connect()
    logon(session, "wrong")
    session.expect("5", (58, "InternalError: RET_INVALID_DATA"), (34, 1))
    session.ends()
    session = connect()
    session.send("0")
    session.ends()


def numbers():
    session = connect()
    logon(session)
    session.expect("A", (98, 0), (108, 30), (141, "Y"), (49, "cServer"), (56, "demo.broker.77"), (57, "QUOTE"))
    session.send("1", (112, "still there?"))
    session.expect("0", (112, "still there?"), skip=())
    # A hole in our numbers is asked for, and the message that showed it comes to nothing.
    session.send("1", (112, "late"), seq=5)
    session.expect("2", (7, 3), (16, 0))
    session.send("4", (123, "Y"), (36, 6), seq=3, header=[(43, "Y")])
    session.seq = 6
    session.send("1", (112, "on time"))
    session.expect("0", (112, "on time"), skip=())
    # What it sent is not sent again but skipped.
    session.send("2", (7, 2), (16, 0))
    session.expect("4", (34, 2), (43, "Y"), (123, "Y"))
    session.send("0", seq=2, header=[(43, "Y")])
    session.send("AE")
    session.expect("j", (372, "AE"), (380, 3))
    session.send("0", seq=2)
    session.expect("5", (58, "MsgSeqNum too low, expecting 9 but received 2"))
    session.ends()


def prices():
    session = connect()
    logon(session)
    session.expect("A")
    session.send("x", (320, "r1"), (559, 0))
    listed = session.expect("y", (320, "r1"), (322, "responce:r1"), (560, 0), (146, 2))
    assert [listed.get(1007, n) for n in (1, 2)] == [b"EURUSD", b"USDJPY"], listed
    ask = ((263, 1), (264, 1), (265, 1), (267, 2), (269, 0), (269, 1), (146, 1))
    session.send("V", (262, "a"), *ask, (55, "EURUSD"))
    session.expect("Y", (262, "a"), (281, 0), (58, "INVALID_REQUEST: Expected numeric symbolId, but got EURUSD"))
    session.send("V", (262, "a"), *ask, (55, 99))
    session.expect("Y", (262, "a"), (281, 0), (58, "INVALID_REQUEST: Symbol with id 99 is not found"))
    session.send("V", (262, "a"), *ask, (55, listed.get(55, 2).decode()))
    for _ in range(5):
        spot = session.expect("W", (262, "a"), (55, 2), (268, 2))
        assert float(spot.get(270, 1)) < float(spot.get(270, 2)) and spot.get(271) is None, spot
    session.send("V", (262, "a"), *ask, (55, 1))
    session.expect("Y", (281, 1), skip=(b"0", b"W"))
    session.send("V", (262, "a"), (263, 2), *ask[1:], (55, 2))
    session.send("1", (112, "all gone?"))
    session.expect("0", (112, "all gone?"), skip=(b"W",))

    whole = ((263, 1), (264, 0), *ask[2:])
    session.send("V", (262, "b"), *whole, (55, 1))
    first = session.expect("W", (55, 1))
    book = {entry[3]: entry for entry in entries(first)}
    assert len(book) == 6, first
    for _ in range(20):
        change = session.expect("X")
        deleted = new = 0
        for n in range(1, int(change.get(268)) + 1):
            entry = change.get(278, n)
            if change.get(279, n) == b"2":
                del book[entry]
                deleted += 1
            else:
                new += 1
                book[entry] = (change.get(269, new), change.get(270, new), change.get(271, new), entry)
        assert deleted == new and len(book) == 6, change
        bids = [float(e[1]) for e in book.values() if e[0] == b"0"]
        asks = [float(e[1]) for e in book.values() if e[0] == b"1"]
        assert max(bids) < min(asks), book
    session.send("5")
    session.expect("5", skip=(b"0", b"X"))
    session.ends()


def heartbeats():
    session = connect()
    logon(session, heartbeat=1)
    session.expect("A", (108, 1))
    session.expect("0", skip=())
    # Silence of ours is questioned, and then the end.
    session.expect("1")
    session.expect("5", (58, "Heartbeat timeout"))
    session.ends()


refused()
numbers()
prices()
heartbeats()
print("ok")
