"""Clients that we did not write talk to the simulated brokers: oandapyV20, aiohttp and websockets.

Usage: simulator_clients.py OANDA MTAPI ACCOUNTS BINANCE BINANCE_USDM KRAKEN COINBASE BYBIT   (each HOST:PORT). Says "ok" and exits 0 when all went as documented.
"""

import asyncio
import json
import sys

import aiohttp
import oandapyV20
import websockets
from oandapyV20.endpoints.accounts import AccountInstruments, AccountSummary
from oandapyV20.endpoints.instruments import InstrumentsCandles
from oandapyV20.endpoints.positions import OpenPositions
from oandapyV20.endpoints.pricing import PricingInfo, PricingStream
from oandapyV20.exceptions import StreamTerminated, V20Error

ACCOUNT = "101-004-1234567-001"
DEADLINE_S = 60


def oanda(address):
    hosts = {"stream": f"http://{address}", "api": f"http://{address}"}
    oandapyV20.oandapyV20.TRADING_ENVIRONMENTS["simulated"] = hosts
    client = oandapyV20.API(access_token="secret", environment="simulated", request_params={"timeout": DEADLINE_S})
    assert client.request(AccountSummary(ACCOUNT))["account"]["id"] == ACCOUNT
    digits = {i["name"]: i["displayPrecision"] for i in client.request(AccountInstruments(ACCOUNT))["instruments"]}
    assert digits == {"EUR_USD": 5, "USD_JPY": 3}, digits
    (position,) = client.request(OpenPositions(ACCOUNT))["positions"]
    assert position["instrument"] == "EUR_USD" and float(position["long"]["units"]) > 0, position

    def candles(**params):
        return client.request(InstrumentsCandles("USD_JPY", params=params))["candles"]

    hours = candles(price="BA", granularity="H1", **{"from": "2024-03-05T00:00:00Z", "to": "2024-03-05T06:00:00Z"})
    assert [c["time"][11:13] for c in hours] == ["00", "01", "02", "03", "04", "05"], hours
    assert all(c["complete"] and float(c["bid"]["c"]) < float(c["ask"]["c"]) for c in hours), hours
    assert len(candles(count=7, granularity="M5")) <= 7
    try:
        candles(count=5001, granularity="M1")
        raise AssertionError("5001 candles were not refused")
    except V20Error as error:
        assert "Maximum value for 'count' exceeded" in str(error.msg), error

    stream = PricingStream(accountID=ACCOUNT, params={"instruments": "EUR_USD,USD_JPY"})
    seen = set()
    try:
        for line in client.request(stream):
            seen.add(line["type"] if line["type"] == "HEARTBEAT" else line["instrument"])
            if line["type"] == "PRICE":
                assert float(line["bids"][0]["price"]) > 0 and line["time"].endswith("Z"), line
            if len(seen) == 3:
                stream.terminate("seen all")
    except StreamTerminated:
        pass
    assert seen == {"HEARTBEAT", "EUR_USD", "USD_JPY"}, seen
    prices = client.request(PricingInfo(accountID=ACCOUNT, params={"instruments": "EUR_USD"}))["prices"]
    assert prices[0]["instrument"] == "EUR_USD", prices

    # Each stream is asked for when its first line is; they are held until the last is refused.
    held = []
    try:
        while len(held) <= 20:
            lines = client.request(PricingStream(accountID=ACCOUNT, params={"instruments": "EUR_USD"}))
            next(lines)
            held.append(lines)
        raise AssertionError("the 21st stream was not refused")
    except V20Error as error:
        assert error.code == 429 and len(held) == 20, (error, len(held))

    for token, instruments, code in [("wrong", "EUR_USD", 401), ("secret", "NOT_ONE", 400)]:
        client = oandapyV20.API(access_token=token, environment="simulated")
        try:
            client.request(PricingInfo(accountID=ACCOUNT, params={"instruments": instruments}))
            raise AssertionError(f"{token} {instruments} was not refused")
        except V20Error as error:
            assert error.code == code and "errorMessage" in json.loads(str(error.msg)), error


