// Follows a room in a page of the server's origin. `show(seq, user, text)` puts a message into the page as text. Where the
// site has set the cookie `chat_session`, no `token` is needed; only a server that believes everybody reads the `user`.

import { Room } from "./room.mjs";

export function follow({ user, token, name, show }) {
  const url = new URL(user ? `/ws?user=${user}` : "/ws", location.href.replace(/^http/, "ws"));
  return new Room({ connect: () => new WebSocket(url, ["chat.v1.batch"]), name, token, show });
}
