//! Handing out: replies when they are due, events in their order, own acks in their places.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::{Busy, Feed, Flow, Lane, Owed};
use crate::{
    connection::Connection,
    hub::{Job, PageJob},
    ids::Seq,
    presence::Spoken,
    protocol::{Ack, Event, EventBody, HistoryFrom, Joined, LeftReason, Reply},
    room::{End, Reach},
    sink::Sink,
    store::{NoPage, Page, PageQuery, RoomView},
    tail::{Block, Found},
};

/// What to do with an event at its place.
enum Placing {
    Show,
    Replace,
    Wait,
}

/// Why handing out events stopped.
enum Halt {
    /// All handed out.
    Done,
    /// The sink is full.
    Full,
    /// An answer of the store must come first.
    Wait,
}

impl Lane {
    /// Hands out replies and events until the sink is full or nothing is left.
    pub(crate) fn flush(&mut self, connection: &mut Connection, sink: &mut impl Sink) -> Flow {
        loop {
            if self.flush_replies(connection, sink) == Flow::Full {
                return Flow::Full;
            }
            let halt = self.flush_stream(connection, sink);
            let on_tail = self.seat.as_ref().is_none_or(|seat| matches!(seat.feed, Feed::Tail));
            if on_tail && connection.catch_up.is_held_by(self.no) {
                // The next page, if there is one, is somebody else's turn.
                connection.yield_catch_up(self.no);
            }
            match halt {
                Halt::Done => {}
                Halt::Full => return Flow::Full,
                Halt::Wait => return Flow::Dry,
            }
        }
    }

    /// Hands out the replies that are due, and begins what waited for that.
    pub(crate) fn flush_replies(&mut self, connection: &mut Connection, sink: &mut impl Sink) -> Flow {
        loop {
            while matches!(self.owed.front(), Some(Owed::Reply(..))) {
                if sink.is_full() {
                    return Flow::Full;
                }
                self.answer_one(connection, sink);
            }
            self.begin(connection);
            if !matches!(self.owed.front(), Some(Owed::Reply(..))) {
                return Flow::Dry;
            }
        }
    }

    /// Hands out the first reply, where it is due.
    fn answer_one(&mut self, connection: &mut Connection, sink: &mut impl Sink) -> bool {
        let due = self.owed.pop_front_if(|owed| matches!(owed, Owed::Reply(..)));
        let Some(Owed::Reply(id, reply)) = due else { return false };
        connection.answer(sink, id, &reply);
        // Nothing else is owed beside a page of history.
        if connection.history.is_held_by(self.no) {
            connection.yield_history(self.no);
        }
        true
    }

    /// Hands out one stretch of the stream.
    fn flush_stream(&mut self, connection: &mut Connection, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &self.seat else { return Halt::Wait };
        match &seat.feed {
            Feed::Asked(_) => Halt::Wait,
            Feed::Page { .. } => self.flush_page(connection, sink),
            Feed::Renewed(_) => self.renew(connection, sink),
            Feed::Tail => self.flush_tail(connection, sink),
        }
    }

    fn flush_tail(&mut self, connection: &mut Connection, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let mut spoken = Vec::new();
        let reader = seat.reader(connection.now.mono, connection.conn);
        let look = seat.cell.lock().look(&reader, &mut spoken);
        connection.hub.delivered(connection.now, look.delivered);
        match look.found {
            Found::Live => {}
            Found::Behind => return self.fall_behind(look.end, connection, sink),
            Found::Unsure => return self.ask_rights(connection),
        }
        if std::mem::take(&mut seat.slow) {
            connection.hub.metrics.slow_readers(-1.0);
        }
        if let Some(block) = &look.block {
            match self.hand_out_block(block, look.end, connection, sink) {
                Halt::Done => {}
                halt => return halt,
            }
        }
        if let Some(end) = look.end.filter(|end| self.is_past(*end)) {
            self.dismiss(end.reason, connection, sink);
            return Halt::Done;
        }
        let at_the_end = self.position().is_none_or(|position| position >= look.live);
        if look.block.is_some() && !(at_the_end && spoken.is_empty() && self.is_quiet()) {
            return Halt::Done;
        }
        self.speak(&spoken, look.heard, sink);
        Halt::Wait
    }

    /// Whether no command of this connection has anything to come.
    fn is_quiet(&self) -> bool {
        self.owed.is_empty() && self.waiting.is_empty() && self.busy.is_none()
    }

