// Follows a room with `undici`: node follow_undici.mjs 'ws://127.0.0.1:8080/ws?user=ann' lobby

import { createInterface } from "node:readline";

import { WebSocket } from "undici"; // node 22 and newer have the same without an import

import { Room } from "./room.mjs";

const [url, name] = process.argv.slice(2);
const room = new Room({
  connect: () => new WebSocket(url, ["chat.v1.batch"]),
  name,
  token: process.env.CHAT_TOKEN, // for a server that asks for one
  show: (seq, user, text) => console.log(seq, `${user}:`, text),
});
createInterface({ input: process.stdin }).on("line", (line) => room.say(line));
