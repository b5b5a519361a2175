// What is said, and how others hear it.

import assert from "node:assert/strict";

import { contents, pages } from "./reading.mjs";

const EACH = 30;

const TEXTS = [
  "Grüße, 你好, שלום, 👩🏽‍🚀, e\u0301 and \u00e9",
  "a line\nanother\r\n\tand \u0000, \u001f, \u2028, \u2029, \u202e, \ufeff, \uffff",
  `"quotes", \\backslashes\\, <b>no markup</b>, '); DROP TABLE events; --`,
  "a".repeat(4096),
  "👋".repeat(1024),
  "\u0001".repeat(4096), // six times as long on the wire
];

/** As JSON text that a parser and a writer would not give back like this. */
const META = '{"b" : [1.0, 1e2,  12345678901234567890], "a":"\\u00fc\\/","a2":{ }, "é":null}';

export const TALKING = [
  {
    name: "two who talk at once hear one order, and own acks stand in it",
    run: talkAtOnce,
    isAboutTheLine: true,
  },
  {
    name: "texts of all kinds come as they were sent",
    async run(scene) {
      const { ann, bob, room } = await scene.two();
      for (const text of TEXTS) await ann.say(room, text);
      await bob.reaches(room, TEXTS.length);
      assert.deepEqual(bob.stream(room).map(({ text }) => text), TEXTS);
      assert.deepEqual((await pages(bob, room, 2)).map(({ text }) => text), TEXTS);
    },
  },
  {
    name: "meta comes byte for byte",
    async run(scene) {
      const { ann, bob, room } = await scene.two();
      const send = (text) => ann.socket.send(text.replace('"HERE"', META));
      await ann.commandAs(1000, { type: "send", room, text: "look", key: "k", meta: "HERE" }, send);
      assert.equal((await ann.reply(1000)).seq, 1);
      await bob.reaches(room, 1);
      const [event] = bob.stream(room);
      assert.ok(event.frame.includes(`"meta":${META}`), event.frame);
      assert.equal(event.key, "k");
    },
  },
  {
    name: "a message in fragments is one message",
    needs: "fragment",
    async run(scene) {
      const { ann, bob, room } = await scene.two();
      const inFragments = (json) => {
        const bytes = Buffer.from(json);
        const middle = bytes.indexOf("👋") + 2; // within the letter
        return ann.socket.sendFragments([bytes.subarray(0, 1), bytes.subarray(1, middle), bytes.subarray(middle)]);
      };
      await ann.commandAs(1000, { type: "send", room, text: "wave 👋 back" }, inFragments);
      assert.equal((await ann.reply(1000)).type, "ack");
      await bob.reaches(room, 1);
      assert.equal(bob.stream(room)[0].text, "wave 👋 back");
      const frames = ann.wire.seen.filter(({ from, opcode }) => from === "client" && opcode !== undefined);
      const first = frames.findIndex(({ isFinal }) => !isFinal);
      const order = frames.slice(first).map(({ opcode, isFinal }) => (isFinal ? `${opcode} and the end` : opcode));
      assert.match(order.join(), /^1(,0){1,2},0 and the end$/); // some add an empty one
    },
  },
  {
    name: "edits, reactions and deletions reach the other",
    async run(scene) {
      const { ann, bob, room } = await scene.two();
      const { seq: target } = await ann.say(room, "hi");
      await ann.ask({ type: "edit", room, target, text: "hi!" });
      await bob.ask({ type: "react", room, target, emoji: "👍", remove: false });
      const [shown] = await pages(bob, room, 1);
      assert.deepEqual([shown.text, shown.reactions], ["hi!", { "👍": { count: 1, me: true } }]);
      await ann.ask({ type: "delete", room, target });
      await bob.reaches(room, 4);
      assert.deepEqual(bob.stream(room).map(({ type }) => type), ["message", "edited", "ack", "deleted"]);
      assert.deepEqual(ann.stream(room).map(({ type }) => type), ["ack", "ack", "reaction", "ack"]);
      const [gone] = await pages(bob, room, 1);
      assert.deepEqual([gone.text, gone.deleted], [undefined, true]);
    },
  },
  {
    name: "history gives pages in both directions",
    async run(scene) {
      const { ann, room } = await scene.two();
      for (let n = 1; n <= 10; n += 1) await ann.say(room, `text ${n}`);
      const page = async (fields) => {
        const { events, more } = await ann.ask({ type: "history", room, ...fields });
        return [events.map(({ seq }) => seq), more];
      };
      assert.deepEqual(await page({ limit: 3 }), [[8, 9, 10], true]);
      assert.deepEqual(await page({ before: 8, limit: 3 }), [[5, 6, 7], true]);
      assert.deepEqual(await page({ before: 3, limit: 3 }), [[1, 2], false]);
      assert.deepEqual(await page({ after: 3, limit: 3 }), [[4, 5, 6], true]);
      assert.deepEqual(await page({ after: 8, limit: 3 }), [[9, 10], false]);
    },
  },
  {
    name: "mistakes are answered by a code, and the connection stays open",
    run: makeMistakes,
  },
];

async function talkAtOnce(scene) {
  const { ann, bob, room } = await scene.two();
  const other = await scene.peer("ann");
  await other.join(room);
  const talk = async (peer) => {
    const ids = [];
    for (let n = 1; n <= EACH; n += 1) {
      ids.push(await peer.command({ type: "send", room, text: `${peer.user} ${n}`, key: `k${n}` }));
    }
    let last = 0;
    for (const id of ids) {
      const { type, seq } = await peer.reply(id);
      assert.equal(type, "ack");
      assert.ok(seq > last, "acks come in the order of the sends");
      last = seq;
    }
  };
  await Promise.all([talk(ann), talk(bob)]);
  for (const peer of [ann, bob, other]) await peer.reaches(room, scene.door.base + 2 * EACH);

  for (const peer of [ann, bob]) {
    const acks = peer.stream(room).filter(({ type }) => type === "ack");
    assert.equal(acks.length, EACH, "each own message is an ack, and nobody else's is");
  }
  const isEvent = ({ type }) => type === "message";
  assert.ok(other.stream(room).every(isEvent), "another connection of the sender gets the events");
  assert.deepEqual(contents(ann, room), contents(bob, room));
  assert.deepEqual(contents(ann, room), contents(other, room));
}

async function makeMistakes(scene) {
  const { ann, bob, room } = await scene.two();
  const elsewhere = await scene.room();
  await bob.join(elsewhere);
  await bob.say(room, "of bob");
  const mistakes = [
    [{ type: "dance" }, "unknown_command"],
    [{ type: "send", room }, "invalid"],
    [{ type: "send", room, text: "a".repeat(4097) }, "too_large"],
    [{ type: "send", room: elsewhere, text: "hi" }, "not_joined"],
    [{ type: "join", room: "Not An Id" }, "invalid"],
    [{ type: "edit", room, target: 99, text: "hi" }, "not_found"],
    [{ type: "edit", room, target: 1, text: "hi" }, "forbidden"],
    [{ type: "history", room, before: 5, after: 1 }, "invalid"],
  ];
  for (const [command, code] of mistakes) {
    const reply = await ann.ask(command);
    assert.deepEqual([reply.type, reply.code], ["error", code], JSON.stringify(command).slice(0, 100));
  }
  await ann.socket.send('{"type":"ping","id":');
  const error = () => ann.others.find(({ type }) => type === "error");
  await ann.until(error, "an error without an id");
  assert.equal(error().code, "bad_json");
  assert.equal((await ann.say(room, "still here")).seq, 2);
}
