"""A venue for the adapter "fxcm" whose socket.io is python-socketio's and whose HTTP is aiohttp's.

Usage: fxcm_venue.py   Says its port, and serves until its standard input ends. It hangs up on who has not pinged for 0.8 s.
"""

import asyncio
import json
import sys
import time
from urllib.parse import parse_qs

import socketio
from aiohttp import web

TOKEN = "hunter2"
server = socketio.AsyncServer(async_mode="aiohttp", ping_interval=0.2, ping_timeout=0.6)
sockets, tasks = set(), set()


@server.event
async def connect(sid, environ):
    if parse_qs(environ["QUERY_STRING"]).get("access_token") != [TOKEN]:
        return False
    sockets.add(sid)


@server.event
async def disconnect(sid):
    sockets.discard(sid)


def executed(**more):
    return web.json_response({"response": {"executed": True, "error": ""}, **more})


def socket_of(request):
    bearer = request.headers.get("Authorization", "")
    found = [sid for sid in sockets if bearer == f"Bearer {sid}{TOKEN}"]
    if not found:
        raise web.HTTPUnauthorized(text="Unauthorized")
    return found[0]


async def tell(sid, pairs):
    for number in range(1_000_000):
        if sid not in sockets:
            return
        for pair in pairs:
            rates = [1.08 + number / 100_000, 1.081 + number / 100_000, 1.2, 1.0]
            update = {"Updated": int(time.time() * 1000), "Rates": [round(r, 5) for r in rates], "Symbol": pair}
            # What `emit` calls for one socket; itself it hands coroutines to asyncio.wait, which Python 3.11 refuses.
            await server._emit_internal(sid, pair, json.dumps(update), "/")
        await asyncio.sleep(0.02)


async def subscribe(request):
    sid, form = socket_of(request), await request.post()
    pairs = form.getall("pairs")
    task = asyncio.ensure_future(tell(sid, pairs))
    tasks.add(task)
    return executed(pairs=[{"Symbol": pair} for pair in pairs])


async def model(request):
    socket_of(request)
    assert request.query["models"] == "Account", request.query
    return executed(accounts=[{"t": 6, "accountId": "1027808", "balance": 39208.63, "equity": 39210.26234, "usdMr": 116}])


async def main():
    app = web.Application()
    server.attach(app)
    app.add_routes([web.post("/subscribe", subscribe), web.get("/trading/get_model/", model)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