    /// Nobody knows whether this user may still read: ask the store.
    fn ask_rights(&mut self, connection: &mut Connection) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let address = connection.ticket(self.no);
        seat.feed = Feed::Asked(address.ticket);
        connection.hub.ask(Job::Renew { room: self.room.clone(), who: connection.who.clone(), address });
        Halt::Wait
    }

    /// Takes what [`Lane::ask_rights`] asked for.
    pub(super) fn take_view(&mut self, ticket: u64, view: Option<Box<RoomView>>) {
        if let Some(seat) = self.seat.as_mut().filter(|seat| seat.asked(ticket)) {
            seat.feed = Feed::Renewed(view);
        }
    }

    /// Goes on where the user still may.
    fn renew(&mut self, connection: &mut Connection, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let Feed::Renewed(view) = std::mem::replace(&mut seat.feed, Feed::Tail) else { return Halt::Done };
        let view = view.filter(|view| view.room.no == seat.cell.no);
        match view.map(|view| (view.role(connection.who.actor().authority), view)) {
            None => self.dismiss(LeftReason::Closed, connection, sink),
            Some((None, _)) => self.dismiss(LeftReason::Removed, connection, sink),
            Some((Some(role), view)) => {
                seat.role = role;
                seat.cell.lock().renew(connection.conn, &view);
            }
        }
        Halt::Done
    }

    /// The tail no longer has what comes next: ask the store.
    fn fall_behind(&mut self, end: Option<End>, connection: &mut Connection, sink: &mut impl Sink) -> Halt {
        if let Some(end) = end.filter(|end| self.is_past(*end)) {
            self.dismiss(end.reason, connection, sink);
            return Halt::Done;
        }
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        if !connection.catch_up.acquire(self.no) {
            return Halt::Wait;
        }
        if seat.position >= seat.replay_until && !std::mem::replace(&mut seat.slow, true) {
            connection.hub.metrics.slow_readers(1.0);
        }
        let limits = connection.hub.limits;
        let query = PageQuery {
            room: seat.cell.no,
            reader: Some(connection.who.actor()),
            from: HistoryFrom::After(seat.position),
            limit: limits.history_page,
            bytes: limits.page_bytes,
            kinds: Vec::new(),
        };
        let address = connection.ticket(self.no);
        seat.feed = Feed::Asked(address.ticket);
        connection.hub.ask(Job::Page(PageJob { query, address }));
        Halt::Wait
    }

    /// Takes the page that was asked for; one that was asked for before the room was left and joined again is no use.
    pub(super) fn take_page(&mut self, ticket: u64, page: Result<Page, NoPage>) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.asked(ticket)) else { return };
        let removed = |seq| End { seq, reason: LeftReason::Removed };
        let at_once = |reason| Some(End { seq: Seq::ZERO, reason });
        let as_of = page.as_ref().map_or(Seq::MAX, |page| page.last_seq);
        let (events, end) = match page {
            // What comes next is kept no longer: whoever may still read begins anew.
            Ok(page) if page.first_seq > seat.position.next() => {
                seat.cell.lock().handle_trimmed(page.first_seq);
                (Vec::new(), page.end.map(removed))
            }
            Ok(page) => (page.events, page.end.map(removed)),
            Err(NoPage::Gone) => (Vec::new(), at_once(LeftReason::Closed)),
            Err(NoPage::Unreadable) => (Vec::new(), at_once(LeftReason::Removed)),
        };
        seat.feed = Feed::Page { events: events.into(), end, as_of };
    }

    fn flush_page(&mut self, connection: &mut Connection, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let Feed::Page { events, end: stored, as_of } = std::mem::replace(&mut seat.feed, Feed::Tail) else {
            return Halt::Done;
        };
        let Reach { end: known, live, deletion } = seat.cell.lock().reach(connection.conn);
        if deletion > as_of {
            // A text in it may be deleted by now: what is left of it is read anew.
            return Halt::Done;
        }
        // Where both say the same, the room also knows why.
        let end = [known, stored].into_iter().flatten().min_by_key(|end| end.seq);
        let empty = events.is_empty();
        let handed_out = match end {
            Some(end) if end.seq > live && empty => Err((events, Halt::Wait)),
            _ => self.hand_out_page(events, (end, live), connection, sink),
        };
        if let Err((events, halt)) = handed_out {
            if let Some(seat) = &mut self.seat {
                seat.feed = Feed::Page { events, end: stored, as_of };
            }
            return halt;
        }
        // An empty page means that what comes next is kept no longer.
        match end {
            Some(end) if empty || self.is_past(end) => self.dismiss(end.reason, connection, sink),
            None if empty => self.reset(connection, sink),
            _ => {}
        }
        Halt::Done
    }

    /// Hands out the events of a page up to the end of the right to read, or gives back what is left of them.
    ///
    /// What is not live yet waits: it may end the right to read what comes next, which the room finds out first.
    fn hand_out_page(
        &mut self,
        mut events: VecDeque<Event>,
        (end, live): (Option<End>, Seq),
        connection: &mut Connection,
        sink: &mut impl Sink,
    ) -> Result<(), (VecDeque<Event>, Halt)> {
        while let Some(event) = events.front().filter(|event| end.is_none_or(|end| event.seq <= end.seq)) {
            if event.seq > live {
                return Err((events, Halt::Wait));
            }
            match self.place(event, connection, sink) {
                Ok(Placing::Show) => events.pop_front().into_iter().for_each(|event| sink.event(event)),
                Ok(_) => drop(events.pop_front()),
                Err(halt) => return Err((events, halt)),
            }
        }
        Ok(())
    }

    fn is_past(&self, end: End) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.position >= end.seq)
    }

    /// Hands out what a block has after the position, up to the end of the right to read.
    fn hand_out_block(
        &mut self,
        block: &Block,
        end: Option<End>,
        connection: &mut Connection,
        sink: &mut impl Sink,
    ) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        if sink.is_full() {
            return Halt::Full;
        }
        let range = block.after(seat.position, end.map(|end| end.seq));
        if self.owed.is_empty() && !matches!(self.busy, Some(Busy::Reading { .. })) {
            // Nothing of this connection's own can be in it.
            self.show(block, range, sink);
            return Halt::Done;
        }
        let mut shown = range.start;
        for index in range.clone() {
            let event = &block.events()[index];
            match self.placing(event, connection) {
                Placing::Show => {}
                Placing::Wait => {
                    self.show(block, shown..index, sink);
                    return Halt::Wait;
                }
                Placing::Replace => {
                    self.show(block, shown..index, sink);
                    if sink.is_full() {
                        return Halt::Full;
                    }
                    self.ack_in_place(event.seq, connection, sink);
                    shown = index + 1;
                }
            }
        }
        self.show(block, shown..range.end, sink);
        Halt::Done
    }

    /// Hands out some events of a block, which are nobody's of this connection.
    fn show(&mut self, block: &Block, range: Range<usize>, sink: &mut impl Sink) {
        if let Some(last) = block.events().get(range.clone()).and_then(|events| events.last()) {
            if let Some(seat) = &mut self.seat {
                seat.position = last.seq;
            }
            sink.run(block, range);
        }
    }

    /// Moves the position over an event. Where it is this connection's own, its ack has been handed out in its place.
    fn place(
        &mut self,
        event: &Event,
        connection: &mut Connection,
        sink: &mut impl Sink,
    ) -> Result<Placing, Halt> {
        if sink.is_full() {
            return Err(Halt::Full);
        }
        let placing = self.placing(event, connection);
        match placing {
            Placing::Wait => return Err(Halt::Wait),
            Placing::Replace => self.ack_in_place(event.seq, connection, sink),
            Placing::Show => {
                if let Some(seat) = &mut self.seat {
                    seat.position = event.seq;
                }
            }
        }
        Ok(placing)
    }

    /// Hands out the ack of an own event in its place, and the replies that waited for it.
    fn ack_in_place(&mut self, event: Seq, connection: &mut Connection, sink: &mut impl Sink) {
        if let Some(seat) = &mut self.seat {
            seat.position = event;
        }
        if let Some(Owed::Place { id, seq, at, since }) = self.owed.pop_front() {
            connection.hub.metrics.acked(connection.now.mono.saturating_sub(since));
            let ack = Ack { room: self.room.clone(), seq, at, duplicate: false };
            connection.answer(sink, id, &Reply::Ack(ack));
            while self.answer_one(connection, sink) {}
        }
    }

    fn placing(&self, event: &Event, connection: &Connection) -> Placing {
        let Some(seat) = &self.seat else { return Placing::Wait };
        // A page of history that is on its way may have been read before: its texts come first.
        if matches!((&self.busy, &event.body), (Some(Busy::Reading { .. }), EventBody::Deleted { .. })) {
            return Placing::Wait;
        }
        match self.owed.front() {
            Some(Owed::Place { seq, .. }) if *seq == event.seq => Placing::Replace,
            // It may be the event of an append whose outcome is still on its way here.
            _ if seat.unsettled > 0 && event.seq > seat.last_own && event.from == connection.who.user => {
                Placing::Wait
            }
            _ => Placing::Show,
        }
    }

    /// Hands out what is told but not kept, while there is room.
    fn speak(&mut self, spoken: &[Arc<Spoken>], heard: u64, sink: &mut impl Sink) {
        if let Some(seat) = &mut self.seat {
            seat.heard = heard;
        }
        for spoken in spoken {
            if sink.is_full() {
                return; // it is dropped first
            }
            sink.spoken(spoken);
        }
    }

    /// The right to read has ended. Acks that have lost their place come after this word: before it they would leave a
    /// hole.
    fn dismiss(&mut self, reason: LeftReason, connection: &mut Connection, sink: &mut impl Sink) {
        self.stand_up(connection);
        connection.tell(sink, None, &Reply::Left { room: self.room.clone(), reason: Some(reason) });
    }

    /// What comes next is kept no longer: the client is told to begin anew.
    fn reset(&mut self, connection: &Connection, sink: &mut impl Sink) {
        let Some(seat) = &mut self.seat else { return };
        let entry = seat.cell.lock().entry();
        seat.position = seat.position.max(entry.last_seq);
        let position = seat.position;
        let joined = Joined { reset: true, ..seat.joined(entry) };
        self.displace(position);
        connection.tell(sink, None, &Reply::Joined(joined));
    }
}
