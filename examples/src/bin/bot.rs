//! The bot as a program. How it works stands in `src/bot.rs`.
//!
//! ```sh
//! cargo run -p chat-server &
//! cargo run -p chat-examples --bin bot -- http://127.0.0.1:8080 bot lobby bot.json
//! ```
//!
//! Then say `!ping` or `!roll 20` in the room `lobby`.

use std::error::Error;

use chat_examples::bot::Bot;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, user, room, notebook] = arguments.as_slice() else {
        return Err("usage: bot http://HOST:PORT USER ROOM NOTEBOOK".into());
    };
    Err(Bot::new(server.parse()?, user, room, notebook)?.run().await.into())
}
