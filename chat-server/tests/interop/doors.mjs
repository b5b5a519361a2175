// How a user gets in: the flags with which the server runs, and what a connection presents.

import assert from "node:assert/strict";

import { Agent, fetch } from "undici";

import { SECRET, tokenFor } from "../../web/tests/support/tokens.mjs";

/**
 * Everybody is believed. `present` says what a connection of this user to this origin shows: a {query} of the URL,
 * {headers}, and the {token} of a first frame. `furnish` sees to it that a room is there, with `base` events in it. Under
 * TLS, `authority` is the one that signed the server's certificate.
 */
export const OPEN = {
  name: "open",
  flags: ["--auth", "open"],
  authority: null,
  present: (user) => ({ query: `?user=${user}`, headers: {} }),
  async furnish() {},
  base: 0,
};

const JWT = ["--auth", "jwt", "--jwt-secret", SECRET];
const SIGNED = { ...OPEN, flags: [...JWT, "--rate-user", "off"], furnish: createRoom, base: 1 };

/** A token in a header of its own. */
export const BEARER = {
  ...SIGNED,
  name: "a header",
  needs: "headers",
  present: (user, { token = tokenFor(user) }) => ({ query: "", headers: { authorization: `Bearer ${token}` } }),
};

/** A token in the cookie, with the origin of the page that has it. */
export const COOKIE = {
  ...SIGNED,
  name: "the cookie",
  present: (user, { token = tokenFor(user), origin }) => {
    return { query: "", headers: { cookie: `chat_session=${token}`, ...(origin && { origin }) } };
  },
};

/** A token in the first frame. */
export const FRAME = {
  ...SIGNED,
  name: "the first frame",
  present: (user, { token = tokenFor(user) }) => ({ query: "", headers: {}, token }),
};

/** The same over TLS: the server has a certificate of this authority for this name. */
export async function secured(door, authority, name) {
  return { ...door, authority, flags: [...door.flags, ...(await authority.flagsFor(name))] };
}

/** A room is there only once somebody made it, who is its first member: that is its first event. */
async function createRoom(server, room) {
  const dispatcher = new Agent({ connect: { ca: await this.authority?.certificate() } });
  const answer = await fetch(`${server.url}/api/v1/rooms`, {
    method: "POST",
    headers: { authorization: `Bearer ${tokenFor("keeper")}`, "content-type": "application/json" },
    body: JSON.stringify({ id: room, visibility: "public" }),
    dispatcher,
  });
  assert.equal(answer.status, 201, await answer.text());
  await dispatcher.close();
}
