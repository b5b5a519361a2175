//! What a client says.

use std::time::Duration;

use super::{
    Client, Draft, Stage, Stance, frames,
    outbox::Sent,
    rooms::Seat,
    words::{put_auth, put_send},
};

impl Client {
    /// A new socket is open.
    pub fn opened(&mut self) {
        self.stage = Stage::Opened;
        self.output.clear();
        self.end = None;
    }

    /// The connection is gone, with whatever was on its way.
    pub fn lost(&mut self) {
        self.stage = Stage::Away;
        self.output.clear();
        for room in &mut self.rooms {
            room.seat = Seat::Out;
            if self.stance == Stance::Heals {
                room.outbox.recall_skipped();
            }
            room.outbox.lose();
        }
    }

    /// Shows a token: the first thing to be said where the handshake had none, and again before it ends.
    pub fn show(&mut self, token: &str) {
        self.command.clear();
        put_auth(&mut self.command, token);
        frames::put_text(&mut self.output, &self.command);
    }

    /// Sends a message to a room under a new key, now or as soon as that is possible. `at` comes back with its ack.
    /// Returns whether there was room for it: at most [`WAITING_MAX`](super::WAITING_MAX) wait.
    pub fn send(&mut self, room: usize, at: Duration, text: String) -> bool {
        if self.rooms[room].outbox.is_full() {
            return false;
        }
        let key = format!("{}{}", self.key_head, self.next_key);
        self.next_key += 1;
        let draft = Draft { key, text, reply_to: None };
        self.put(room, Sent { id: 0, draft, at, is_unsure: false, seq: None });
        true
    }

    /// The same under a key of the caller's, which may have been sent before.
    ///
    /// # Errors
    /// The draft itself, where there was no room for it.
    pub fn send_draft(&mut self, room: usize, at: Duration, draft: Draft) -> Result<(), Draft> {
        if self.rooms[room].outbox.is_full() {
            return Err(draft);
        }
        self.put(room, Sent { id: 0, draft, at, is_unsure: true, seq: None });
        Ok(())
    }

    fn put(&mut self, room: usize, sent: Sent) {
        if self.rooms[room].seat == Seat::Live {
            self.put_send(room, sent);
        } else {
            self.rooms[room].outbox.hold(sent);
        }
    }

    /// Sends what waits to be sent again.
    pub fn resend(&mut self) {
        for room in 0..self.rooms.len() {
            self.resend_in(room);
        }
    }

    /// Answers a ping.
    pub fn pong(&mut self, payload: &[u8]) {
        frames::put_pong(&mut self.output, payload);
    }

    pub(super) fn resend_in(&mut self, room: usize) {
        while self.rooms[room].seat == Seat::Live
            && let Some(sent) = self.rooms[room].outbox.next_unsent()
        {
            self.put_send(room, sent);
        }
    }

    fn put_send(&mut self, at: usize, mut sent: Sent) {
        sent.id = self.take_id();
        let room = &mut self.rooms[at];
        self.command.clear();
        put_send(&mut self.command, sent.id, &room.name, &sent.draft);
        frames::put_text(&mut self.output, &self.command);
        room.outbox.wait_for(sent);
    }
}
