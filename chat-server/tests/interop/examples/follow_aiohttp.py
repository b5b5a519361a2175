"""Follows a room with `aiohttp`: python follow_aiohttp.py 'ws://127.0.0.1:8080/ws?user=ann' lobby"""

import asyncio
import sys
import time

import aiohttp
from room import Lost, Room, headers, wait_before_next


async def follow(url, room):
    failures = 0
    while True:
        began, code = time.monotonic(), None
        try:
            # The heartbeat notices a network that is gone without a word.
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, protocols=["chat.v1.batch"], headers=headers(), heartbeat=20) as socket,
            ):
                room.begin()
                writer = asyncio.create_task(room.write(socket.send_str))
                try:
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            room.take(message.data)
                finally:
                    writer.cancel()
                    code = socket.close_code
        except (aiohttp.ClientError, Lost) as error:
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
