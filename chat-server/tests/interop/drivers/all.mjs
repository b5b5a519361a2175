// All clients. What one cannot do is left out for it, and here is why.

import { Chromium } from "./chromium.mjs";
import { Python } from "./python.mjs";
import { Undici } from "./undici.mjs";
import { Ws } from "./ws.mjs";

// A WebSocket of the browsers' kind (undici, Chromium) cuts no message into fragments, and in a page it sends no pings.
// aiohttp sets the final bit of every frame. A page sets no headers; its browser sends the cookie and the page's origin.
export const drivers = () => [
  new Python("websockets", { headers: true, ping: true, fragment: true }),
  new Python("aiohttp", { headers: true, ping: true, fragment: false }),
  new Ws(),
  new Undici(),
  new Chromium(),
];
