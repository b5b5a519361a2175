"""Follows a room with `websockets`: python follow_websockets.py 'ws://127.0.0.1:8080/ws?user=ann' lobby"""

import asyncio
import sys
import time

from room import Lost, Room, headers, wait_before_next
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake


async def follow(url, room):
    failures = 0
    while True:
        began, code = time.monotonic(), None
        try:
            async with connect(url, subprotocols=["chat.v1.batch"], additional_headers=headers()) as socket:
                room.begin()
                writer = asyncio.create_task(room.write(socket.send))
                try:
                    while True:
                        room.take(await socket.recv())
                finally:
                    writer.cancel()
                    code = socket.close_code
        except (OSError, InvalidHandshake, ConnectionClosed, Lost) as error:
            print(f"lost: {error}", file=sys.stderr)
        failures = 0 if time.monotonic() - began > 10 else failures + 1
        await asyncio.sleep(wait_before_next(code, failures))


async def talk(room):
    while line := await asyncio.to_thread(sys.stdin.readline):
        room.say(line.rstrip("\n"))


async def main(url, name):
    room = Room(name, lambda seq, user, text: print(seq, f"{user}:", text, flush=True))
    await asyncio.gather(follow(url, room), talk(room))


asyncio.run(main(*sys.argv[1:]))
