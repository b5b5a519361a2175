// How connections end.

import assert from "node:assert/strict";

import { OPCODE } from "../wire.mjs";

const closeOf = (side) => ({ from, opcode }) => from === side && opcode === OPCODE.close;
const CLEAN_END = ({ from, end }) => from === "server" && end === "clean";

/** What clients send of themselves: nothing, or 1000. An answer that did not come would be 1006. */
const NO_WORDS = [1000, 1005];

export const CLOSING = [
  {
    name: "a close by the client is answered with its own code",
    isAboutTheLine: true,
    run: (scene) => closeAs(scene, [3001, "bye"]),
  },
  {
    name: "a close by the client without more words is answered alike",
    isAboutTheLine: true,
    run: (scene) => closeAs(scene, []),
  },
  {
    name: "a binary frame is closed with 1003",
    async run(scene) {
      const ann = await scene.peer("ann");
      await ann.socket.sendBinary(Buffer.from('{"type":"ping"}'));
      assert.equal((await ann.end()).code, 1003);
    },
  },
  {
    name: "a frame of the largest size passes, and one over it is closed with 1009",
    isAboutTheLine: true,
    async run(scene) {
      const ann = await scene.peer("ann");
      const size = ann.welcome.limits.frame_bytes;
      await ann.commandAs(1000, { type: "ping" }, (text) => ann.socket.send(text.padEnd(size)));
      assert.equal((await ann.reply(1000)).type, "pong");
      await ann.socket.send('{"type":"ping"}'.padEnd(size + 1));
      assert.equal((await ann.end()).code, 1009);
    },
  },
];

async function closeAs(scene, how) {
  const ann = await scene.peer("ann");
  const room = await scene.room();
  await ann.join(room);
  await ann.say(room, "hi");
  await ann.socket.close(...how);
  if (ann.wire.isRead) await sameCode(ann, how);
  else assert.ok([how[0] ?? NO_WORDS].flat().includes((await ann.end()).code));
  await ann.wire.until(CLEAN_END, "the end of the stream");
}

async function sameCode(ann, how) {
  const ours = await ann.wire.until(closeOf("client"), "the client's close frame");
  const theirs = await ann.wire.until(closeOf("server"), "the server's close frame");
  const code = ours.payload.length > 0 ? ours.payload.readUInt16BE(0) : 1005;
  if (how.length > 0) assert.equal(code, how[0]);
  assert.deepEqual(theirs.payload.subarray(0, 2), ours.payload.subarray(0, 2));
  assert.equal((await ann.end()).code, code);
}
