import assert from "node:assert/strict";
import { test } from "node:test";

import { Applied, OUTBOX_MAX, Outbox, Timeline, isOutcome, ownEvent } from "../../timeline.js";

const message = (seq, from = "ann", text = `text ${seq}`) => ({ type: "message", room: "r", seq, at: seq, from, text });
const reaction = (seq, target, from, remove = false) => ({ type: "reaction", room: "r", seq, at: seq, from, target, emoji: "👍", remove });
const edited = (seq, target, text) => ({ type: "edited", room: "r", seq, at: seq, from: "ann", target, text });

function timelineAt(position) {
  const timeline = new Timeline("ann");
  timeline.restart("e1", position);
  timeline.takeChanges();
  return timeline;
}

test("the stream is taken in order, once, and a gap is noticed", () => {
  const timeline = timelineAt(10);
  const seqs = [11, 12, 12, 11, 14, 13, 14];
  const applied = seqs.map((seq) => timeline.apply(message(seq)));
  const { NEW, OLD, GAP } = Applied;
  assert.deepEqual(applied, [NEW, NEW, OLD, OLD, GAP, NEW, NEW]);
  assert.equal(timeline.position, 14);
  assert.deepEqual(timeline.takeChanges().changed, [11, 12, 13, 14]);
});

test("there is nothing to resume before the first join, and the position after it", () => {
  assert.deepEqual(new Timeline("ann").resume(), {});
  const timeline = timelineAt(10);
  timeline.apply(message(11));
  assert.deepEqual(timeline.resume(), { after: 11, epoch: "e1" });
});

test("an own ack stands at its event's place", () => {
  const timeline = timelineAt(10);
  const command = { type: "send", room: "r", key: "k", text: "mine", reply_to: 9 };
  assert.equal(timeline.apply(ownEvent(command, { seq: 11, at: 5 }, "ann")), Applied.NEW);
  const { text, replyTo, from, at } = timeline.row(11);
  assert.deepEqual([text, replyTo, from, at], ["mine", 9, "ann", 5]);
  assert.equal(timeline.apply(message(12)), Applied.NEW);
});

test("pages go below what is held, and only there", () => {
  const timeline = timelineAt(10);
  assert.equal(timeline.prepend({ events: [message(7), message(8)], more: true }), false);
  assert.equal(timeline.prepend({ events: [message(9), message(10)], more: true }), true);
  assert.deepEqual([timeline.low, timeline.hasOlder, timeline.size], [9, true, 2]);
  timeline.prepend({ events: [message(8)], more: false });
  assert.deepEqual([timeline.low, timeline.hasOlder], [8, false]);
  timeline.prepend({ events: [], more: false });
  assert.equal(timeline.low, 8);
});

test("reactions are counted once, in whatever order pages and events come", () => {
  const timeline = timelineAt(5);
  timeline.apply(reaction(6, 2, "bob", true));
  timeline.apply(reaction(7, 2, "cy"));
  // The page already counts cy; the events alone are believed.
  const counted = { ...message(2), reactions: { "👍": { count: 1, me: false } } };
  timeline.prepend({ events: [counted, reaction(3, 2, "bob"), reaction(4, 2, "dee"), message(5)], more: true });
  const [{ users, mine }] = timeline.reactions(2);
  assert.deepEqual([users, mine], [["dee", "cy"], false]);
  timeline.apply(reaction(8, 2, "ann"));
  assert.equal(timeline.reactions(2)[0].mine, true);
});

test("an edit in a page does not bring back the former text", () => {
  const timeline = timelineAt(4);
  const today = { ...message(1), text: "third", edited_at: 3 };
  timeline.prepend({ events: [today, edited(2, 1, "second"), edited(3, 1, "third"), message(4)], more: false });
  assert.equal(timeline.row(1).text, "third");
  timeline.apply(edited(5, 1, "fourth"));
  assert.deepEqual([timeline.row(1).text, timeline.row(1).editedAt], ["fourth", 5]);
});

