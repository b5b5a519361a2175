// One user's connection through one client: speaks the protocol, and holds the server to it at every frame.

import assert from "node:assert/strict";

import { WAIT_MS } from "./drivers/inbox.mjs";

/** What came last is told where something else was waited for. */
const TOLD_MAX = 5;

export class Peer {
  #driver;
  #wire;
  #door;
  #options;
  #socket = null;
  #number = 0;
  #first = null;
  #commands = new Map();
  #replies = new Map();
  #last = [];
  /** By room: {epoch, position, stream}, where the stream is all events and own acks from the join on, in order. */
  rooms = new Map();
  /** What came without a number or a room's place, in order: presence, errors without an id … */
  others = [];
  ended = null;

  constructor(driver, door, wire, user, options) {
    this.#driver = driver;
    this.#door = door;
    this.#wire = wire;
    this.#options = options;
    this.user = user;
  }

  get wire() {
    return this.#wire;
  }

  get socket() {
    return this.#socket;
  }

  /** Connects, for the first time or again, and takes the welcome. */
  async connect() {
    await this.open();
    await this.until(() => this.welcome !== undefined, "the welcome");
    if (this.#first !== null) assert.equal((await this.reply(this.#first)).type, "ok");
    return this;
  }

  /** Connects, and presents what the door asks for. */
  async open() {
    this.ended = null;
    this.welcome = undefined;
    this.#commands.clear();
    const { protocols, token, origin = this.#wire.origin, ...options } = this.#options;
    const shown = this.#door.present(this.user, { token, origin });
    const url = `${this.#wire.origin.replace(/^http/, "ws")}/ws${shown.query}`;
    this.#socket = await this.#driver.connect({ url, protocols, headers: shown.headers, options });
    this.#first = shown.token === undefined ? null : await this.command({ type: "auth", token: shown.token });
  }

  /** Sends a command with an id of its own, and gives the id. */
  async command(fields) {
    const id = ++this.#number;
    await this.commandAs(id, fields, (text) => this.#socket.send(text));
    return id;
  }

  async commandAs(id, fields, send) {
    const command = { ...fields, id };
    this.#commands.set(id, command);
    await send(JSON.stringify(command));
  }

  /** The reply to the command with this id. */
  async reply(id) {
    await this.until(() => this.#replies.has(id), `the reply to ${JSON.stringify(this.#commands.get(id))}`);
    const reply = this.#replies.get(id);
    this.#replies.delete(id);
    return reply;
  }

  /** The reply to the command with this id, or null where it has not come so far. */
  replyIfAny(id) {
    return this.#replies.get(id) ?? null;
  }

  async ask(fields) {
    return this.reply(await this.command(fields));
  }

  /** Joins at the position where this peer is, or where a new room begins. */
  async join(room, fields = {}) {
    const { epoch, position } = this.rooms.get(room) ?? { position: this.#door.base };
    const joined = await this.ask({ type: "join", room, after: position, ...(epoch && { epoch }), ...fields });
    assert.equal(joined.type, "joined");
    return joined;
  }

  async say(room, text, fields = {}) {
    const ack = await this.ask({ type: "send", room, text, ...fields });
    assert.equal(ack.type, "ack", JSON.stringify(ack));
    return ack;
  }

  /** All events and own acks of the room that came since its first join. */
  stream(room) {
    return this.rooms.get(room).stream;
  }

  async reaches(room, seq) {
    await this.until(() => this.rooms.get(room).position >= seq, `number ${seq} of ${room}`);
  }

  /** How the connection ended: {code, reason}. */
  async end() {
    await this.until(() => this.ended !== null, "the end of the connection");
    return this.ended;
  }

  /** Takes what comes, in order, until `isSo`. */
  async until(isSo, what) {
    const deadline = performance.now() + WAIT_MS;
    while (!isSo()) {
      const waited = `${this.user} waited for ${what}`;
      assert.equal(this.ended, null, `${waited}; the connection ended: ${JSON.stringify(this.ended)}`);
      const event = await this.#socket.inbox.next(deadline);
      if (event === null) assert.fail(`${waited} in vain; the last that came:\n${this.#last.join("\n")}`);
      this.#take(event);
    }
  }

  #take(event) {
    if (event.type === "close") {
      this.ended = { code: event.code, reason: event.reason };
      return;
    }
    assert.equal(event.type, "text", `not a text frame: ${JSON.stringify(event)}`);
    this.#last = [...this.#last, event.text.slice(0, 500)].slice(-TOLD_MAX);
    const frame = JSON.parse(event.text);
    const isBatch = this.#socket.protocol === "chat.v1.batch";
    assert.equal(Array.isArray(frame), isBatch, `arrays belong to chat.v1.batch: ${event.text.slice(0, 200)}`);
    assert.notEqual(frame.length, 0, "an empty array");
    for (const message of isBatch ? frame : [frame]) this.#hear({ ...message, frame: event.text });
  }

  #hear(message) {
    if (message.type === "welcome") this.welcome = message;
    assert.ok(this.welcome, `something came before the welcome: ${message.frame.slice(0, 200)}`);
    const command = this.#commands.get(message.id);
    if (message.id !== undefined) {
      assert.ok(command, `a reply that nobody asked for, or a second one: ${message.frame.slice(0, 200)}`);
      this.#commands.delete(message.id);
      this.#replies.set(message.id, message);
    }
    if (message.type === "joined") this.#enter(message, command);
    else if (message.type === "ack" && !message.duplicate) this.#move(message.room, { ...message, command });
    else if (message.seq !== undefined && message.from !== undefined) this.#move(message.room, message);
    else if (message.id === undefined) this.others.push(message);
  }

  #enter(joined, command) {
    const { room, epoch, last_seq } = joined;
    const known = this.rooms.get(room);
    const position = joined.reset || command?.after === undefined ? last_seq : command.after;
    if (known === undefined) this.rooms.set(room, { epoch, position, stream: [] });
    else Object.assign(known, { epoch, position });
  }

  /** Promises 3 and 5: events and own acks of a room are dense. */
  #move(room, message) {
    const track = this.rooms.get(room);
    assert.ok(track, `an event of a room that was not joined: ${message.frame.slice(0, 200)}`);
    const wanted = track.position + 1;
    if (message.seq > wanted) assert.fail(`${this.user} lost number ${wanted} of ${room}: ${message.seq} came`);
    if (message.seq < wanted) assert.fail(`${this.user} got number ${message.seq} of ${room} again, or late`);
    track.position = message.seq;
    track.stream.push(message);
  }
}
