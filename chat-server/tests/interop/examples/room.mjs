// A room that is followed while connections come and go, with any WebSocket of the browsers' kind. Its rules are those
// of docs/reconnect.md.

const PASSING = ["unavailable", "overloaded", "rate_limited", "internal"];
const FINAL_CLOSES = [4001, 4003];
/** A quiet server is asked whether it is there, and given up when it goes on being quiet. */
const QUIET_MS = 20_000;
const GONE_MS = 30_000;

export class Room {
  #connect;
  #name;
  #token;
  #show;
  #epoch = null;
  #position = 0;
  #outbox = new Map(); // texts by key, until they are settled
  #sent = new Map();
  #socket = null;
  #isJoined = false;
  #failures = 0;
  #opened = 0;
  #heard = 0;

  /**
   * Calls `show(seq, user, text)` for every message, once and in order. `connect()` gives a new socket, on which `token`,
   * where there is one, is the first that is said.
   */
  constructor({ connect, name, token, show }) {
    this.#connect = connect;
    this.#name = name;
    this.#token = token;
    this.#show = show;
    this.#open();
    setInterval(() => this.#watch(), QUIET_MS / 4);
  }

  say(text) {
    const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    this.#outbox.set(key, text);
    if (this.#isJoined) this.#send(key);
  }

  #send(key) {
    const id = this.#sent.size + 1;
    this.#sent.set(id, key);
    this.#command("send", { id, key, text: this.#outbox.get(key) });
  }

  #command(type, fields) {
    this.#socket.send(JSON.stringify({ type, room: this.#name, ...fields }));
  }

  #open() {
    const socket = this.#connect();
    this.#socket = socket;
    this.#opened = this.#heard = Date.now();
    socket.onerror = () => {}; // a close follows
    if (this.#token) socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: this.#token }));
    socket.onclose = ({ code }) => this.#lost(socket, code);
    socket.onmessage = ({ data }) => {
      this.#heard = Date.now();
      for (const message of JSON.parse(data)) if (socket === this.#socket) this.#take(message);
    };
  }

  #lost(socket, code) {
    if (socket !== this.#socket) return; // given up already
    this.#socket = null;
    this.#isJoined = false;
    this.#sent.clear();
    if (FINAL_CLOSES.includes(code)) throw new Error(`the server closed with ${code}`);
    this.#failures = Date.now() - this.#opened > 10_000 ? 0 : this.#failures + 1;
    const bound = code === 1001 ? 5000 : Math.min(30_000, 1000 * 2 ** this.#failures);
    setTimeout(() => this.#open(), Math.random() * bound); // so that not all come back at once
  }

  /** Lets go of a connection that is of no more use. */
  #drop() {
    const socket = this.#socket;
    this.#lost(socket, 1006);
    socket.close();
  }

  #watch() {
    const quiet = Date.now() - this.#heard;
    if (this.#socket && quiet >= GONE_MS) this.#drop();
    else if (this.#isJoined && quiet >= QUIET_MS) this.#command("ping");
  }

  #take(message) {
    if (message.type === "welcome") {
      this.user = message.user.id;
      this.#command("join", { after: this.#position, epoch: this.#epoch });
    } else if (message.type === "joined") this.#joined(message);
    else if (message.type === "history") for (const event of message.events) this.#shown(event);
    else if (message.type === "ack") this.#acked(message);
    else if (message.type === "error") this.#refused(message);
    else if (message.seq !== undefined && message.from !== undefined) this.#moved(message);
  }

  #joined({ epoch, last_seq, reset }) {
    this.#epoch = epoch;
    this.#isJoined = true;
    if (reset) {
      this.#position = last_seq; // what it was means nothing: begin with the newest page
      this.#command("history", { before: last_seq + 1 });
    }
    for (const key of this.#outbox.keys()) this.#send(key); // where it had arrived, its key makes it harmless
  }

  #acked(ack) {
    const key = this.#sent.get(ack.id);
    if (ack.duplicate) this.#outbox.delete(key); // kept, and no position
    else this.#moved({ ...ack, type: "message", from: this.user, key, text: this.#outbox.get(key) });
  }

  #moved(event) {
    if (event.seq !== this.#position + 1) {
      this.#drop();
      return;
    }
    this.#position = event.seq;
    this.#shown(event);
  }

  #shown({ type, seq, from, key, text }) {
    if (from === this.user) this.#outbox.delete(key);
    if (type === "message" && text !== undefined) this.#show(seq, from, text);
  }

  #refused({ id, code, message }) {
    if (PASSING.includes(code)) {
      this.#drop();
      return;
    }
    const key = this.#sent.get(id);
    if (key === undefined) throw new Error(`${this.#name}: ${message}`);
    console.error(`not sent: ${this.#outbox.get(key)}: ${message}`);
    this.#outbox.delete(key);
  }
}
