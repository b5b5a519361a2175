// A room as one user has it, on whatever connection there is. No document here: a view is told.

import { Connection, commands } from "./connection.js";
import { Applied, Outbox, People, Timeline, isOutcome, ownEvent } from "./timeline.js";

/** Errors after which another command may work when sent again. */
const PASSING_ERRORS = new Set(["unavailable", "overloaded", "rate_limited", "not_joined"]);

/** Events of one page of history. */
const PAGE_EVENTS = 50;
/** A read mark, and word of one's typing, go out at most this often. */
const READ_PAUSE_MS = 1000;
const TYPING_PAUSE_MS = 3000;
/** After a message it may go out this soon again: the server passes on one a second. */
const TYPING_AGAIN_MS = 1000;
/** The wait before a command is tried again, where the server names none. */
const RETRY_MS = 1000;

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

  /** `reason` is for the reader, where there is one to give. */
  close(reason) {
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#readTimer);
    this.connection.stop(reason);
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
