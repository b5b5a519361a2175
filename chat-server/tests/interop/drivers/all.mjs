// All clients. What one cannot do is left out for it, and here is why.

import { Chromium } from "./chromium.mjs";
import { Python } from "./python.mjs";
import { Undici } from "./undici.mjs";
import { Ws } from "./ws.mjs";

// A WebSocket of the browsers' kind (undici, Chromium) cuts no message into fragments, and in a page it sends no pings.
// aiohttp sets the final bit of every frame.
export const DRIVERS = [
  new Python("websockets", { ping: true, fragment: true }),
  new Python("aiohttp", { ping: true, fragment: false }),
  new Ws(),
  new Undici(),
  new Chromium(),
];
