// Every client through every step, under both subprotocols, against the real server (CHAT_SERVER_BIN).

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Server } from "../../web/tests/support/server.mjs";
import { OPEN } from "./doors.mjs";
import { drivers } from "./drivers/all.mjs";
import { fill } from "./long_room.mjs";
import { Scene } from "./scene.mjs";
import { ARRIVING } from "./steps/arriving.mjs";
import { CLOSING } from "./steps/closing.mjs";
import { contents } from "./steps/reading.mjs";
import { RETURNING } from "./steps/returning.mjs";
import { TALKING } from "./steps/talking.mjs";
import { OPCODE } from "./wire.mjs";

const PROTOCOLS = ["chat.v1", "chat.v1.batch"];
const DRIVERS = drivers();
const STEPS = [...ARRIVING, ...TALKING, ...RETURNING, ...CLOSING];
const LONG_ROOM = "long";

const door = OPEN;
const server = new Server({ flags: door.flags });
/** The scenes in which somebody says nothing all the time, until the server asks whether they are there. */
const quiet = new Map();

const sceneFor = (driver, protocol) => new Scene({ driver, protocol, door, server, longRoom: LONG_ROOM });

before(async () => {
  await server.start();
  for (const driver of DRIVERS) {
    await driver.start();
    const scene = sceneFor(driver, PROTOCOLS[0]);
    quiet.set(driver, { scene, peer: scene.peer("quiet") });
    await quiet.get(driver).peer;
  }
  await fill(server, door, LONG_ROOM);
});

after(async () => {
  for (const { scene } of quiet.values()) await scene.end();
  for (const driver of DRIVERS) await driver.stop();
  await server.dispose();
});

for (const driver of DRIVERS) {
  for (const protocol of PROTOCOLS) {
    describe(`${driver.name} under ${protocol}`, () => {
      for (const { name, needs, run } of STEPS) {
        if (needs && !driver.can[needs]) continue;
        test(`${driver.name}, ${protocol}: ${name}`, () => sceneFor(driver, protocol).play(run));
      }
    });
  }
}

test("all clients in one room hear one order", async () => {
  const room = "everybody";
  const scenes = DRIVERS.map((driver, at) => sceneFor(driver, PROTOCOLS[at % PROTOCOLS.length]));
  try {
    const peers = [];
    for (const [at, scene] of scenes.entries()) peers.push(await scene.peer(`user-${at}`));
    for (const peer of peers) await peer.join(room);
    await Promise.all(peers.map(async (peer) => {
      for (let n = 1; n <= 10; n += 1) await peer.say(room, `${peer.user} ${n}`);
    }));
    for (const peer of peers) await peer.reaches(room, 10 * peers.length);
    for (const peer of peers) assert.deepEqual(contents(peer, room), contents(peers[0], room), peer.user);
  } finally {
    for (const scene of scenes) await scene.end();
  }
});

for (const driver of DRIVERS) {
  test(`${driver.name} answers the server's own ping`, async () => {
    const peer = await quiet.get(driver).peer;
    const of = (side, opcode) => (part) => part.from === side && part.opcode === opcode;
    const ping = await peer.wire.until(of("server", OPCODE.ping), "the server's ping");
    const pong = await peer.wire.until(of("client", OPCODE.pong), "the client's pong");
    assert.deepEqual(pong.payload, ping.payload);
    assert.equal((await peer.ask({ type: "ping" })).type, "pong");
  });
}
