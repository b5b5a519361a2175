// What a page knows of a room, as plain values: no socket, no clock, no document.
//
// The timeline that is held here is always without a gap, from `low` to `position`. Everything below leans on that:
// each later event of a held message is held too, so that edits and reactions are folded from events alone.

/** What became of an event that was handed to `Timeline.apply`. */
export const Applied = Object.freeze({ NEW: "new", OLD: "old", GAP: "gap" });

/** Rows that a page keeps before it forgets the oldest; they can be paged in again. */
export const ROWS_MAX = 1000;

/** Unsent messages of one user in one room. */
export const OUTBOX_MAX = 100;

/** How long somebody counts as typing, in milliseconds. */
export const TYPING_MS = 5000;

/** The events of a room that are loaded, folded into rows. */
export class Timeline {
  #rows = new Map();
  #reactions = new Map();
  #changes = noChanges();

  constructor(me) {
    this.me = me;
    this.epoch = null;
    this.position = 0;
    this.low = 1;
    this.hasOlder = false;
  }

  /** Starts anew after `position`, which belongs to `epoch`; what is older is paged in. */
  restart(epoch, position) {
    this.#rows.clear();
    this.#reactions.clear();
    this.#changes = { ...noChanges(), restarted: true };
    this.epoch = epoch;
    this.position = position;
    this.low = position + 1;
    this.hasOlder = position > 0;
  }

  /** Where to go on after a lost connection; nothing before the first `restart`. */
  resume() {
    return this.epoch === null ? {} : { after: this.position, epoch: this.epoch };
  }

  /** Takes the next event of the stream, or one's own as `ownEvent` makes it of an ack. */
  apply(event) {
    if (event.seq <= this.position) return Applied.OLD;
    if (event.seq > this.position + 1) return Applied.GAP;
    this.position = event.seq;
    this.#fold(event);
    return Applied.NEW;
  }

  /** Takes a page that ends right below `low`. False, and nothing taken, where it does not fit. */
  prepend(page) {
    const { events, more } = page;
    const fits = events.every((event, index) => event.seq === this.low - events.length + index);
    if (!fits) return false;
    for (const event of events) this.#foldOld(event);
    this.low -= events.length;
    this.hasOlder = more;
    return true;
  }

  /** Forgets the oldest rows over `max`. */
  trim(max = ROWS_MAX) {
    const surplus = [...this.#rows.keys()].sort((a, b) => a - b).slice(0, Math.max(0, this.#rows.size - max));
    for (const seq of surplus) {
      this.#rows.delete(seq);
      this.#changes.changed.delete(seq);
      this.#changes.removed.push(seq);
      this.low = seq + 1;
      this.hasOlder = true;
    }
  }

  get size() {
    return this.#rows.size;
  }

  row(seq) {
    return this.#rows.get(seq);
  }

  /** The reactions under a message: `[{emoji, users, mine}]`, in order of the first that is still there. */
  reactions(seq) {
    if (this.#rows.get(seq)?.deleted) return [];
    const byEmoji = [...(this.#reactions.get(seq) ?? [])].map(([emoji, users]) => {
      const present = [...users].filter(([, last]) => last.on).sort(([, a], [, b]) => a.seq - b.seq);
      const names = present.map(([user]) => user);
      return { emoji, users: names, mine: names.includes(this.me), first: present[0]?.[1].seq };
    });
    const shown = byEmoji.filter((reaction) => reaction.users.length > 0).sort((a, b) => a.first - b.first);
    return shown.map(({ emoji, users, mine }) => ({ emoji, users, mine }));
  }

  /** The newest message of one's own that can be edited. */
  lastOwn() {
    let last = null;
    for (const row of this.#rows.values()) {
      const isOwn = row.type === "message" && row.from === this.me && !row.deleted;
      if (isOwn && (last === null || row.seq > last.seq)) last = row;
    }
    return last;
  }

  /** What changed since the last call: `{restarted, changed: [seq…] rising, removed: [seq…]}`. */
  takeChanges() {
    const { restarted, changed, removed } = this.#changes;
    this.#changes = noChanges();
    return { restarted, removed, changed: [...changed].sort((a, b) => a - b) };
  }

  #fold(event) {
    switch (event.type) {
      case "edited":
        return this.#edit(event);
      case "deleted":
        return this.#delete(event.target);
      case "reaction":
        return this.#react(event);
      default:
        return this.#add(event);
    }
  }

  // The messages of a page are as they now are, so its changes are in them already. Only who reacted is not.
  #foldOld(event) {
    if (event.type === "reaction") this.#react(event);
    else if (event.type !== "edited" && event.type !== "deleted") this.#add(event);
  }

  #add(event) {
    this.#rows.set(event.seq, rowOf(event));
    this.#changes.changed.add(event.seq);
  }

  #edit(event) {
    const row = this.#rows.get(event.target);
    if (!row || row.deleted || event.text === undefined) return;
    row.text = event.text;
    row.editedAt = event.at;
    this.#touch(event.target);
  }

  #delete(target) {
    this.#reactions.delete(target);
    const row = this.#rows.get(target);
    if (!row) return;
    Object.assign(row, { text: "", deleted: true });
    this.#touch(target);
  }

  // The last word of each user counts, whatever order the pages come in.
  #react({ target, emoji, from, remove, seq }) {
    const users = entry(entry(this.#reactions, target), emoji);
    if ((users.get(from)?.seq ?? 0) > seq) return;
    users.set(from, { seq, on: !remove });
    this.#touch(target);
  }

  #touch(seq) {
    if (this.#rows.has(seq)) this.#changes.changed.add(seq);
  }
}

