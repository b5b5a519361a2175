//! What a client says.

use std::time::Duration;

use super::{
    Client, Draft, Stage, Stance, frames,
    outbox::Sent,
    pace::{Pace, Release, UNANSWERED_MAX},
    rooms::{Room, Seat},
    words::{put_auth, put_send},
};

impl Client {
    /// A new socket is open.
    pub fn opened(&mut self) {
        self.stage = Stage::Opened;
        self.output.clear();
        self.end = None;
        self.pace = Pace::default();
        self.retry_after = None;
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
        if self.rooms[room].seat == Seat::Live && self.stance == Stance::Verifies {
            self.put_send(room, sent);
        } else {
            self.rooms[room].outbox.hold(sent);
            self.resend_in(room);
        }
    }

    /// Sends what waits to be sent again. One that heals sends one message, where it was too fast, and wants to be asked
    /// for the next one [later](Self::take_retry_after).
    pub fn resend(&mut self) {
        match self.pace.release() {
            Release::All => self.send_waiting(),
            Release::One => {
                let next = |room: &Room| room.seat == Seat::Live && room.outbox.has_unsent();
                if let Some(room) = self.rooms.iter().position(next)
                    && let Some(sent) = self.rooms[room].outbox.next_unsent()
                {
                    self.put_send(room, sent);
                }
                if self.rooms.iter().any(|room| room.outbox.has_unsent()) {
                    self.retry_after = Some(self.pace.step());
                } else {
                    self.pace = Pace::default();
                }
            }
        }
    }

    /// Sends what waits, as far as it may be sent now.
    pub(super) fn send_waiting(&mut self) {
        for room in 0..self.rooms.len() {
            self.resend_in(room);
        }
    }

    /// A send was refused for so long.
    pub(super) fn hold(&mut self, code: &str, wait: Duration) {
        match code {
            "rate_limited" => self.pace.slow_down(wait),
            _ => self.pace.hold(),
        }
    }

    fn may_send(&self) -> bool {
        let unanswered = || self.rooms.iter().map(|room| room.outbox.unanswered()).sum::<usize>();
        self.stance == Stance::Verifies || (!self.pace.is_held() && unanswered() < UNANSWERED_MAX)
    }

    /// Answers a ping.
    pub fn pong(&mut self, payload: &[u8]) {
        frames::put_pong(&mut self.output, payload);
    }

    pub(super) fn resend_in(&mut self, room: usize) {
        while self.rooms[room].seat == Seat::Live
            && self.rooms[room].outbox.has_unsent()
            && self.may_send()
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
