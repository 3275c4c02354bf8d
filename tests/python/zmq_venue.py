"""An expert adviser over libzmq, which we did not write, feeds the engine's adapter.

Usage: zmq_venue.py dwx|mql5-json-api. Says its ports for commands, answers and prices in one line, then "ok" when prices
have been asked for as documented; goes when its standard input ends.
"""

import json
import sys
import threading

import zmq

BRIDGE = sys.argv[1]
CONTEXT = zmq.Context()
GONE = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), GONE.set()), daemon=True).start()


def bind(kind):
    socket = CONTEXT.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    # It pings, and drops those who do not answer.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 20)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)
    return socket, socket.bind_to_random_port("tcp://127.0.0.1")


def say(text):
    print(text, flush=True)


def send(socket, text):
    """Without waiting: what nobody takes is dropped."""
    try:
        socket.send_string(text, zmq.DONTWAIT)
    except zmq.Again:
        pass


BARS = [("2024.03.05 10:00", 1.0851, 1.0853, 1.085, 1.0852), ("2024.03.05 10:01", 1.0852, 1.0854, 1.0851, 1.0853)]


def dwx():
    (commands, first), (answers, second), (prices, third) = bind(zmq.PULL), bind(zmq.PUSH), bind(zmq.PUB)
    for socket in (answers, prices):
        socket.setsockopt(zmq.SNDHWM, 1)
    say(f"{first} {second} {third}")
    tracking, count = False, 0
    while not GONE.is_set():
        if commands.poll(5):
            command = commands.recv_string()
            if command == "HEARTBEAT;":
                send(answers, "{'_action': 'heartbeat', '_response': 'loud and clear!'}")
            elif command == "TRACK_PRICES;EURUSD;XAUUSD":
                send(answers, "{'_action': 'TRACK_PRICES', '_data': {'symbol_count':2, 'error_symbols':[]}}")
                tracking = True
                say("ok")
            elif command == "HIST;EURUSD;1;2024.03.05 10:00:00;2024.03.05 10:02:00":
                row = "{'time':'%s', 'open':%.8f, 'high':%.8f, 'low':%.8f, 'close':%.8f, 'tick_volume':7, 'spread':0, 'real_volume':0}"
                rows = ", ".join(row % bar for bar in BARS)
                send(answers, "{'_action': 'HIST', '_symbol': 'EURUSD_M1', '_data': [" + rows + "]}")
            elif command == "TRADE;GET_ACCOUNT_INFO":
                send(answers, "{'_action': 'GET_ACCOUNT_INFORMATION', 'account_number':77, '_data': [{'currenttime': "
                     "'2024.03.05 10:02', 'account_name':'It's me', 'account_balance':1000.50000000, 'account_equity':"
                     "999.00000000, 'account_profit':-1.50000000, 'account_free_margin':900.00000000, "
                     "'account_leverage' :30}]}")
            else:
                say(f"unexpected {command}")
        if tracking:
            count += 1
            # Not asked for: other topics that begin alike.
            send(prices, f"EURUSD.m:|:9.{count % 1000000:06};9.999999")
            send(prices, "EURUSD_M1:|:1581611100;1.085250;1.085250;1.085200;1.085200;10;0;0")
            send(prices, f"EURUSD:|:1.{count % 1000000:06};1.999999")
            send(prices, f"XAUUSD:|:2345.{count % 1000000:06};2345.999999")


def mql5():
    (system, first), (data, second), (live, third) = bind(zmq.REP), bind(zmq.PUSH), bind(zmq.PUSH)
    say(f"{first} {second} {third}")
    configured, count = [], 0

    def obey(request):
        done = {"error": False, "lastError": "0", "description": "ERR_SUCCESS", "function": "f"}
        match request:
            case {"action": "RESET"}:
                configured.clear()
                return done
            case {"action": "CONFIG", "symbol": symbol, "chartTF": "TICK"}:
                configured.append(symbol)
                if configured == ["EURUSD", "XAUUSD"]:
                    say("ok")
                return done
            case {"action": "HISTORY", "actionType": "DATA", "symbol": "EURUSD", "chartTF": "M1", "fromDate": 1709632800, "toDate": 1709632920}:
                rows = [[1709632800 + 60 * at, *bar[1:], 7.0, 3] for at, bar in enumerate(BARS)]
                return {"data": rows + [[1709632920, 1, 1, 1, 1, 1.0, 3]], "symbol": "EURUSD", "timeframe": "M1"}
            case {"action": "BALANCE"}:
                return {"balance": 1000.5, "equity": 999.0, "margin": 99.0, "margin_free": 900.0}
            case {"action": "ACCOUNT"}:
                return {"error": False, "currency": "CHF", "balance": 1000.5, "equity": 999.0, "margin": 99.0, "margin_free": 900.0}
            case _:
                say(f"unexpected {request}")
                return done

    while not GONE.is_set():
        if system.poll(5):
            request = json.loads(system.recv_string())
            system.send_string("OK")
            send(data, json.dumps(obey(request)))
        if configured == ["EURUSD", "XAUUSD"]:
            count += 1
            for symbol, whole in (("EURUSD", 1), ("XAUUSD", 2345)):
                millis = 1715940930000 + count
                send(live, f'{{"status":"CONNECTED","symbol":"{symbol}","timeframe":"TICK","data":[{millis},{whole}.{count % 1000000:06},{whole}.999999]}}')


{"dwx": dwx, "mql5-json-api": mql5}[BRIDGE]()
