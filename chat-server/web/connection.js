// The way to the server: one socket at a time, opened again whenever it is lost, joined where the page left off.

/** Subprotocols in order of liking. Under the first a frame is an array of objects. */
const SUBPROTOCOLS = ["chat.v1.batch", "chat.v1"];

/** Close codes after which coming back is of no use. */
const FINAL_CLOSES = new Map([[4003, "You are banned from this server."]]);

const CLOSE_DRAIN = 1001;
/** What was shown when the socket was opened does not hold. What would be shown now may. */
const CLOSE_UNAUTHENTICATED = 4001;
const CLOSE_FLOODING = 4029;

/** Errors to a join that pass; all others are final. */
const PASSING_JOIN_ERRORS = new Set(["unavailable", "overloaded", "rate_limited", "internal"]);

/** Why it ends where nobody is signed in any longer, or somebody else is. */
export const SIGNED_OUT = "You are not signed in, or no longer.";

const LEFT_REASONS = {
  removed: "You are no longer a member of this room.",
  banned: "You are banned from this room.",
  closed: "This room was deleted.",
};

const BACKOFF_BASE_MS = 1000;
const BACKOFF_CAP_MS = 30_000;
/** After a drain everybody comes back at once: spread over this long. */
const DRAIN_SPREAD_MS = 5000;
/** The least wait of one who was closed for flooding. */
const FLOODING_WAIT_MS = 5000;
/** A connection that lived this long forgives the failures before it. */
const SETTLED_MS = 10_000;
/** A quiet connection is asked whether it lives, and has this long to answer. */
const PING_MS = 20_000;
const PONG_MS = 10_000;
/** A socket has this long to open and say welcome, and as long has the answer before it to come. */
const OPEN_MS = 15_000;

/** The commands, with their fields in the order of the documentation. */
export const commands = {
  auth: (token) => ({ type: "auth", token }),
  join: (room, resume = {}) => ({ type: "join", room, ...resume }),
  leave: (room) => ({ type: "leave", room }),
  send: (room, key, text, replyTo) => ({
    type: "send",
    room,
    key,
    text,
    ...(replyTo === undefined ? {} : { reply_to: replyTo }),
  }),
  edit: (room, target, text) => ({ type: "edit", room, target, text }),
  delete: (room, target) => ({ type: "delete", room, target }),
  react: (room, target, emoji, remove) => ({ type: "react", room, target, emoji, remove }),
  read: (room, seq) => ({ type: "read", room, seq }),
  typing: (room) => ({ type: "typing", room }),
  historyBefore: (room, before, limit) => ({ type: "history", room, before, limit }),
  ping: () => ({ type: "ping" }),
};

/** The frame of a command; one without `id` gets no reply. */
export function encode({ type, ...fields }, id) {
  return JSON.stringify({ type, ...(id === undefined ? {} : { id }), ...fields });
}

/** The objects of a frame. */
export function decode(text) {
  const value = JSON.parse(text);
  return Array.isArray(value) ? value : [value];
}

/** Exponential back-off with full jitter: a random wait below a ceiling that doubles up to a cap. */
export class Backoff {
  #failures = 0;
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** The wait before the next try, in milliseconds. */
  next(closeCode) {
    if (closeCode === CLOSE_DRAIN) return this.#random() * DRAIN_SPREAD_MS;
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    const floor = closeCode === CLOSE_FLOODING ? FLOODING_WAIT_MS : 0;
    return floor + this.#random() * ceiling;
  }

  reset() {
    this.#failures = 0;
  }
}

/**
 * Keeps one room joined over however many sockets it takes.
 *
 * `token`, where there is one, is the first thing that each socket says. `resume()` says where to go on. `on` has
 * `state({name, …})`, `welcome(frame)`, `joined(frame)` and `frame(frame)`, the last for all that is no reply. A reply
 * goes to the callback of its command, in its place among the other frames; where the connection ends first, that
 * callback gets `{type: "lost"}`.
 *
 * A browser tells nobody why a socket did not open. So after one that was never welcomed, as after one that the end of
 * a token closed, `access()` is asked before the next: true where whoever is here may come in as before, false where
 * not, which ends it all, and null where there is no answer.
 */
export class Connection {
  #url;
  #token;
  #access;
  #room;
  #resume;
  #on;
  #backoff;
  #Socket;
  #socket = null;
  #question = null;
  #replies = new Map();
  #nextId = 1;
  #isWelcome = false;
  #isJoined = false;
  #isDoubted = false;
  #isStopped = false;
  #retryAfterMs = 0;
  #timers = {};

  constructor({ url, token, access, room, resume, on, random = Math.random, Socket = globalThis.WebSocket }) {
    this.#url = url;
    this.#token = token;
    this.#access = access;
    this.#room = room;
    this.#resume = resume;
    this.#on = on;
    this.#backoff = new Backoff(random);
    this.#Socket = Socket;
  }

