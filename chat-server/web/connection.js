// The way to the server: one socket at a time, opened again whenever it is lost, joined where the page left off; and
// the room that lives on it. No document here: a view is told.

import { Applied, Outbox, People, Timeline, isOutcome, ownEvent } from "./timeline.js";

/** Subprotocols in order of liking. Under the first a frame is an array of objects. */
const SUBPROTOCOLS = ["chat.v1.batch", "chat.v1"];

/** Close codes after which coming back is of no use. */
const FINAL_CLOSES = new Map([
  [4001, "You are not signed in, or no longer."],
  [4003, "You are banned from this server."],
]);

const CLOSE_DRAIN = 1001;
const CLOSE_FLOODING = 4029;

/** Errors to a join that pass; all others are final. */
const PASSING_JOIN_ERRORS = new Set(["unavailable", "overloaded", "rate_limited", "internal"]);

/** Errors after which another command may work when sent again. */
const PASSING_ERRORS = new Set(["unavailable", "overloaded", "rate_limited", "not_joined"]);

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
/** A socket has this long to open and say welcome. */
const OPEN_MS = 15_000;

/** Events of one page of history. */
const PAGE_EVENTS = 50;
/** A read mark, and word of one's typing, go out at most this often. */
const READ_PAUSE_MS = 1000;
const TYPING_PAUSE_MS = 3000;
/** After a message it may go out this soon again: the server passes on one a second. */
const TYPING_AGAIN_MS = 1000;
/** The wait before a command is tried again, where the server names none. */
const RETRY_MS = 1000;

