// Whether the checks would notice: a conversation over a network that is at fault must fail, and say at which number.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server } from "../../web/tests/support/server.mjs";
import { OPEN } from "./doors.mjs";
import { inTime } from "./drivers/inbox.mjs";
import { Ws } from "./drivers/ws.mjs";
import { Scene } from "./scene.mjs";

const FAULTS = [
  { what: "nothing", whose: "bob", copies: 1, complaint: null },
  { what: "a lost event", whose: "bob", copies: 0, complaint: /bob lost number 2 of/ },
  { what: "a doubled event", whose: "bob", copies: 2, complaint: /bob got number 2 of .* again/ },
  { what: "a lost ack", whose: "ann", copies: 0, complaint: /ann lost number 2 of/ },
  { what: "a doubled ack", whose: "ann", copies: 2, complaint: /a second one/ },
];

const server = new Server({ flags: OPEN.flags });

before(() => server.start());
after(() => server.dispose());

for (const protocol of ["chat.v1", "chat.v1.batch"]) {
  for (const { what, whose, copies, complaint } of FAULTS) {
    test(`${protocol}: ${what} is ${complaint ? "noticed" : "no fault"}`, async () => {
      const scene = new Scene({ driver: new Ws(), protocol, door: OPEN, server });
      await scene.play(async () => {
        const talk = threeMessages(scene, whose, copies);
        await (complaint ? assert.rejects(talk, complaint) : talk);
      });
    });
  }
}

/** Ann says three things, and the second one's frame comes to one of the two in so many copies. */
async function threeMessages(scene, whose, copies) {
  const { ann, bob, room } = await scene.two();
  const faulty = whose === "ann" ? ann : bob;
  faulty.wire.copies = ({ payload }) => (payload.includes('"seq":2,') ? copies : 1);
  for (let n = 1; n <= 3; n += 1) {
    const passed = Promise.all([passes(ann.wire, n), passes(bob.wire, n)]);
    await ann.command({ type: "send", room, text: `text ${n}` });
    await inTime(passed, `number ${n} on both wires`);
  }
  await ann.reaches(room, 3);
  await bob.reaches(room, 3);
}

/** Waits until the frame with this number has come as far as the fault, so that no two share a frame. */
function passes(wire, seq) {
  const { copies } = wire;
  return new Promise((resolve) => {
    wire.copies = (frame) => {
      if (frame.payload.includes(`"seq":${seq},`)) resolve();
      return copies(frame);
    };
  });
}
