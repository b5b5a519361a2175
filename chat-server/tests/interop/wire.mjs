// The network between one client and the server. It can be cut and held. What is not encrypted it reads: it tells what
// went over it, and loses frames where it is told to.

import { once } from "node:events";
import { connect, createServer } from "node:net";

import { inTime } from "./drivers/inbox.mjs";

const UPGRADE = /^upgrade: *websocket/im;

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

export class Wire {
  #server;
  #pairs = new Set();
  #waiting = [];
  #isHeld = false;
  /** What becomes of each frame of the server: how many times it goes on to the client. */
  copies = () => 1;
  /**
   * All that has passed since the start, with `from` "client" or "server": {head} of a handshake; {opcode, isFinal} of
   * a frame, with {payload} of a control frame; and {end}, which is "clean" or "reset".
   */
  seen = [];

  static async open(target) {
    const wire = new Wire();
    wire.#server = createServer({ allowHalfOpen: true }, (client) => wire.#pair(client, target));
    wire.#server.listen(0, "127.0.0.1");
    await once(wire.#server, "listening");
    wire.isRead = target.protocol === "http:";
    wire.origin = `${target.protocol}//127.0.0.1:${wire.#server.address().port}`;
    return wire;
  }

  #pair(client, target) {
    const server = connect({ port: target.port, host: target.hostname, allowHalfOpen: true });
    const pair = { client, server };
    this.#pairs.add(pair);
    this.#flow(client, server, "client");
    this.#flow(server, client, "server");
    if (this.#isHeld) server.pause();
    client.once("close", () => this.#pairs.delete(pair));
  }

  #flow(source, sink, from) {
    const splitter = new Splitter(this.isRead ? head : other);
    const end = (how) => this.#note({ from, end: how });
    source.on("data", (bytes) => {
      for (const part of splitter.take(bytes)) this.#pass(part, sink, from);
    });
    source.on("end", () => {
      end("clean");
      sink.end();
    });
    // A reset goes on as a reset: nobody is to see a clean end that was none.
    source.on("error", () => {
      end("reset");
      sink.resetAndDestroy();
    });
    source.on("close", () => sink.destroySoon());
  }

  #pass(part, sink, from) {
    const { bytes, payload, ...what } = part;
    const isControl = part.opcode >= OPCODE.close;
    const copies = from === "server" && part.opcode !== undefined ? this.copies(part) : 1;
    for (let n = 0; n < copies; n += 1) if (!sink.destroyed) sink.write(bytes);
    this.#note({ from, ...what, ...(isControl && { payload }) });
  }

  #note(what) {
    this.seen.push(what);
    this.#waiting = this.#waiting.filter((look) => !look());
  }

  /** Waits until something has passed of which `is` is true, and gives it. */
  async until(is, what) {
    const passed = new Promise((resolve) => {
      const look = () => {
        const found = this.seen.find(is);
        if (found) resolve(found);
        return found !== undefined;
      };
      if (!look()) this.#waiting.push(look);
    });
    return inTime(passed, what);
  }

  /** The heads of the handshakes so far, by who sent them. */
  heads(from) {
    return this.seen.filter((part) => part.from === from && UPGRADE.test(part.head)).map(({ head }) => head);
  }

  /** From now on nothing that the server says arrives. */
  hold() {
    this.#isHeld = true;
    for (const { server } of this.#pairs) server.pause();
  }

  /** Breaks all connections at once, as a network does. Those to come are not held. */
  cut() {
    this.#isHeld = false;
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  async close() {
    this.cut();
    this.#server.close();
  }
}

/** Takes one direction apart: the head of the handshake, then frames. What is no WebSocket, or hidden, goes by whole. */
class Splitter {
  #rest = Buffer.alloc(0);
  #next;

  constructor(next) {
    this.#next = next;
  }

  *take(bytes) {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length > 0) {
      const part = this.#next(this.#rest);
      if (part === null) return;
      if (this.#next === head) this.#next = UPGRADE.test(part.head) ? frame : other;
      this.#rest = this.#rest.subarray(part.bytes.length);
      yield part;
    }
  }
}

function other(bytes) {
  return { bytes };
}

function head(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  return end < 0 ? null : { head: bytes.toString("latin1", 0, end), bytes: bytes.subarray(0, end + 4) };
}

/** The first frame of RFC 6455, section 5.2, or null while it is not whole. */
function frame(bytes) {
  if (bytes.length < 2) return null;
  const short = bytes[1] & 0x7f;
  const maskAt = 2 + ({ 126: 2, 127: 8 }[short] ?? 0);
  const start = maskAt + (bytes[1] & 0x80 ? 4 : 0);
  if (bytes.length < start) return null;
  const length = { 126: () => bytes.readUInt16BE(2), 127: () => Number(bytes.readBigUInt64BE(2)) }[short]?.() ?? short;
  if (bytes.length < start + length) return null;
  const mask = bytes.subarray(maskAt, start);
  const payload = Buffer.from(bytes.subarray(start, start + length));
  if (mask.length > 0) for (let at = 0; at < length; at += 1) payload[at] ^= mask[at % 4];
  const isFinal = (bytes[0] & 0x80) !== 0;
  return { opcode: bytes[0] & 0x0f, isFinal, payload, bytes: bytes.subarray(0, start + length) };
}
