"""One side of a FIX session on a socket, by simplefix, which neither side of Tickwire uses."""

import socket
import time

import simplefix

DEADLINE_S = 60


class Session:
    def __init__(self, sock, sender, target, sub=None):
        self.sock, self.sender, self.target, self.sub = sock, sender, target, sub
        self.parser, self.raw, self.seq = simplefix.FixParser(), b"", 1
        sock.settimeout(DEADLINE_S)

    def message(self, kind, *fields, seq=None, header=()):
        message = simplefix.FixMessage()
        message.append_pair(8, "FIX.4.4")
        message.append_pair(35, kind)
        if seq is None:
            seq, self.seq = self.seq, self.seq + 1
        message.append_pair(34, seq)
        message.append_pair(49, self.sender)
        if self.sub:
            message.append_pair(50, self.sub)
        message.append_pair(56, self.target)
        message.append_pair(57, "QUOTE")
        for tag, value in header:
            message.append_pair(tag, value)
        message.append_utc_timestamp(52)
        for tag, value in fields:
            message.append_pair(tag, value)
        return message.encode()

    def send(self, kind, *fields, **how):
        self.sock.sendall(self.message(kind, *fields, **how))

    def next(self):
        """The next message, or None at the end. Length and checksum must be what simplefix makes of the same fields."""
        while True:
            message = self.parser.get_message()
            if message is not None:
                whole = message.encode()
                assert self.raw.startswith(whole), (self.raw, whole)
                self.raw = self.raw[len(whole):]
                return message
            data = self.sock.recv(4096)
            if not data:
                return None
            self.raw += data
            self.parser.append_buffer(data)

    def expect(self, kind, *fields, skip=(b"0",)):
        """The next message of a kind, over those that may come in between, with these fields."""
        kind = kind.encode()
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            message = self.next()
            assert message is not None, f"the end instead of {kind}"
            if message.get(35) != kind and message.get(35) in skip:
                continue
            assert message.get(35) == kind, (kind, message)
            for tag, value in fields:
                assert message.get(tag) == str(value).encode(), (tag, value, message)
            return message
        raise AssertionError(f"no {kind}")

    def ends(self):
        while self.next() is not None:
            pass
