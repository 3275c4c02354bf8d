"""A Tickwire terminal in Python, written from schemas/wire.md alone. One JSON object a line on standard output.

    quic_client.py --connect 127.0.0.1:4433 --fingerprint HEX [--token T] [--symbols 'EUR*,BTCUSDT'] [--delivery all]
                   [--limit N]
"""

import argparse
import asyncio
import hashlib
import json
import ssl
import struct
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived
from cryptography.hazmat.primitives.serialization import Encoding

HEADER = struct.Struct("<IBBHH")
HELLO, WELCOME, SUBSCRIBE, SUBSCRIBED, ERROR, GOODBYE, SNAPSHOT_END, CATALOGUE = 128, 129, 130, 131, 135, 136, 137, 141
QUOTE = 3
SNAPSHOT_FLAG = 1
NO_PRICE = NO_TIME = -(2**63)
STATES = {0: "ok", 1: "single", 2: "stale", 3: "crossed", 4: "locked"}
HEAD = struct.Struct("<IQQIIq")
QUOTE_FIELDS = struct.Struct("<qqqqQQIIHBB")


def frame(kind, message):
    body = json.dumps(message).encode()
    return HEADER.pack(len(body), 1, kind, 0, 1) + body


def frames(buffer):
    """Takes the whole frames off a bytearray: kind, flags, count, body."""
    while len(buffer) >= HEADER.size:
        length, _version, kind, flags, count = HEADER.unpack_from(buffer)
        if len(buffer) < HEADER.size + length:
            return
        body = bytes(buffer[HEADER.size : HEADER.size + length])
        del buffer[: HEADER.size + length]
        yield kind, flags, count, body


def decimal(e9):
    if e9 == NO_PRICE:
        return None
    whole, fraction = divmod(abs(e9), 10**9)
    text = f"{whole}.{fraction:09}".rstrip("0").rstrip(".")
    return "-" + text if e9 < 0 else text


class Terminal(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.buffers = {}
        self.events = asyncio.Queue()

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            buffer = self.buffers.setdefault(event.stream_id, bytearray())
            buffer += event.data
            for found in frames(buffer):
                self.events.put_nowait(found)
        elif isinstance(event, ConnectionTerminated):
            self.events.put_nowait((None, 0, 0, f"{event.error_code}: {event.reason_phrase}".encode()))

    def fingerprint(self):
        certificate = self._quic.tls._peer_certificate
        return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


class Watch:
    """Decodes records and counts what was skipped."""

    def __init__(self, catalogue):
        self.learn(catalogue)
        self.chains = {}

    def learn(self, catalogue):
        self.symbols = {i["id"]: i["symbol"] for i in catalogue["instruments"]}
        self.sources = {s["id"]: s["name"] for s in catalogue["sources"]}

    def quotes(self, flags, count, body):
        size = len(body) // count
        for at in range(0, len(body), size):
            epoch, seq, chain, source, instrument, published = HEAD.unpack_from(body, at)
            (event, received, bid, ask, _bid_size, _ask_size, bid_source, ask_source, sources, state, _reserved) = (
                QUOTE_FIELDS.unpack_from(body, at + HEAD.size)
            )
            key = (source, instrument)
            last = self.chains.get(key)
            self.chains[key] = chain
            yield {
                "kind": "quote",
                "symbol": self.symbols[instrument],
                "bid": decimal(bid),
                "ask": decimal(ask),
                "bid_source": self.sources.get(bid_source),
                "ask_source": self.sources.get(ask_source),
                "sources": sources,
                "state": STATES.get(state),
                "epoch": epoch,
                "seq": seq,
                "chain": chain,
                "skipped": 0 if last is None else chain - last - 1,
                "snapshot": bool(flags & SNAPSHOT_FLAG),
                "ts_event_ns": None if event == NO_TIME else event,
                "ts_recv_ns": None if received == NO_TIME else received,
                "ts_publish_ns": published,
            }


async def run(options):
    host, port = options.connect.rsplit(":", 1)
    # The certificate is checked by its fingerprint below, before anything secret is sent.
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["tickwire/1"], verify_mode=ssl.CERT_NONE)
    async with connect(host, int(port), configuration=configuration, create_protocol=Terminal) as terminal:
        if terminal.fingerprint() != options.fingerprint.lower():
            sys.exit("the engine's certificate has another fingerprint")
        _reader, control = await terminal.create_stream()
        control.write(frame(HELLO, {"version": 1, "token": options.token, "client": "quic_client.py/1"}))
        watch, left = None, options.limit
        while left:
            kind, flags, count, body = await asyncio.wait_for(terminal.events.get(), 30)
            if kind == WELCOME:
                watch = Watch(json.loads(body)["catalogue"])
                request = {"id": 1, "symbols": options.symbols.split(","), "delivery": options.delivery}
                control.write(frame(SUBSCRIBE, request))
            elif kind == CATALOGUE:
                watch.learn(json.loads(body))
            elif kind == QUOTE:
                for quote in watch.quotes(flags, count, body):
                    print(json.dumps(quote), flush=True)
                    left -= 1
                    if not left:
                        break
            elif kind in (ERROR, GOODBYE) or kind is None:
                sys.exit(body.decode())
            # Any other kind is skipped: Subscribed, SnapshotEnd, and those of later versions.


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--connect", required=True)
    arguments.add_argument("--fingerprint", required=True)
    arguments.add_argument("--token", default="")
    arguments.add_argument("--symbols", default="*")
    arguments.add_argument("--delivery", default="latest")
    arguments.add_argument("--limit", type=int, default=10)
    asyncio.run(run(arguments.parse_args()))


main()