/** The commands, with their fields in the order of the documentation. */
export const commands = {
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
 * `resume()` says where to go on. `on` has `state({name, …})`, `welcome(frame)`, `joined(frame)` and `frame(frame)`,
 * the last for all that is no reply. A reply goes to the callback of its command, in its place among the other frames;
 * where the connection ends first, that callback gets `{type: "lost"}`.
 */
export class Connection {
  #url;
  #room;
  #resume;
  #on;
  #backoff;
  #Socket;
  #socket = null;
  #replies = new Map();
  #nextId = 1;
  #isJoined = false;
  #isStopped = false;
  #retryAfterMs = 0;
  #timers = {};

  constructor({ url, room, resume, on, random = Math.random, Socket = globalThis.WebSocket }) {
    this.#url = url;
    this.#room = room;
    this.#resume = resume;
    this.#on = on;
    this.#backoff = new Backoff(random);
    this.#Socket = Socket;
  }

  /** Opens a socket now; one that waits for its time waits no longer. */
  connect() {
    if (this.#socket || this.#isStopped) return;
    this.#clearTimers();
    this.#on.state({ name: "connecting" });
    const socket = new this.#Socket(this.#url, SUBPROTOCOLS);
    this.#socket = socket;
    this.#timers.life = setTimeout(() => this.#drop(0), OPEN_MS);
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
    this.#isJoined = false;
    if (socket) {
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

/**
 * One user in one room: hears the connection, keeps the timeline and what is unsent, tells the view.
 *
 * `view` has `state`, `people`, `typing(users)`, `note(text)`, `heard()` for each message of another, and `refresh()`
 * for whatever else may be new.
 */
export class Room {
  #people = new People();
  #changes = new Set();
  #inFlight = new Set();
  #limits = { text_bytes: 4096 };
  #role = "member";
  #catchUpTo = 0;
  #isPaging = false;
  #pausedUntil = 0;
  #readSent = 0;
  #readTimer = null;
  #typingSentAt = 0;
  #timers = new Set();

  constructor({ me, name, storage, view, ...wiring }) {
    this.me = me;
    this.name = name;
    this.view = view;
    this.timeline = new Timeline(me);
    this.outbox = new Outbox(storage, `chat.outbox.${me}@${name}.`);
    const on = {
      state: (state) => view.state(state),
      welcome: (frame) => (this.#limits = frame.limits),
      joined: (frame) => this.#joined(frame),
      frame: (frame) => this.#frame(frame),
    };
    this.connection = new Connection({ ...wiring, room: name, resume: () => this.timeline.resume(), on });
  }

  open() {
    this.view.refresh();
    this.connection.connect();
    this.#every(1000, () => this.view.typing(this.#people.typists(Date.now())));
  }

  close() {
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#readTimer);
    this.connection.stop();
  }

  /** Whether this user may delete what others wrote. */
  get isManager() {
    return this.#role === "manager" || this.#role === "admin";
  }

  /** Null where `text` can be sent, otherwise why not. */
  problemWith(text) {
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > this.#limits.text_bytes) return `Too long by ${bytes - this.#limits.text_bytes} bytes.`;
    return this.outbox.isFull ? "Too many messages wait to be sent." : null;
  }

  send(text, replyTo) {
    const now = Date.now();
    this.outbox.add(text, replyTo, now);
    this.#typingSentAt = now - TYPING_PAUSE_MS + TYPING_AGAIN_MS;
    this.#flush();
  }

  retry(key) {
    this.outbox.retry(key);
    this.#flush();
  }

  discard(key) {
    this.outbox.settle(key);
    this.view.refresh();
  }

  edit(target, text) {
    this.#change(commands.edit(this.name, target, text));
  }

  delete(target) {
    this.#change(commands.delete(this.name, target));
  }

  react(target, emoji, remove) {
    this.#change(commands.react(this.name, target, emoji, remove));
  }

  typing(now) {
    if (now - this.#typingSentAt < TYPING_PAUSE_MS || !this.connection.isJoined) return;
    this.#typingSentAt = now;
    this.connection.tell(commands.typing(this.name));
  }

  /** Marks all as read, at most once a second. */
  markRead() {
    if (this.#readTimer !== null || this.timeline.position <= this.#readSent || !this.connection.isJoined) return;
    this.#readSent = this.timeline.position;
    this.connection.request(commands.read(this.name, this.#readSent), () => {});
    this.#readTimer = setTimeout(() => {
      this.#readTimer = null;
      this.view.refresh();
    }, READ_PAUSE_MS);
  }

  /** Loads the page before the oldest that is held. */
  loadOlder() {
    if (this.#isPaging || !this.timeline.hasOlder || !this.connection.isJoined) return;
    const before = this.timeline.low;
    const command = commands.historyBefore(this.name, before, PAGE_EVENTS);
    this.#isPaging = this.connection.request(command, (reply) => this.#page(reply, before));
  }

  #page(reply, before) {
    this.#isPaging = false;
    if (reply.type === "history" && before === this.timeline.low) {
      this.timeline.prepend(reply);
      this.view.refresh();
    } else if (reply.type === "error") {
      this.#later(reply.retry_after_ms ?? RETRY_MS, () => this.loadOlder());
    }
  }

  #joined(joined) {
    this.#role = joined.role;
    this.#people.joined(joined);
    this.#catchUpTo = joined.last_seq;
    this.#readSent = 0;
    if (joined.reset || this.timeline.epoch === null) {
      this.timeline.restart(joined.epoch, joined.last_seq);
      this.loadOlder();
    }
    this.#pausedUntil = 0;
    this.#flush();
    this.view.people(this.#people);
  }

  #frame(frame) {
    if (frame.room !== this.name) return this.#stray(frame);
    switch (frame.type) {
      case "typing":
        this.#people.typing(frame, Date.now());
        return this.view.typing(this.#people.typists(Date.now()));
      case "presence":
        this.#people.presence(frame);
        return this.view.people(this.#people);
      case "read":
        this.#people.read(frame);
        return this.view.refresh();
      default:
        if (frame.seq !== undefined) this.#event(frame);
    }
  }

  // An error without a room belongs to no command of ours; anything else is of a newer server.
  #stray(frame) {
    if (frame.type === "error") this.view.note(`The server says: ${frame.message}.`);
  }

  #event(event) {
    const applied = this.timeline.apply(event);
    if (applied === Applied.GAP) return this.connection.resync();
    if (applied === Applied.OLD) return;
    this.#people.spoke(event.from);
    this.view.typing(this.#people.typists(Date.now()));
    if (event.from === this.me) this.#settle(event);
    else if (event.type === "message") this.view.heard();
    if (event.type === "member" && event.user === this.me && event.change === "role") this.#role = event.role;
    this.view.refresh();
    // What was waiting for the end of the catch-up goes out now.
    if (event.seq === this.#catchUpTo) this.#flush();
  }

  // An event of one's own that came as an event: whatever brought it need not be sent again.
  #settle(event) {
    if (event.key !== undefined && this.outbox.has(event.key)) this.outbox.settle(event.key);
    for (const command of this.#changes) {
      if (isOutcome(event, command, this.me)) this.#changes.delete(command);
    }
  }

  /** Who has read the newest message of one's own. */
  get seenBy() {
    const last = this.timeline.lastOwn();
    return last === null ? [] : this.#people.readersOf(last.seq).filter((user) => user !== this.me);
  }

  // Sends what waits. Until the timeline has caught up, some of it may turn out to be kept already.
  #flush() {
    this.view.refresh();
    const isReady = this.connection.isJoined && this.timeline.position >= this.#catchUpTo;
    if (!isReady || Date.now() < this.#pausedUntil) return;
    for (const entry of this.outbox.entries) {
      if (entry.state === "pending" && !this.#inFlight.has(entry.key)) this.#dispatchEntry(entry);
    }
    for (const command of this.#changes) {
      if (!this.#inFlight.has(command)) this.#dispatch(command, command, (reply) => this.#changed(command, reply));
    }
  }

  #dispatchEntry(entry) {
    const command = commands.send(this.name, entry.key, entry.text, entry.replyTo);
    this.#dispatch(entry.key, command, (reply) => this.#entrySent(entry.key, command, reply));
  }

  // `token` stands for the command as long as its reply is awaited.
  #dispatch(token, command, onOutcome) {
    const isSent = this.connection.request(command, (reply) => {
      this.#inFlight.delete(token);
      if (reply.type === "error" && PASSING_ERRORS.has(reply.code)) this.#pause(reply.retry_after_ms ?? RETRY_MS);
      else if (reply.type !== "lost") onOutcome(reply);
    });
    if (isSent) this.#inFlight.add(token);
  }

  #pause(ms) {
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + ms);
    this.#later(ms, () => this.#flush());
  }

  #entrySent(key, command, reply) {
    if (reply.type === "error") {
      this.outbox.fail(key, reply.message);
      return this.view.refresh();
    }
    if (reply.seq > this.timeline.position + (reply.duplicate ? 0 : 1)) this.outbox.sent(key);
    else this.outbox.settle(key);
    this.#acked(command, reply);
  }

  #change(command) {
    this.#changes.add(command);
    this.#flush();
  }

  #changed(command, reply) {
    this.#changes.delete(command);
    if (reply.type === "ack") return this.#acked(command, reply);
    const isGone = command.type === "delete" && reply.code === "not_found";
    if (!isGone) this.view.note(`That did not work: ${reply.message}.`);
  }

  // An ack that is no duplicate stands for the event, at the event's place.
  #acked(command, ack) {
    if (ack.duplicate) return this.view.refresh();
    const event = ownEvent(command, ack, this.me);
    if (this.timeline.apply(event) === Applied.GAP) return this.connection.resync();
    this.view.refresh();
    if (event.seq === this.#catchUpTo) this.#flush();
  }

  #later(ms, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, ms);
    this.#timers.add(timer);
  }

  #every(ms, action) {
    this.#timers.add(setInterval(action, ms));
  }
}
