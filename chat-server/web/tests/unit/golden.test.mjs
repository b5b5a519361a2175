// The golden frames, seen from the web app: what it says is what the files say, and what they say it understands.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { commands, decode, encode } from "../../connection.js";
import { Applied, People, Timeline } from "../../timeline.js";

const folder = new URL("../../../../golden/", import.meta.url);
const text = (direction, name) => readFileSync(new URL(`${direction}/${name}.json`, folder), "utf8");
const names = (direction) => readdirSync(new URL(`${direction}/`, folder)).map((file) => file.replace(/\.json$/, ""));
const frame = (name) => decode(text("server", name))[0];

const EPOCH = "5f0c8c1f9d1e4b7aa3c2d4e5f6a7b8c9";
const hello = "hi <b>there</b> 👋";

test("what the web app says is what the files say", () => {
  const said = {
    auth: [commands.auth("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"), undefined],
    join: [commands.join("lobby"), 1],
    join_resume: [commands.join("lobby", { after: 17, epoch: EPOCH }), 1],
    leave: [commands.leave("lobby"), 2],
    send: [commands.send("lobby", "k1", "hi"), 3],
    edit: [commands.edit("lobby", 21, "hi!"), 4],
    delete: [commands.delete("lobby", 21), 5],
    react: [commands.react("lobby", 21, "👍", false), 6],
    react_remove: [commands.react("lobby", 21, "👍", true), 6],
    read: [commands.read("lobby", 21), 7],
    typing: [commands.typing("lobby"), undefined],
    history_before: [commands.historyBefore("lobby", 21, 50), 8],
    ping: [commands.ping(), 10],
  };
  for (const [name, [command, id]] of Object.entries(said)) assert.equal(encode(command, id), text("client", name));
  // The app has no use for these.
  const unsaid = ["history", "history_after", "send_full"];
  assert.deepEqual(names("client").sort(), [...Object.keys(said), ...unsaid].sort());
});

test("every event of the files has its place in a timeline", () => {
  const events = names("server").map(frame).filter((value) => value.seq !== undefined && value.from !== undefined);
  assert.ok(events.length >= 12);
  for (const event of events) {
    const timeline = new Timeline("ann");
    timeline.restart(EPOCH, event.seq - 1);
    assert.equal(timeline.apply(event), Applied.NEW, event.type);
    assert.equal(timeline.position, event.seq);
  }
});

test("messages are shown as they came", () => {
  const row = (name) => {
    const timeline = new Timeline("ann");
    timeline.restart(EPOCH, frame(name).seq - 1);
    timeline.apply(frame(name));
    return timeline.row(frame(name).seq);
  };
  assert.deepEqual([row("message_full").text, row("message_full").replyTo], [hello, 5]);
  assert.equal(row("message_today").editedAt, 1764000000000);
  assert.deepEqual([row("message_deleted").deleted, row("message_deleted").text], [true, ""]);
});

test("changes of the files change a message", () => {
  const timeline = new Timeline("ann");
  timeline.restart(EPOCH, 20);
  const steps = ["message_full", "edited", "reaction", "reaction_removed", "deleted"];
  const seen = steps.map((name, index) => {
    timeline.apply({ ...frame(name), seq: 21 + index });
    return [timeline.row(21).text, timeline.reactions(21).map(({ emoji, users }) => [emoji, users])];
  });
  assert.deepEqual(seen, [[hello, []], ["hi!", []], ["hi!", [["👍", ["ann"]]]], ["hi!", []], ["", []]]);
});

test("who is there follows the files", () => {
  const people = new People();
  people.joined(frame("joined"));
  assert.deepEqual([[...people.online], people.count], [["ann", "bob"], 2]);
  people.presence(frame("presence_offline"));
  assert.deepEqual([[...people.online], people.count], [["ann"], 1]);
  people.presence(frame("presence_online"));
  people.presence(frame("presence_count"));
  assert.equal(people.count, 250);
  people.typing(frame("typing"), 1000);
  assert.deepEqual([people.typists(5999), people.typists(6000)], [["bob"], []]);
  people.read(frame("read"));
  assert.deepEqual([people.readersOf(21), people.readersOf(22)], [["bob"], []]);
});
