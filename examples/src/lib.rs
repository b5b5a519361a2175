//! chat-examples
