"""The best prices that ccxt, which is not ours, reads from recorded messages.

Usage: ccxt_captures.py EXCHANGE   (ccxt's name; one message a line on standard input). Says for each best bid and ask, in
their order: bid and ask in units of 1e-9, their sizes in units of 1e-8, and `-` for what is not there.
"""

import json
import sys
from decimal import Decimal

import ccxt.pro

exchange = getattr(ccxt.pro, sys.argv[1])()
# Numbers as the text they were written in.
exchange.number = str
exchange.markets, exchange.markets_by_id = {}, {}


def units(text, exponent):
    return "-" if text is None else str(int(Decimal(text).scaleb(exponent)))


class Client:
    """What a message is resolved for."""

    url = "wss://recorded"
    subscriptions = {}
    tickers = {}

    def resolve(self, result, message_hash):
        # An exchange announces one ticker under several names, alone or among others.
        if isinstance(result, dict):
            for ticker in (result, *result.values()):
                if isinstance(ticker, dict) and {"symbol", "bid", "bidVolume"} <= ticker.keys():
                    self.tickers[ticker["symbol"]] = ticker
            if "bids" in result:
                (bid, bid_size), (ask, ask_size) = result["bids"][0][:2], result["asks"][0][:2]
                best = {"symbol": result["symbol"], "bid": bid, "bidVolume": bid_size, "ask": ask, "askVolume": ask_size}
                self.tickers[result["symbol"]] = best

    def reject(self, error, message_hash=None):
        raise error


client = Client()
for line in sys.stdin:
    client.tickers = {}
    exchange.handle_message(client, json.loads(line))
    for ticker in client.tickers.values():
        prices = [units(ticker[side], 9) for side in ("bid", "ask")]
        sizes = [units(ticker[side], 8) for side in ("bidVolume", "askVolume")]
        print(ticker["symbol"], *prices, *sizes)
