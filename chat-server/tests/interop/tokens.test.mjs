// Every client with tokens, in each of the ways in which one travels, against the real server (CHAT_SERVER_BIN).

import { after, before, describe, test } from "node:test";

import { Server } from "../../web/tests/support/server.mjs";
import { BEARER, COOKIE, FRAME } from "./doors.mjs";
import { drivers } from "./drivers/all.mjs";
import { Scene } from "./scene.mjs";
import { TOKENS } from "./steps/tokens.mjs";

// Only the first frame is read by a server that speaks a subprotocol already.
const WAYS = [
  { door: BEARER, protocols: ["chat.v1"] },
  { door: COOKIE, protocols: ["chat.v1.batch"] },
  { door: FRAME, protocols: ["chat.v1", "chat.v1.batch"] },
];
const DRIVERS = drivers();

const server = new Server({ flags: FRAME.flags });

before(async () => {
  await server.start();
  for (const driver of DRIVERS) await driver.start();
});

after(async () => {
  for (const driver of DRIVERS) await driver.stop();
  await server.dispose();
});

// All at once: they mostly wait until a token ends.
describe("tokens that end", { concurrency: true }, () => play(TOKENS.filter(({ waits }) => waits)));
describe("tokens", () => play(TOKENS.filter(({ waits }) => !waits)));

function play(steps) {
  for (const driver of DRIVERS) {
    for (const { door, protocols } of WAYS) {
      if (door.needs && !driver.can[door.needs]) continue;
      for (const { name, doors, needs, run } of steps) {
        if (!doors.includes(door) || (needs && !driver.can[needs])) continue;
        for (const protocol of protocols) {
          test(`${driver.name}, ${door.name}, ${protocol}: ${name}`, () => {
            return new Scene({ driver, protocol, door, server }).play(run);
          });
        }
      }
    }
  }
}
