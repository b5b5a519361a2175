// Follows a room in a page of the server's origin. `show(seq, user, text)` puts a message into the page as text.

import { Room } from "./room.mjs";

export function follow(user, name, show) {
  const url = new URL(`/ws?user=${user}`, location.href.replace(/^http/, "ws"));
  return new Room({ connect: () => new WebSocket(url, ["chat.v1.batch"]), name, show });
}
