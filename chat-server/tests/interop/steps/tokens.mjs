// Getting in with a token, whichever way the scene's door lets it travel.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";

import { tokenFor } from "../../../web/tests/support/tokens.mjs";
import { BEARER, COOKIE, FRAME } from "../doors.mjs";
import { loseTheNetwork } from "./returning.mjs";

/** How long a token holds that is to end: the first with which a slow machine gets in before. */
const SHORT_SECONDS = [3, 6, 12, 24];

const UNAUTHORIZED = 4001;

/** What a client says of a handshake that was answered with a status. */
const REFUSALS = {
  websockets: (status) => `InvalidStatus: server rejected WebSocket connection: HTTP ${status}`,
  aiohttp: (status) => `WSServerHandshakeError: ${status}, message=`,
  ws: (status) => `Unexpected server response: ${status}`,
  // A WebSocket of the browsers' kind is not told why.
  undici: () => "closed with 1006 before it was open",
  Chromium: () => "closed with 1006 before it was open",
};

export const TOKENS = [
  {
    name: "a token lets in, and back in after a lost connection",
    doors: [BEARER, COOKIE, FRAME],
    async run(scene) {
      const token = tokenFor("carl", { name: "Carl of the token", role: "operator" });
      const carl = await scene.peer("carl", { token });
      assert.deepEqual(carl.welcome.user, { id: "carl", name: "Carl of the token", role: "operator" });
      await loseTheNetwork(scene);
    },
  },
  {
    name: "a bad token is refused at the handshake",
    doors: [BEARER, COOKIE],
    async run(scene) {
      for (const token of badTokens()) await isRefused(await scene.newcomer("ann", { token }), scene, 401);
    },
  },
  {
    name: "a bad token, or a first frame without one, closes the connection",
    doors: [FRAME],
    async run(scene) {
      for (const token of [...badTokens(), null]) {
        const ann = await scene.newcomer("ann", { token });
        await ann.open();
        assert.equal((await ann.end()).code, UNAUTHORIZED);
        assert.equal(ann.welcome, undefined);
      }
    },
  },
  {
    name: "a token that ends closes the connection, and a renewed one does not",
    waits: true,
    doors: [BEARER, COOKIE, FRAME],
    run: outlive,
  },
  {
    name: "the cookie counts in pages of the server's own origin only",
    doors: [COOKIE],
    async run(scene) {
      const elsewhere = createServer((_, answer) => answer.end("a page")).listen(0, "127.0.0.1");
      await once(elsewhere, "listening");
      const origin = `http://127.0.0.1:${elsewhere.address().port}`;
      try {
        const ann = await scene.newcomer("ann", { origin });
        await isRefused(ann, scene, 403);
        const head = ann.wire.heads("client").at(-1);
        assert.match(head, /^cookie: *chat_session=ey/im, "it came with the cookie");
        assert.ok(head.includes(`: ${origin}\r\n`), "and with its page's origin");
      } finally {
        elsewhere.close();
      }
    },
  },
  {
    name: "the cookie counts for nothing without an origin",
    doors: [COOKIE],
    needs: "headers",
    async run(scene) {
      await isRefused(await scene.newcomer("ann", { origin: null }), scene, 403);
    },
  },
];

/** One that is over, and one whose claims are not those that were signed. */
function badTokens() {
  const [head, , signature] = tokenFor("bob").split(".");
  const [, claims] = tokenFor("ann", { role: "admin" }).split(".");
  return [tokenFor("ann", { seconds: -1 }), [head, claims, signature].join(".")];
}

async function isRefused(peer, scene, status) {
  await assert.rejects(peer.open(), (error) => {
    assert.ok(error.message.includes(REFUSALS[scene.driver.name](status)), error.message);
    return true;
  });
  const answer = peer.wire.seen.filter(({ from, head }) => from === "server" && head).at(-1);
  assert.ok(answer.head.startsWith(`HTTP/1.1 ${status} `), answer.head);
}

/** Bob's token is renewed in time, and ann's, which ends after bob's, is not. */
async function outlive(scene) {
  const room = await scene.room();
  const { ann, bob } = await enterForShort(scene);
  await bob.join(room);
  await bob.say(room, "still here");
  assert.equal((await ann.end()).code, UNAUTHORIZED);
  await bob.say(room, "and still here");

  const other = await bob.ask({ type: "auth", token: tokenFor("mallory") });
  assert.deepEqual([other.type, other.code], ["error", "unauthorized"]);
  await bob.say(room, "as bob");
}

async function enterForShort(scene) {
  for (const seconds of SHORT_SECONDS) {
    try {
      const bob = await scene.peer("bob", { token: tokenFor("bob", { seconds }) });
      const renewed = await bob.ask({ type: "auth", token: tokenFor("bob") });
      assert.equal(renewed.type, "ok");
      return { ann: await scene.peer("ann", { token: tokenFor("ann", { seconds: seconds + 1 }) }), bob };
    } catch (error) {
      if (seconds === SHORT_SECONDS.at(-1)) throw error;
    }
  }
}
