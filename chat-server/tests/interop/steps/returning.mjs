// Coming back: after a network, a server or a process that went away.

import assert from "node:assert/strict";

import { LONG_ROOM_EVENTS, longText } from "../long_room.mjs";
import { contents, pages } from "./reading.mjs";

const MISSED = 20;

/** Without a close frame there is no code. */
const NO_CODE = 1006;

export const RETURNING = [
  {
    name: "after a lost connection nothing is lost or doubled, and the same key settles what was sent",
    run: loseTheNetwork,
    isAboutTheLine: true,
  },
  {
    name: "a position of another epoch is reset, and history gives the timeline",
    async run(scene) {
      const { ann, room } = await scene.two();
      for (let n = 1; n <= 5; n += 1) await ann.say(room, `text ${n}`);
      const carl = await scene.peer("carl");
      const joined = await carl.join(room, { after: 3, epoch: "0".repeat(32) });
      assert.deepEqual([joined.reset, joined.last_seq], [true, 5]);
      assert.deepEqual((await pages(carl, room, 3)).map(({ seq }) => seq), [1, 2, 3, 4, 5]);
      await ann.say(room, "text 6");
      await carl.reaches(room, 6);
      assert.deepEqual(carl.stream(room).map(({ text }) => text), ["text 6"]);
    },
  },
  {
    name: "a long timeline comes through, over two connections",
    isAboutTheLine: true,
    async run(scene) {
      const ann = await scene.peer("ann");
      await ann.join(scene.longRoom);
      await ann.reaches(scene.longRoom, LONG_ROOM_EVENTS / 4);
      ann.wire.cut();
      await ann.connect();
      await ann.join(scene.longRoom);
      await ann.reaches(scene.longRoom, LONG_ROOM_EVENTS);
      const stream = ann.stream(scene.longRoom);
      assert.equal(stream.length, LONG_ROOM_EVENTS - scene.door.base);
      assert.ok(stream.every(({ seq, text }) => text === longText(seq)), "each number has its text");
    },
  },
  {
    name: "a server that ends says 1001, and what it had acked is there when it is back",
    isAboutTheLine: true,
    run: (scene) => endTheServer(scene, { end: (server) => server.drain(), exit: 0, code: 1001 }),
  },
  {
    name: "what a killed server had acked is there when it is back",
    run: (scene) => endTheServer(scene, { end: (server) => server.kill(), code: NO_CODE }),
  },
];

export async function loseTheNetwork(scene) {
  const { base } = scene.door;
  const { ann, bob, room } = await scene.two();
  await ann.say(room, "before");
  ann.wire.hold();
  const unsure = { type: "send", room, text: "did it arrive?", key: "unsure" };
  await ann.command(unsure);
  await bob.reaches(room, base + 2); // it did, but ann does not hear of it
  ann.wire.cut();
  assert.equal((await ann.end()).code, NO_CODE);

  for (let n = 1; n <= MISSED; n += 1) await bob.say(room, `missed ${n}`);
  const resumed = ann.rooms.get(room).stream.length;
  await ann.connect();
  const joining = ann.join(room);
  await bob.say(room, "meanwhile");
  assert.equal((await joining).reset, undefined);
  await ann.reaches(room, base + MISSED + 3);
  const [own] = ann.stream(room).slice(resumed);
  assert.deepEqual([own.type, own.from, own.key, own.seq], ["message", "ann", "unsure", base + 2]);

  const again = await ann.ask(unsure);
  assert.deepEqual([again.type, again.seq, again.duplicate], ["ack", base + 2, true]);
  await ann.say(room, "after");
  await bob.reaches(room, base + MISSED + 4);
  assert.deepEqual(contents(ann, room), contents(bob, room));
}

async function endTheServer(scene, { end, exit, code }) {
  const server = await scene.ownServer();
  const { ann, bob, room } = await scene.two({ server });
  const sends = [];
  for (let n = 1; n <= MISSED; n += 1) {
    const fields = { type: "send", room, text: `text ${n}`, key: `k${n}` };
    sends.push({ fields, id: await ann.command(fields) });
  }
  const first = sends[0];
  first.seq = (await ann.reply(first.id)).seq;
  assert.equal(await end(server), exit);
  for (const peer of [ann, bob]) assert.equal((await peer.end()).code, code, peer.user);
  for (const send of sends.slice(1)) send.seq = ann.replyIfAny(send.id)?.seq;

  await server.start();
  for (const peer of [ann, bob]) {
    await peer.connect();
    assert.equal((await peer.join(room)).reset, undefined, "the room is the same");
  }
  for (const { fields, seq } of sends) {
    const ack = await ann.ask(fields);
    assert.equal(ack.type, "ack");
    if (seq !== undefined) assert.deepEqual([ack.seq, ack.duplicate], [seq, true], "what was acked is kept");
  }
  await bob.reaches(room, scene.door.base + MISSED);
  assert.deepEqual(bob.stream(room).map(({ text }) => text), sends.map(({ fields }) => fields.text));
}