test("a deleted message stays deleted", () => {
  const timeline = timelineAt(0);
  // A replay shows it as it now is, and then how it came to that.
  timeline.apply({ ...message(1), text: undefined, deleted: true });
  timeline.apply({ type: "edited", seq: 2, at: 2, from: "ann", target: 1, deleted: true });
  timeline.apply(reaction(3, 1, "bob"));
  timeline.apply({ type: "deleted", seq: 4, at: 4, from: "ann", target: 1 });
  timeline.apply(edited(5, 1, "back"));
  assert.deepEqual([timeline.row(1).deleted, timeline.row(1).text], [true, ""]);
  assert.deepEqual(timeline.reactions(1), []);
});

test("a restart forgets all but who one is", () => {
  const timeline = timelineAt(1);
  timeline.apply(message(2));
  timeline.restart("e2", 40);
  assert.deepEqual(timeline.takeChanges(), { restarted: true, changed: [], removed: [] });
  assert.deepEqual([timeline.size, timeline.low, timeline.position, timeline.epoch], [0, 41, 40, "e2"]);
});

test("the oldest rows are forgotten over the bound, and can be paged in again", () => {
  const timeline = timelineAt(0);
  for (let seq = 1; seq <= 10; seq += 1) timeline.apply(message(seq));
  timeline.apply(reaction(11, 2, "bob"));
  timeline.takeChanges();
  timeline.trim(4);
  assert.deepEqual(timeline.takeChanges().removed, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual([timeline.low, timeline.hasOlder, timeline.position], [7, true, 11]);
  timeline.prepend({ events: [1, 2, 3, 4, 5, 6].map((seq) => message(seq)), more: false });
  assert.deepEqual(timeline.reactions(2)[0].users, ["bob"]);
});

test("the last own message is the newest that is not deleted", () => {
  const timeline = timelineAt(0);
  assert.equal(timeline.lastOwn(), null);
  for (const event of [message(1), message(2), message(3, "bob")]) timeline.apply(event);
  assert.equal(timeline.lastOwn().seq, 2);
  timeline.apply({ type: "deleted", seq: 4, at: 4, from: "ann", target: 2 });
  assert.equal(timeline.lastOwn().seq, 1);
});

test("an event is known as the outcome of a command", () => {
  const command = { type: "react", room: "r", target: 2, emoji: "👍", remove: false };
  assert.equal(isOutcome(reaction(3, 2, "ann"), command, "ann"), true);
  assert.equal(isOutcome(reaction(3, 2, "bob"), command, "ann"), false);
  assert.equal(isOutcome(reaction(3, 2, "ann", true), command, "ann"), false);
  assert.equal(isOutcome(edited(3, 2, "x"), { type: "edit", room: "r", target: 2, text: "x" }, "ann"), true);
});

/** Storage as a browser has it. */
class FakeStorage {
  items = new Map();
  get length() {
    return this.items.size;
  }
  key = (index) => [...this.items.keys()][index];
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => this.items.set(key, value);
  removeItem = (key) => this.items.delete(key);
}

test("what is unsent survives a reload, in order, and nothing else is touched", () => {
  const storage = new FakeStorage();
  storage.setItem("p.broken", "{");
  storage.setItem("other", "{}");
  const outbox = new Outbox(storage, "p.");
  const [first, second, third] = ["one", "two", "three"].map((text, index) => outbox.add(text, undefined, index));
  outbox.settle(second.key);
  outbox.fail(third.key, "no");
  const again = new Outbox(storage, "p.");
  const entries = again.entries.map(({ key, text, state }) => [key, text, state]);
  assert.deepEqual(entries, [[first.key, "one", "pending"], [third.key, "three", "failed"]]);
  again.retry(third.key);
  assert.equal(new Outbox(storage, "p.").entries[1].state, "pending");
  assert.equal(storage.getItem("other"), "{}");
});

test("keys are random and the outbox has an end", () => {
  const outbox = new Outbox(new FakeStorage(), "p.");
  const keys = new Set();
  for (let n = 0; n < OUTBOX_MAX; n += 1) keys.add(outbox.add("x", undefined, n).key);
  assert.equal(keys.size, OUTBOX_MAX);
  assert.match([...keys][0], /^[0-9a-f]{32}$/);
  assert.equal(outbox.isFull, true);
});
