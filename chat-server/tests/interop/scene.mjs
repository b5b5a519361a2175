// What a step works with: a client, a subprotocol, a server, and rooms of its own.

import { Server } from "../../web/tests/support/server.mjs";
import { Peer } from "./peer.mjs";
import { Wire } from "./wire.mjs";

let rooms = 0;

export class Scene {
  #peers = [];
  #servers = [];

  constructor({ driver, protocol, door, server, longRoom }) {
    Object.assign(this, { driver, protocol, door, server, longRoom });
  }

  /** A room in which nobody was. */
  async room({ server = this.server } = {}) {
    rooms += 1;
    const room = `room-${rooms}`;
    await this.door.furnish(server, room);
    return room;
  }

  /** A user who is to connect, over a wire of their own. */
  async newcomer(user, { server = this.server, ...options } = {}) {
    const wire = await Wire.open(new URL(server.url));
    const peer = new Peer(this.driver, this.door, wire, user, { protocols: [this.protocol], ...options });
    this.#peers.push(peer);
    return peer;
  }

  /** A user who is connected. */
  async peer(user, options) {
    const peer = await this.newcomer(user, options);
    return peer.connect();
  }

  /** Two users in a new room. */
  async two(options = {}) {
    const room = await this.room(options);
    const [ann, bob] = [await this.peer("ann", options), await this.peer("bob", options)];
    await ann.join(room);
    await bob.join(room);
    return { ann, bob, room };
  }

  /** A server that the step may end. */
  async ownServer() {
    const server = new Server({ flags: this.door.flags });
    this.#servers.push(server);
    await server.start();
    return server;
  }

  /** Runs a step, and ends the scene. */
  async play(run) {
    try {
      await run(this);
    } finally {
      await this.end();
    }
  }

  async end() {
    for (const peer of this.#peers) {
      await peer.wire.close();
      await peer.socket?.dispose?.();
    }
    for (const server of this.#servers) await server.dispose();
  }
}
