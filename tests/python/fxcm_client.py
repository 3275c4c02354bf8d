"""python-socketio, the library of the vendor's own sample client, talks to the simulated FXCM.

Usage: fxcm_client.py HOST:PORT   Says "ok" and exits 0 when all went as documented.
"""

import json
import queue
import sys

import requests
import socketio

TOKEN = "hunter2"
DEADLINE_S = 60


def main(base):
    heard, refused = queue.Queue(), queue.Queue()
    socket = socketio.Client(reconnection=False)
    for name in ["EUR/USD", "USD/JPY"]:
        socket.on(name, heard.put)
    socket.connect(f"{base}?access_token={TOKEN}", transports=["websocket"])
    headers = {"Authorization": f"Bearer {socket.eio.sid}{TOKEN}"}

    def get(path, **params):
        return requests.get(base + path, params=params, headers=headers, timeout=DEADLINE_S).json()

    def post(path, **form):
        return requests.post(base + path, data=form, headers=headers, timeout=DEADLINE_S).json()

    answer = post("/subscribe", pairs=["EUR/USD", "USD/JPY"])
    assert answer["response"]["executed"] and [p["Symbol"] for p in answer["pairs"]] == ["EUR/USD", "USD/JPY"], answer
    seen = set()
    while seen != {"EUR/USD", "USD/JPY"}:
        update = json.loads(heard.get(timeout=DEADLINE_S))
        bid, ask, high, low = update["Rates"]
        assert low < bid < ask < high and update["Updated"] > 1_700_000_000_000, update
        seen.add(update["Symbol"])
    assert post("/unsubscribe", pairs="USD/JPY")["pairs"] == "USD/JPY"
    refusal = post("/subscribe", pairs="NOT/ONE")["response"]
    assert not refusal["executed"] and "NOT/ONE" in refusal["error"], refusal

    symbols = [i["symbol"] for i in get("/trading/get_instruments/")["data"]["instrument"]]
    assert symbols == ["EUR/USD", "USD/JPY"], symbols
    model = get("/trading/get_model/", models=["Offer", "Account", "OpenPosition", "Order"])
    assert [o["currency"] for o in model["offers"]] == symbols and model["orders"] == [], model
    assert model["accounts"][0]["accountId"] == model["open_positions"][0]["accountId"], model
    candles = get("/candles/1/m15/", num=3)["candles"]
    assert all(len(c) == 10 and c[1] < c[5] for c in candles) and len(candles) <= 3, candles

    stranger = {"Authorization": f"Bearer nobody{TOKEN}"}
    assert requests.get(base + "/trading/get_instruments/", headers=stranger, timeout=DEADLINE_S).status_code == 401
    other = socketio.Client(reconnection=False)
    other.on("connect_error", refused.put)
    try:
        other.connect(f"{base}?access_token=wrong", transports=["websocket"])
        print(refused.get(timeout=DEADLINE_S), file=sys.stderr)
    except socketio.exceptions.ConnectionError as error:
        print(error, file=sys.stderr)
    socket.disconnect()
    print("ok")


main(f"http://{sys.argv[1]}")
