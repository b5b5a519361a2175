//! Handing out: replies when they are due, events in their order, own acks in their places.

use std::{collections::VecDeque, sync::Arc};

use super::{Busy, Feed, Flow, Lane, Owed};
use crate::{
    hub::{Job, PageJob},
    ids::Seq,
    mailbox::LaneNo,
    presence::Spoken,
    protocol::{Ack, Event, EventBody, HistoryFrom, Joined, LeftReason, MemberChange, Reply},
    room::End,
    session::Desk,
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
    pub(crate) fn flush(&mut self, desk: &mut Desk, sink: &mut impl Sink) -> Flow {
        let mut flow = self.flush_replies(desk, sink);
        while !flow.full {
            match self.flush_stream(desk, sink) {
                Halt::Done => {}
                Halt::Full => flow.full = true,
                Halt::Wait => break,
            }
            // The next page, if there is one, is somebody else's turn.
            flow.woken.extend(self.yield_page(desk));
            let Flow { full, woken } = self.flush_replies(desk, sink);
            flow.full |= full;
            flow.woken.extend(woken);
        }
        flow.woken.extend(self.yield_page(desk));
        flow
    }

    /// Gives back the right to a page where none is used; without a seat, the place in the line for it too. Returns whose
    /// turn it is then.
    fn yield_page(&self, desk: &mut Desk) -> Option<LaneNo> {
        let unused = match &self.seat {
            Some(seat) => matches!(seat.feed, Feed::Tail) && desk.catch_up.is_held_by(self.no),
            None => true,
        };
        if unused { desk.catch_up.release(self.no) } else { None }
    }

    /// Hands out the replies that are due, and begins what waited for that.
    pub(crate) fn flush_replies(&mut self, desk: &mut Desk, sink: &mut impl Sink) -> Flow {
        let mut flow = Flow::default();
        loop {
            while let Some(Owed::Reply(..)) = self.owed.front() {
                if sink.is_full() {
                    flow.full = true;
                    return flow;
                }
                let Some(Owed::Reply(id, reply)) = self.owed.pop_front() else { return flow };
                desk.answer(sink, id, &reply);
                // Nothing else is owed beside a page of history.
                if desk.history.is_held_by(self.no) {
                    flow.woken.extend(desk.history.release(self.no));
                }
            }
            self.begin(desk);
            if !matches!(self.owed.front(), Some(Owed::Reply(..))) {
                return flow;
            }
        }
    }

    /// Hands out one stretch of the stream.
    fn flush_stream(&mut self, desk: &mut Desk, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &self.seat else { return Halt::Wait };
        match &seat.feed {
            Feed::Asked(_) => Halt::Wait,
            Feed::Page { .. } => self.flush_page(desk, sink),
            Feed::Renewed(_) => self.renew(desk, sink),
            Feed::Tail => self.flush_tail(desk, sink),
        }
    }

    fn flush_tail(&mut self, desk: &mut Desk, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let (mut blocks, mut spoken) = (Vec::new(), Vec::new());
        let reader = seat.reader(desk.conn);
        let look = seat.cell.lock().look(&reader, desk.hub.limits.flush_bytes, &mut blocks, &mut spoken);
        match look.found {
            Found::Live => {}
            Found::Behind => return self.fall_behind(look.end, desk, sink),
            Found::Unsure => return self.ask_rights(desk),
        }
        if std::mem::take(&mut seat.slow) {
            desk.hub.metrics.slow_readers(-1.0);
        }
        let heard = look.heard;
        for block in &blocks {
            match self.hand_out_block(block, look.end, desk, sink) {
                Halt::Done => {}
                halt => return halt,
            }
        }
        if let Some(end) = look.end.filter(|end| self.is_past(*end)) {
            self.dismiss(end.reason, desk, sink);
            return Halt::Done;
        }
        if !blocks.is_empty() {
            return Halt::Done;
        }
        self.speak(&spoken, heard, sink);
        Halt::Wait
    }

    /// Nobody knows whether this user may still read: ask the store.
    fn ask_rights(&mut self, desk: &mut Desk) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let address = desk.ticket(self.no);
        seat.feed = Feed::Asked(address.ticket);
        desk.hub.ask(Job::Renew { room: self.room.clone(), who: desk.who.clone(), address });
        Halt::Wait
    }

    /// Takes what [`Lane::ask_rights`] asked for.
    pub(super) fn take_view(&mut self, ticket: u64, view: Option<RoomView>) {
        if let Some(seat) = self.seat.as_mut().filter(|seat| seat.asked(ticket)) {
            seat.feed = Feed::Renewed(view);
        }
    }

    /// Goes on where the user still may.
    fn renew(&mut self, desk: &mut Desk, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let Feed::Renewed(view) = std::mem::replace(&mut seat.feed, Feed::Tail) else { return Halt::Done };
        let view = view.filter(|view| view.room.no == seat.cell.no);
        match view.map(|view| (view.role(desk.who.actor().authority), view)) {
            None => self.dismiss(LeftReason::Closed, desk, sink),
            Some((None, _)) => self.dismiss(LeftReason::Removed, desk, sink),
            Some((Some(role), view)) => {
                seat.role = role;
                seat.cell.lock().renew(desk.conn, &view);
            }
        }
        Halt::Done
    }

    /// The tail no longer has what comes next: ask the store.
    fn fall_behind(&mut self, end: Option<End>, desk: &mut Desk, sink: &mut impl Sink) -> Halt {
        if let Some(end) = end.filter(|end| self.is_past(*end)) {
            self.dismiss(end.reason, desk, sink);
            return Halt::Done;
        }
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        if !desk.catch_up.acquire(self.no) {
            return Halt::Wait;
        }
        if seat.position >= seat.replay_until && !std::mem::replace(&mut seat.slow, true) {
            desk.hub.metrics.slow_readers(1.0);
        }
        let limits = desk.hub.limits;
        let query = PageQuery {
            room: seat.cell.no,
            reader: Some(desk.who.actor()),
            from: HistoryFrom::After(seat.position),
            limit: limits.history_page,
            bytes: limits.page_bytes,
            kinds: Vec::new(),
        };
        let address = desk.ticket(self.no);
        seat.feed = Feed::Asked(address.ticket);
        desk.hub.ask(Job::Page(PageJob { query, address }));
        Halt::Wait
    }

    /// Takes the page that was asked for; one that was asked for before the room was left and joined again is no use.
    pub(super) fn take_page(&mut self, ticket: u64, page: Result<Page, NoPage>) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.asked(ticket)) else { return };
        let removed = |seq| End { seq, reason: LeftReason::Removed };
        let at_once = |reason| Some(End { seq: Seq::ZERO, reason });
        let (events, end) = match page {
            // What comes next is kept no longer.
            Ok(page) if page.first_seq > seat.position.next() => (Vec::new(), page.end.map(removed)),
            Ok(page) => {
                let end =
                    page.end.map(|seq| page.events.last().map_or(removed(seq), |last| ended_by(last, seq)));
                (page.events, end)
            }
            Err(NoPage::Gone) => (Vec::new(), at_once(LeftReason::Closed)),
            Err(NoPage::Unreadable) => (Vec::new(), at_once(LeftReason::Removed)),
        };
        seat.feed = Feed::Page { events: events.into(), end };
    }

    fn flush_page(&mut self, desk: &mut Desk, sink: &mut impl Sink) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        let Feed::Page { events, end: stored } = std::mem::replace(&mut seat.feed, Feed::Tail) else {
            return Halt::Done;
        };
        let known = seat.cell.lock().end_of(desk.conn);
        let first = [known, stored].into_iter().flatten().min_by_key(|end| end.seq);
        let end = first.map(|end| End { reason: known.map_or(end.reason, |known| known.reason), ..end });
        let trimmed = events.is_empty();
        if let Err((events, halt)) = self.hand_out_page(events, end, desk, sink) {
            if let Some(seat) = &mut self.seat {
                seat.feed = Feed::Page { events, end: stored };
            }
            return halt;
        }
        match end {
            Some(end) if trimmed || self.is_past(end) => self.dismiss(end.reason, desk, sink),
            None if trimmed => self.reset(desk, sink),
            _ => {}
        }
        Halt::Done
    }

    /// Hands out the events of a page up to the end of the right to read, or gives back what is left of them.
    fn hand_out_page(
        &mut self,
        mut events: VecDeque<Event>,
        end: Option<End>,
        desk: &mut Desk,
        sink: &mut impl Sink,
    ) -> Result<(), (VecDeque<Event>, Halt)> {
        while let Some(event) = events.front().filter(|event| end.is_none_or(|end| event.seq <= end.seq)) {
            match self.place(event, desk, sink) {
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
        desk: &mut Desk,
        sink: &mut impl Sink,
    ) -> Halt {
        let Some(seat) = &mut self.seat else { return Halt::Wait };
        if sink.is_full() {
            return Halt::Full;
        }
        let whole = seat.position < block.first() && end.is_none_or(|end| end.seq >= block.last());
        if whole && self.owed.is_empty() && !matches!(self.busy, Some(Busy::Reading { .. })) {
            seat.position = block.last();
            sink.block(block);
            return Halt::Done;
        }
        for (index, event) in block.events().iter().enumerate() {
            if self.position().is_none_or(|position| event.seq <= position) {
                continue;
            }
            if end.is_some_and(|end| event.seq > end.seq) {
                break;
            }
            match self.place(event, desk, sink) {
                Ok(Placing::Show) => sink.event_of(block, index),
                Ok(_) => {}
                Err(halt) => return halt,
            }
        }
        Halt::Done
    }

    /// Moves the position over an event. Where it is this connection's own, its ack has been handed out in its place.
    fn place(&mut self, event: &Event, desk: &mut Desk, sink: &mut impl Sink) -> Result<Placing, Halt> {
        if sink.is_full() {
            return Err(Halt::Full);
        }
        let placing = self.placing(event, desk);
        if matches!(placing, Placing::Wait) {
            return Err(Halt::Wait);
        }
        if let Some(seat) = &mut self.seat {
            seat.position = event.seq;
        }
        if matches!(placing, Placing::Replace)
            && let Some(Owed::Place { id, seq, at, since }) = self.owed.pop_front()
        {
            desk.hub.metrics.acked(desk.now.mono.saturating_sub(since));
            let ack = Ack { room: self.room.clone(), seq, at, duplicate: false };
            desk.answer(sink, id, &Reply::Ack(ack));
            while let Some(Owed::Reply(id, reply)) =
                self.owed.pop_front_if(|owed| matches!(owed, Owed::Reply(..)))
            {
                desk.answer(sink, id, &reply);
            }
        }
        Ok(placing)
    }

    fn placing(&self, event: &Event, desk: &Desk) -> Placing {
        let Some(seat) = &self.seat else { return Placing::Wait };
        // A page of history that is on its way may have been read before: its texts come first.
        if matches!((&self.busy, &event.body), (Some(Busy::Reading { .. }), EventBody::Deleted { .. })) {
            return Placing::Wait;
        }
        match self.owed.front() {
            Some(Owed::Place { seq, .. }) if *seq == event.seq => Placing::Replace,
            // It may be the event of an append whose outcome is still on its way here.
            _ if seat.unsettled > 0 && event.seq > seat.last_own && event.from == desk.who.user => {
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

    /// The right to read has ended.
    fn dismiss(&mut self, reason: LeftReason, desk: &mut Desk, sink: &mut impl Sink) {
        self.stand_up(desk);
        desk.tell(sink, None, &Reply::Left { room: self.room.clone(), reason: Some(reason) });
    }

    /// What comes next is kept no longer: the client is told to begin anew.
    fn reset(&mut self, desk: &Desk, sink: &mut impl Sink) {
        let Some(seat) = &mut self.seat else { return };
        let entry = seat.cell.lock().entry();
        seat.position = seat.position.max(entry.last_seq);
        let position = seat.position;
        let joined = Joined { reset: true, ..seat.joined(entry) };
        self.displace(position);
        desk.tell(sink, None, &Reply::Joined(joined));
    }
}

/// The end of a right to read at `seq`, which is said of a page whose last event is `last`.
const fn ended_by(last: &Event, seq: Seq) -> End {
    let banned = matches!(last.body, EventBody::Member { change: MemberChange::Banned, .. });
    let reason = if banned && last.seq.0 == seq.0 { LeftReason::Banned } else { LeftReason::Removed };
    End { seq, reason }
}
