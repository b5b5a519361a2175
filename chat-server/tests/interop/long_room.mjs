// A room with more in it than any client takes at once.

import { Ws } from "./drivers/ws.mjs";
import { Peer } from "./peer.mjs";
import { Wire } from "./wire.mjs";

export const LONG_ROOM_EVENTS = 10_000;

/** More at once may be refused as `overloaded`. */
const IN_FLIGHT_MAX = 250;

/** Each twentieth is long. */
export const longText = (seq) => `text ${seq} `.padEnd(seq % 20 === 0 ? 4096 : 100, ".");

/** Fills a room of this name, up to the last number. */
export async function fill(server, door, room) {
  await door.furnish(server, room);
  const wire = await Wire.open(new URL(server.url));
  const driver = new Ws();
  await driver.start(door);
  const writer = await new Peer(driver, door, wire, "writer", { protocols: ["chat.v1.batch"] }).connect();
  await writer.join(room);
  for (let seq = door.base + 1; seq <= LONG_ROOM_EVENTS; seq += 1) {
    await writer.command({ type: "send", room, text: longText(seq) });
    if (seq % IN_FLIGHT_MAX === 0) await writer.reaches(room, seq);
  }
  await writer.reaches(room, LONG_ROOM_EVENTS);
  await writer.socket.close();
  await writer.end();
  await wire.close();
}
