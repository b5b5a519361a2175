// Tokens as another service signs them.

import { createHmac } from "node:crypto";

export const SECRET = "a secret of the tests, 32 bytes!";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token (RFC 7519, HS256) of `sub` that is good for so many seconds. */
export function tokenFor(sub, { seconds = 600, ...claims } = {}) {
  const exp = Date.now() / 1000 + seconds;
  const message = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub, exp, ...claims })}`;
  return `${message}.${createHmac("sha256", SECRET).update(message).digest("base64url")}`;
}
