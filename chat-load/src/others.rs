//! The flags that say how messages look at another's server.

use chat_load::{Echo, Look};
use clap::Args;

/// How messages look at a server that is not ours. `docs/load.md` has two examples.
#[derive(Debug, Args)]
#[command(next_help_heading = "Another's server")]
pub(crate) struct Others {
    /// A message as it is sent: with {text}, and where it has them {user}, {role}, {room}, {key} (a text) and {id} (a
    /// number), which are another one for each message. It says that the server is not ours
    #[arg(long, value_name = "FORM", requires = "delivery")]
    send: Option<String>,
    /// A message as others get it: with {text}, and where it has them {user} and {room}, which are verified. `*` stands
    /// for anything
    #[arg(long, value_name = "PATTERN", requires = "send")]
    delivery: Option<String>,
    /// An ack, tied to its message by {id}, {key} or {text}, or else by the order. `*` stands for anything
    #[arg(long, value_name = "PATTERN", requires = "send")]
    ack: Option<String>,
    /// Senders get their own messages, too; without --ack this is the ack
    #[arg(long, requires = "send")]
    echo: bool,
    /// The path of the WebSocket, with {user}, {role} and {room}
    #[arg(long, value_name = "FORM", default_value = "/ws", requires = "send")]
    path: String,
    /// What is said of each room once the socket is open, with {user}, {role} and {room}
    #[arg(long, value_name = "FORM", requires = "send")]
    enter: Option<String>,
    /// What the server says once a user is in: without it a second is waited. `*` stands for anything
    #[arg(long, value_name = "PATTERN", requires = "send")]
    entered: Option<String>,
}

impl Others {
    /// What was said, where anything was.
    pub(crate) fn look(&self) -> Option<Look> {
        let (send, delivery) = (self.send.clone()?, self.delivery.clone()?);
        let echo = if self.echo { Echo::ToSender } else { Echo::None };
        let (path, enter, entered) = (self.path.clone(), self.enter.clone(), self.entered.clone());
        Some(Look { path, enter, entered, send, ack: self.ack.clone(), delivery, echo })
    }
}
