//! chat-fuzz
