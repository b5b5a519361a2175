//! What was measured, as a picture.

/// For Markdown: whoever shows it draws it.
pub(super) const MERMAID: &str = "```mermaid
flowchart LR
    users[\"users: the load tool, a connection each\"] -- \"sends\" --> server
    server -- \"acks and deliveries\" --> users
    server[\"the server\"] -- \"commits\" --> database[(\"its database\")]
    tool[\"the load tool\"] -. \"CPU, memory, descriptors: /proc\" .-> server
    tool -. \"figures: /metrics\" .-> server
```
";

/// For the page.
pub(super) const SVG: &str = r##"<svg viewBox="0 0 680 215" role="img" aria-label="Users of the load tool send to the server and get acks and deliveries; the server commits to its database; the load tool reads the server's figures" xmlns="http://www.w3.org/2000/svg">
<g fill="none" stroke="#1F6FEB" stroke-width="2"><rect x="10" y="20" width="150" height="74" rx="8"/><rect x="310" y="20" width="120" height="74" rx="8"/><rect x="10" y="145" width="150" height="50" rx="8"/><path d="M560 34v46c0 8 25 14 54 14s54-6 54-14v-46c0-8-25-14-54-14s-54 6-54 14c0 8 25 14 54 14s54-6 54-14"/></g>
<g fill="none" stroke="#112233" stroke-width="2"><path d="M160 42h144m-8-5l8 5l-8 5"/><path d="M310 72h-144m8-5l-8 5l8 5"/><path d="M430 57h124m-8-5l8 5l-8 5"/><path d="M160 170h210v-70m-5 8l5-8l5 8" stroke-dasharray="5 4"/></g>
<g fill="#112233" font-family="sans-serif" font-size="15" text-anchor="middle"><text x="85" y="53">users, each a</text><text x="85" y="72">connection</text><text x="370" y="62">the server</text><text x="614" y="75">its database</text><text x="85" y="175">the load tool</text><text x="235" y="34">sends</text><text x="235" y="92">acks, deliveries</text><text x="492" y="48">commits</text><text x="262" y="162">CPU, memory, figures</text></g>
</svg>"##;