  /** Opens a socket now; one that waits for its time waits no longer. */
  connect() {
    if (this.#socket || this.#question || this.#isStopped) return;
    this.#clearTimers();
    this.#on.state({ name: "connecting" });
    this.#isWelcome = false;
    if (this.#isDoubted) this.#ask();
    else this.#open();
  }

  async #ask() {
    const question = Symbol("access");
    this.#question = question;
    this.#timers.life = setTimeout(() => this.#drop(0), OPEN_MS);
    const mayEnter = await this.#access();
    // It may have taken too long, or all may be over.
    if (question !== this.#question) return;
    if (mayEnter === null) return this.#closed(0);
    if (!mayEnter) return this.stop(SIGNED_OUT);
    this.#question = null;
    this.#open();
  }

  #open() {
    clearTimeout(this.#timers.life);
    this.#timers.life = setTimeout(() => this.#drop(0), OPEN_MS);
    const socket = new this.#Socket(this.#url, SUBPROTOCOLS);
    this.#socket = socket;
    socket.onopen = () => {
      if (this.#token !== undefined) this.tell(commands.auth(this.#token));
    };
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code }) => this.#closed(code);
  }

  /** Whether commands about the room can be sent. */
  get isJoined() {
    return this.#isJoined;
  }

  /** Sends a command whose reply matters. False where it could not even be sent. */
  request(command, onReply) {
    if (this.#socket?.readyState !== this.#Socket.OPEN) return false;
    const id = this.#nextId++;
    this.#replies.set(id, onReply);
    this.#socket.send(encode(command, id));
    return true;
  }

  /** Sends a command that has no reply. */
  tell(command) {
    if (this.#socket?.readyState === this.#Socket.OPEN) this.#socket.send(encode(command));
  }

  /** Drops a socket whose stream cannot be right, and joins anew from the last good position. */
  resync() {
    this.#drop(0);
  }

  /** Ends it for good; `reason` is for the reader, where there is one to give. */
  stop(reason) {
    this.#isStopped = true;
    this.#release();
    this.#on.state({ name: "stopped", reason });
  }

  #receive(socket, data) {
    this.#expectLife();
    for (const frame of decode(data)) {
      // A frame before this one may have ended it all.
      if (socket !== this.#socket) return;
      this.#dispatch(frame);
    }
  }

  #dispatch(frame) {
    const onReply = frame.id === undefined ? undefined : this.#replies.get(frame.id);
    if (onReply) {
      this.#replies.delete(frame.id);
      onReply(frame);
    } else if (frame.type === "welcome") {
      this.#isWelcome = true;
      this.#on.welcome(frame);
      this.request(commands.join(this.#room, this.#resume()), (reply) => this.#joined(reply));
    } else if (frame.type === "left" && frame.room === this.#room) {
      this.stop(LEFT_REASONS[frame.reason] ?? "You have left this room.");
    } else {
      this.#on.frame(frame);
    }
  }

  #joined(reply) {
    if (reply.type === "joined") {
      this.#isJoined = true;
      this.#timers.settled = setTimeout(() => this.#backoff.reset(), SETTLED_MS);
      this.#on.joined(reply);
      if (this.#isJoined) this.#on.state({ name: "joined" });
    } else if (reply.type === "error") {
      if (!PASSING_JOIN_ERRORS.has(reply.code)) return this.stop(`The room cannot be joined: ${reply.message}.`);
      this.#retryAfterMs = reply.retry_after_ms ?? 0;
      this.#drop(0);
    }
  }

  // Anything heard is a sign of life; after a silence it is asked for.
  #expectLife() {
    clearTimeout(this.#timers.life);
    this.#timers.life = setTimeout(() => {
      this.request(commands.ping(), () => {});
      this.#timers.life = setTimeout(() => this.#drop(0), PONG_MS);
    }, PING_MS);
  }

  #drop(code) {
    const socket = this.#socket;
    this.#closed(code);
    socket?.close();
  }

  #closed(code) {
    this.#release();
    if (FINAL_CLOSES.has(code)) return this.stop(FINAL_CLOSES.get(code));
    this.#isDoubted = code === CLOSE_UNAUTHENTICATED || !this.#isWelcome;
    const waitMs = Math.max(this.#retryAfterMs, this.#backoff.next(code));
    this.#retryAfterMs = 0;
    this.#timers.retry = setTimeout(() => this.connect(), waitMs);
    this.#on.state({ name: "waiting", waitMs });
  }

  // The close handshake of a dead socket can take minutes: what it still says is no longer listened to.
  #release() {
    this.#clearTimers();
    const socket = this.#socket;
    this.#socket = null;
    this.#question = null;
    this.#isJoined = false;
    if (socket) {
      socket.onopen = null;
      socket.onmessage = null;
      socket.onclose = null;
      if (this.#isStopped) socket.close();
    }
    const callbacks = [...this.#replies.values()];
    this.#replies.clear();
    for (const onReply of callbacks) onReply({ type: "lost" });
  }

  #clearTimers() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
  }
}
