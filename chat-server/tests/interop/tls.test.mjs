// Every client over TLS, with tokens as in earnest, against the real server (CHAT_SERVER_BIN).

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server } from "../../web/tests/support/server.mjs";
import { Authority } from "./authority.mjs";
import { BEARER, COOKIE, secured } from "./doors.mjs";
import { drivers } from "./drivers/all.mjs";
import { fill } from "./long_room.mjs";
import { Scene } from "./scene.mjs";
import { ARRIVING } from "./steps/arriving.mjs";
import { CLOSING } from "./steps/closing.mjs";
import { RETURNING } from "./steps/returning.mjs";
import { TALKING } from "./steps/talking.mjs";

const STEPS = [...ARRIVING, ...TALKING, ...RETURNING, ...CLOSING].filter(({ isAboutTheLine }) => isAboutTheLine);
const LONG_ROOM = "long";
// Its frames are the larger ones: they take more than one record of TLS.
const PROTOCOL = "chat.v1.batch";

/** What a client says of a certificate that nobody whom it trusts has signed, and of one for another name. */
const COMPLAINTS = {
  websockets: [/SSLCertVerificationError.*unable to get local issuer/, /SSLCertVerificationError.*IP address mismatch/],
  aiohttp: [/ClientConnectorCertificateError.*unable to get local issuer/, /CertificateError.*IP address mismatch/],
  ws: [/unable to verify the first certificate/, /IP: 127\.0\.0\.1 is not in the cert's list/],
  undici: [/unable to verify the first certificate/, /IP: 127\.0\.0\.1 is not in the cert's list/],
  Chromium: [/ERR_CERT_AUTHORITY_INVALID/, /ERR_CERT_COMMON_NAME_INVALID/],
};

const TRUSTING = drivers();
const STRANGERS = drivers();
let authority;
let door;
let server;
let misnamed;

const doorFor = (driver) => (driver.can.headers ? door : { ...door, present: COOKIE.present });

before(async () => {
  authority = await Authority.found();
  door = await secured(BEARER, authority, "IP:127.0.0.1");
  server = new Server(door);
  misnamed = new Server(await secured(BEARER, authority, "DNS:elsewhere.example"));
  for (const each of [server, misnamed]) await each.start();
  for (const driver of TRUSTING) await driver.start(door);
  for (const driver of STRANGERS) await driver.start();
  await fill(server, door, LONG_ROOM);
});

after(async () => {
  for (const driver of [...TRUSTING, ...STRANGERS]) await driver.stop();
  for (const each of [server, misnamed]) await each?.dispose();
  await authority?.dispose();
});

for (const driver of TRUSTING) {
  for (const { name, run } of STEPS) {
    test(`${driver.name}, TLS: ${name}`, () => {
      return new Scene({ driver, protocol: PROTOCOL, door: doorFor(driver), server, longRoom: LONG_ROOM }).play(run);
    });
  }
}

for (const [at, driver] of STRANGERS.entries()) {
  test(`${driver.name} refuses an authority that it was not told to trust`, async () => {
    await complains(driver, server, COMPLAINTS[driver.name][0]);
  });

  test(`${driver.name} refuses a certificate for another name`, async () => {
    await complains(TRUSTING[at], misnamed, COMPLAINTS[driver.name][1]);
  });
}

async function complains(driver, server, complaint) {
  const scene = new Scene({ driver, protocol: PROTOCOL, door: doorFor(driver), server });
  await scene.play(async () => {
    const ann = await scene.newcomer("ann");
    await assert.rejects(ann.open(), complaint);
  });
}