/** The event that an ack stands for: the server does not send a connection's own events to it. */
export function ownEvent(command, ack, me) {
  const { type, room, ...fields } = command;
  const types = { send: "message", edit: "edited", delete: "deleted", react: "reaction" };
  return { type: types[type], room, seq: ack.seq, at: ack.at, from: me, ...fields };
}

/** Whether `event` is what `command`, sent by `me`, would have brought. */
export function isOutcome(event, command, me) {
  const own = ownEvent(command, event, me);
  return ["type", "from", "target", "emoji", "remove", "text"].every((field) => own[field] === event[field]);
}

function noChanges() {
  return { restarted: false, changed: new Set(), removed: [] };
}

function rowOf({ type, seq, at, from, ...rest }) {
  if (type !== "message") return { type, seq, at, from, ...rest };
  const { text, key, reply_to: replyTo, edited_at: editedAt, deleted } = rest;
  return { type, seq, at, from, text: text ?? "", key, replyTo, editedAt, deleted: deleted === true };
}

function entry(map, key) {
  if (!map.has(key)) map.set(key, new Map());
  return map.get(key);
}

/**
 * Messages that are written but not yet known to be kept. Each has a random key, under which it may be sent as often
 * as it takes; and each has an entry of its own in `storage`, so that two pages do not overwrite each other.
 */
export class Outbox {
  /** Another number after every change. */
  version = 0;
  #entries = new Map();
  #storage;
  #prefix;
  #newKey;

  constructor(storage, prefix, newKey = randomKey) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#newKey = newKey;
    for (const entry of stored(storage, prefix)) this.#entries.set(entry.key, entry);
  }

  get entries() {
    return [...this.#entries.values()];
  }

  get isFull() {
    return this.#entries.size >= OUTBOX_MAX;
  }

  has(key) {
    return this.#entries.has(key);
  }

  add(text, replyTo, now) {
    const entry = { key: this.#newKey(), text, replyTo, at: now, state: "pending" };
    this.#entries.set(entry.key, entry);
    this.#save(entry);
    return entry;
  }

  /** It is kept, and stands in the timeline or before what is loaded of it. */
  settle(key) {
    this.version += 1;
    this.#entries.delete(key);
    this.#storage.removeItem(this.#prefix + key);
  }

  /** It is kept; its event has yet to come. */
  sent(key) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    entry.state = "sent";
    this.version += 1;
  }

  /** It was refused for good. */
  fail(key, reason) {
    this.#update(key, { state: "failed", reason });
  }

  /** It is to be sent again. */
  retry(key) {
    this.#update(key, { state: "pending", reason: undefined });
  }

  #update(key, fields) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    Object.assign(entry, fields);
    this.#save(entry);
  }

  #save(entry) {
    this.version += 1;
    this.#storage.setItem(this.#prefix + entry.key, JSON.stringify(entry));
  }
}

function stored(storage, prefix) {
  const keys = Array.from({ length: storage.length }, (_, index) => storage.key(index));
  const texts = keys.filter((key) => key.startsWith(prefix)).map((key) => storage.getItem(key));
  return texts.map(parsed).filter(Boolean).sort((a, b) => a.at - b.at);
}

function parsed(text) {
  try {
    const entry = JSON.parse(text);
    const isWhole = typeof entry.key === "string" && typeof entry.text === "string";
    return isWhole ? { ...entry, state: entry.state === "failed" ? "failed" : "pending" } : null;
  } catch {
    return null;
  }
}

/** 128 random bits. */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Who is there, who is typing, who has read how far. */
export class People {
  online = new Set();
  count = 0;
  marks = new Map();
  #typing = new Map();

  joined({ online, online_count: count }) {
    this.online = new Set(online);
    this.count = count;
    this.#typing.clear();
  }

  presence({ user, state, online_count: count }) {
    if (user === undefined) {
      this.count = count;
      return;
    }
    const isChange = state === "online" ? !this.online.has(user) : this.online.has(user);
    if (state === "online") this.online.add(user);
    else this.online.delete(user);
    if (isChange) this.count += state === "online" ? 1 : -1;
    this.count = Math.max(this.count, this.online.size);
  }

  read({ user, seq }) {
    this.marks.set(user, Math.max(seq, this.marks.get(user) ?? 0));
  }

  typing({ user }, now) {
    this.#typing.set(user, now + TYPING_MS);
  }

  /** Whoever says something has done typing. */
  spoke(user) {
    this.#typing.delete(user);
  }

  typists(now) {
    return [...this.#typing].filter(([, until]) => until > now).map(([user]) => user);
  }

  readersOf(seq) {
    return [...this.marks].filter(([, mark]) => mark >= seq).map(([user]) => user);
  }
}