async def mtapi(address):
    base = f"http://{address}"
    async with aiohttp.ClientSession() as http:
        async def call(path, **query):
            async with http.get(base + path, params=query) as reply:
                return reply.status, await reply.text()

        status, body = await call("/ConnectEx", user="7", password="wrong", server="Broker-Demo")
        assert status == 201 and json.loads(body)["code"] == "INVALID_ACCOUNT", body
        status, token = await call("/ConnectEx", user="7", password="secret", server="Broker-Demo")
        assert status == 200 and len(token) == 36, token
        async with http.get(base + "/SubscribeMany", params=[("id", token), ("symbols", "EURUSD"), ("symbols", "XAUUSD")]) as reply:
            assert await reply.text() == "OK"
        async with http.ws_connect(f"{base}/OnQuote", params={"id": token}) as socket:
            await socket.ping(b"still there?")
            seen = set()
            while len(seen) < 2:
                quote = await socket.receive_json()
                assert quote["type"] == "Quote" and quote["data"]["bid"] > 0, quote
                seen.add(quote["data"]["symbol"])
        async def ask(path, **query):
            return json.loads((await call(path, id=token, **query))[1])

        assert (await ask("/AccountSummary"))["currency"] == "USD"
        assert {order["orderType"] for order in await ask("/OpenedOrders")} == {"Buy", "Sell", "BuyLimit"}
        assert (await ask("/Symbols"))["EURUSD"]["digits"] == 5
        quote = await ask("/GetQuote", symbol="EURUSD", msNotOlder=0)
        assert quote["symbol"] == "EURUSD" and quote["bid"] < quote["ask"], quote
        async with http.ws_connect(f"{base}/OnTickHistory", params={"id": token}) as socket:
            day = {"startYear": 2024, "startMonth": 3, "startDay": 6}
            assert (await call("/TickHistoryRequest", id=token, symbol="EURUSD", **day))[1] == "OK"
            history = await socket.receive_json()
            assert history["symbol"] == "EURUSD" and history["bars"][0]["time"] == "2024-03-06T00:00:00.000", history
        assert (await call("/Disconnect", id=token))[1] == "OK"


async def accounts(address):
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer secret"}) as http:
        async def ask(path, **query):
            async with http.get(f"http://{address}/v1/accounts/7{path}", params=query) as reply:
                return reply.status, await reply.json()

        assert (await ask(""))[1]["free_margin"] == 9962.5
        assert (await ask("/symbols"))[1] == {"symbols": ["EURUSD", "XAUUSD"]}
        assert [p["symbol"] for p in (await ask("/positions"))[1]] == ["EURUSD", "EURUSD"]
        status, body = await ask("/history", symbol="EURUSD", timeframe=60, limit=100, **{"from": 1715936400})
        assert status == 200 and [bar["time"] for bar in body["data"][:2]] == [1715936400, 1715940000], body
        assert len((await ask("/prices"))[1]["prices"]) == 2
        status, price = await ask("/symbols/EURUSD/price")
        assert status == 200 and price["bid"] < price["ask"] and price["timestamp"] > 1.7e12, price
        status, body = await ask("/symbols/NOTONE/price")
        assert status == 404 and body["error"] == "NOT_FOUND", body


async def binance(address):
    url = f"ws://{address}/stream?streams=btcusdt@bookTicker"
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}))
        seen = set()
        while len(seen) < 3:
            message = json.loads(await socket.recv())
            if "stream" in message:
                assert message["data"]["s"] == "BTCUSDT", message
                seen.add(message["stream"])
            else:
                assert message == {"result": None, "id": 1}, message
                seen.add("ack")
    assert seen == {"ack", "btcusdt@bookTicker", "btcusdt@trade"}, seen


