"""libzmq, which we did not write, talks to a simulated expert adviser.

Usage: zmq_client.py dwx|mql5-json-api COMMANDS ANSWERS PRICES (ports on 127.0.0.1). Says "ok" and exits 0 when all went as
documented.
"""

import ast
import json
import sys
import time

import zmq

BRIDGE, COMMANDS, ANSWERS, PRICES = sys.argv[1], *map(int, sys.argv[2:])
CONTEXT = zmq.Context()


def connect(kind, port, topics=()):
    socket = CONTEXT.socket(kind)
    socket.setsockopt(zmq.RCVTIMEO, 30_000)
    socket.setsockopt(zmq.LINGER, 0)
    # Pings by libzmq must be answered, else it drops the connection.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 20)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)
    for topic in topics:
        socket.setsockopt_string(zmq.SUBSCRIBE, topic)
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


def is_decimal(text, places):
    whole, fraction = text.split(".")
    return whole.isdigit() and fraction.isdigit() and len(fraction) == places


def dwx():
    answers = CONTEXT.socket(zmq.PULL)
    answers.setsockopt(zmq.RCVTIMEO, 30_000)
    monitor = answers.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    answers.connect(f"tcp://127.0.0.1:{ANSWERS}")
    assert monitor.poll(30_000), "no handshake"
    commands = connect(zmq.PUSH, COMMANDS)

    def ask(command):
        commands.send_string(command)
        return ast.literal_eval(answers.recv_string())

    assert ask("HEARTBEAT;") == {"_action": "heartbeat", "_response": "loud and clear!"}
    answer = ask("TRACK_PRICES;EURUSD;NOTONE")
    assert answer == {"_action": "TRACK_PRICES", "_data": {"symbol_count": 2, "error_symbols": ["NOTONE"]}}, answer
    assert ask("TRACK_PRICES;EURUSD;XAUUSD")["_data"] == {"symbol_count": 2, "error_symbols": []}

    prices = connect(zmq.SUB, PRICES, ["EURUSD"])
    last = None
    for _ in range(20):
        text = prices.recv_string()
        symbol, quote = text.split(":|:")
        bid, ask_price = quote.split(";")
        assert symbol == "EURUSD" and is_decimal(bid, 6) and is_decimal(ask_price, 6), text
        assert float(bid) < float(ask_price) and text != last, text
        last = text
    prices.setsockopt_string(zmq.SUBSCRIBE, "XAUUSD:|:")
    while not prices.recv_string().startswith("XAUUSD:|:"):
        pass

    bars = ask("HIST;EURUSD;60;2024.03.05 10:00:00;2024.03.05 14:00:00")
    assert (bars["_action"], bars["_symbol"]) == ("HIST", "EURUSD_H1"), bars
    times = [bar["time"] for bar in bars["_data"]]
    assert times == [f"2024.03.05 {hour}:00" for hour in range(10, 15)], times
    for bar in bars["_data"]:
        assert bar["low"] <= min(bar["open"], bar["close"]) <= max(bar["open"], bar["close"]) <= bar["high"], bar
        assert bar["tick_volume"] > 0
    weekend = ask("HIST;EURUSD;60;2024.03.09 10:00:00;2024.03.09 14:00:00")
    assert weekend == {"_action": "HIST", "_symbol": "EURUSD_H1", "_response": "NOT_AVAILABLE"}, weekend

    account = ask("TRADE;GET_ACCOUNT_INFO")
    assert account["_action"] == "GET_ACCOUNT_INFORMATION" and account["_data"][0]["account_balance"] == 10000.0
    assert ask("TRADE;GET_OPEN_TRADES;0") == {"_action": "OPEN_TRADES", "_trades": {}}
    refused = ask("TRADE;OPEN;0;EURUSD;0;50;50;comment;0.01;123456;0")
    assert refused == {"_response": "TRADING_IS_NOT_ALLOWED__ABORTED_COMMAND"}, refused


def mql5():
    system, data, live = connect(zmq.REQ, COMMANDS), connect(zmq.PULL, ANSWERS), connect(zmq.PULL, PRICES)

    def ask(**request):
        system.send_json(request)
        assert system.recv_string() == "OK"
        return data.recv_json()

    # The data socket may not be connected yet, and then the answer is lost.
    data.setsockopt(zmq.RCVTIMEO, 200)
    for _ in range(100):
        try:
            assert ask(action="RESET")["error"] is False
            break
        except zmq.Again:
            pass
    data.setsockopt(zmq.RCVTIMEO, 30_000)

    refused = ask(action="CONFIG", symbol="NOTONE", chartTF="TICK")
    assert refused["error"] is True and refused["lastError"] == "4301" and refused["description"], refused
    done = ask(action="CONFIG", symbol="EURUSD", chartTF="TICK")
    assert done["error"] is False and done["function"] == "ScriptConfiguration", done
    for _ in range(20):
        tick = live.recv_json()
        assert (tick["status"], tick["symbol"], tick["timeframe"]) == ("CONNECTED", "EURUSD", "TICK"), tick
        millis, bid, ask_price = tick["data"]
        # Two hours ahead of UTC, on the wall.
        assert abs(millis / 1000 - 7200 - time.time()) < 60 and bid < ask_price, tick

    first = 1709632800  # 2024-03-05 10:00 on the wall
    bars = ask(action="HISTORY", actionType="DATA", symbol="EURUSD", chartTF="H1", fromDate=first, toDate=first + 14400)
    assert (bars["symbol"], bars["timeframe"]) == ("EURUSD", "H1")
    assert [bar[0] for bar in bars["data"]] == [first + 3600 * hour for hour in range(5)], bars
    for _, opens, high, low, closes, volume, _ in bars["data"]:
        assert low <= min(opens, closes) <= max(opens, closes) <= high and volume > 0
    ticks = ask(action="HISTORY", actionType="DATA", symbol="EURUSD", chartTF="TICK", fromDate=first, toDate=first + 60)
    assert ticks["timeframe"] == "TICK" and all(bid < ask_price for _, bid, ask_price in ticks["data"])
    assert ticks["data"][0][0] == first * 1000, ticks

    account = ask(action="ACCOUNT")
    assert account["error"] is False and account["currency"] == "USD" and account["balance"] == 10000.0
    assert ask(action="BALANCE")["margin_free"] == 10000.0
    assert ask(action="POSITIONS") == {"positions": []}
    refused = ask(action="TRADE", actionType="ORDER_TYPE_BUY", symbol="EURUSD", volume=0.1)
    assert refused["error"] is True and refused["description"] == "ERR_WRONG_ACTION", refused
    system.send_string("no JSON")
    assert system.recv_string() == "OK"
    assert json.loads(data.recv_string())["description"] == "ERR_DESERIALIZATION"


{"dwx": dwx, "mql5-json-api": mql5}[BRIDGE]()
print("ok")
