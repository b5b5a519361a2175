//! Idempotency keys: when one is looked up.

use chat_core::{
    protocol::Draft,
    store::{Append, Change, Require},
};

/// What is done about a key before the rules are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyCheck {
    /// It is taken for a new one: the unique index has the last word. If that says no, the batch is judged again with
    /// [`KeyCheck::LookUp`]. Hardly ever is a key taken, and a look-up costs a third of writing the message.
    Trust,
    /// It is looked up.
    LookUp,
}

impl KeyCheck {
    /// A key can be trusted where nothing that the rules ask for after it could keep the message out: else the index
    /// would not be asked, and a message that is there already would be refused.
    pub(crate) fn of(item: &Append) -> Self {
        match &item.change {
            Change::Message(Draft { reply_to: None, .. }) if item.require == Require::default() => {
                Self::Trust
            }
            _ => Self::LookUp,
        }
    }
}