async def binance_usdm(address):
    async def first(path, stream):
        async with websockets.connect(f"ws://{address}{path}/stream?streams={stream}") as socket:
            return json.loads(await socket.recv())["data"]

    book = await first("/public", "btcusdt@bookTicker")
    assert book["e"] == "bookTicker" and float(book["b"]) < float(book["a"]) and book["T"] > 0, book
    assert (await first("/public", "btcusdt@trade"))["X"] == "MARKET"
    assert (await first("/market", "btcusdt@aggTrade"))["e"] == "aggTrade"


async def kraken(address):
    async with websockets.connect(f"ws://{address}/v2") as socket:
        def subscribe(channel, symbols, **more):
            params = {"channel": channel, "symbol": symbols, **more}
            return socket.send(json.dumps({"method": "subscribe", "params": params, "req_id": 1}))

        assert json.loads(await socket.recv())["channel"] == "status"
        await subscribe("ticker", ["BTC/USDT", "NOT/ONE"], event_trigger="bbo")
        await subscribe("trade", ["BTC/USDT"], snapshot=False)
        await socket.send(json.dumps({"method": "ping", "req_id": 42}))
        seen = set()
        while seen != {"ticker", "trade", "heartbeat", "ack ticker", "ack trade", "pong", "refused NOT/ONE"}:
            message = json.loads(await socket.recv())
            if message.get("success"):
                seen.add("ack " + message["result"]["channel"])
            elif "error" in message:
                seen.add("refused " + message["symbol"])
            else:
                seen.add(message.get("channel") or message["method"])
            if message.get("channel") == "ticker":
                assert message["data"][0]["bid"] < message["data"][0]["ask"], message


async def coinbase(address):
    async with websockets.connect(f"ws://{address}/") as socket:
        for channel in ["ticker", "market_trades", "heartbeats"]:
            await socket.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USDT"], "channel": channel}))
        seen, number = set(), 0
        while seen != {"ticker", "market_trades", "heartbeats", "subscriptions"}:
            message = json.loads(await socket.recv())
            assert message["sequence_num"] == number, (number, message)
            number += 1
            seen.add(message["channel"])
            if message["channel"] == "subscriptions":
                confirmed = message["events"][0]["subscriptions"]
        assert set(confirmed) == {"ticker", "market_trades", "heartbeats"}, confirmed
        await socket.send(json.dumps({"type": "subscribe", "product_ids": ["NOT-ONE"], "channel": "ticker"}))
        while "error" not in (message := json.loads(await socket.recv())).get("type", ""):
            pass
        assert "NOT-ONE" in message["message"], message


async def bybit(address):
    async with websockets.connect(f"ws://{address}/v5/public/spot") as socket:
        def ask(op, number, *args):
            return socket.send(json.dumps({"op": op, "req_id": number, "args": args}))

        await ask("subscribe", "1", "orderbook.1.BTCUSDT", "publicTrade.BTCUSDT")
        await ask("subscribe", "2", "orderbook.1.NOTONE")
        await ask("subscribe", "3", *["orderbook.1.BTCUSDT"] * 11)
        await ask("ping", "4")
        answers, seen = {}, set()
        while len(answers) < 4 or len(seen) < 2:
            message = json.loads(await socket.recv())
            if "topic" in message:
                seen.add(message["topic"])
            else:
                answers[message["req_id"]] = (message["success"], message["ret_msg"])
        assert seen == {"orderbook.1.BTCUSDT", "publicTrade.BTCUSDT"}, seen
        assert answers["1"][0] and not answers["2"][0] and not answers["3"][0], answers
        assert "orderbook.1.NOTONE" in answers["2"][1] and answers["4"] == (True, "pong"), answers


async def main():
    oanda_at, mtapi_at, accounts_at, *exchanges_at = sys.argv[1:]
    exchanges = [binance, binance_usdm, kraken, coinbase, bybit]
    talks = [exchange(at) for exchange, at in zip(exchanges, exchanges_at, strict=True)]
    mt = [mtapi(mtapi_at), accounts(accounts_at)]
    await asyncio.wait_for(asyncio.gather(asyncio.to_thread(oanda, oanda_at), *mt, *talks), DEADLINE_S)
    print("ok")


asyncio.run(main())
