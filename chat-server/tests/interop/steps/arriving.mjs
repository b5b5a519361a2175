// Getting in: the handshake, the welcome, and whether the other side is there.

import assert from "node:assert/strict";

import { OPCODE } from "../wire.mjs";

export const ARRIVING = [
  {
    name: "the subprotocol that was offered is chosen, and the welcome says who it is",
    isAboutTheLine: true,
    async run(scene) {
      const ann = await scene.peer("ann");
      assert.equal(ann.socket.protocol, scene.protocol);
      assert.equal(ann.welcome.protocol, "chat.v1"); // what is said is the same under both
      assert.equal(ann.welcome.user.id, "ann");
      assert.equal(ann.welcome.limits.text_bytes, 4096);
    },
  },
  {
    name: "what the server does not speak is passed over, and without an offer it speaks chat.v1",
    async run(scene) {
      const ann = await scene.peer("ann", { protocols: ["chat.v9", scene.protocol] });
      assert.equal(ann.socket.protocol, scene.protocol);
      const bob = await scene.peer("bob", { protocols: [] });
      assert.ok(!bob.socket.protocol, "nothing was offered, so nothing is chosen");
      assert.equal(bob.welcome.protocol, "chat.v1");
    },
  },
  {
    name: "compression is offered and declined, and all goes on without it",
    async run(scene) {
      const ann = await scene.peer("ann", { compress: true });
      assert.match(ann.wire.heads("client")[0], /^sec-websocket-extensions:.*permessage-deflate/im);
      assert.doesNotMatch(ann.wire.heads("server")[0], /^sec-websocket-extensions:/im);
      assert.ok(!ann.socket.extensions, "the client believes it, too");
      const room = await scene.room();
      await ann.join(room);
      await ann.say(room, "a".repeat(4096));
    },
  },
  {
    name: "a ping is answered",
    needs: "ping",
    async run(scene) {
      const ann = await scene.peer("ann", { pongs: true });
      await ann.socket.ping();
      const from = (side, opcode) => ann.wire.seen.find((part) => part.from === side && part.opcode === opcode);
      assert.deepEqual(from("server", OPCODE.pong).payload, from("client", OPCODE.ping).payload);
    },
  },
  {
    name: "the ping command is answered",
    async run(scene) {
      const ann = await scene.peer("ann");
      const pong = await ann.ask({ type: "ping" });
      assert.equal(pong.type, "pong");
      assert.ok(pong.server_time >= ann.welcome.server_time);
    },
  },
];
