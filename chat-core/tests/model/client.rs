//! What one connection may be told, and in which order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::{
    journal::{Journal, Tick},
    ledger::{Asked, Owed},
    timeline::{Entry, Timeline},
};

/// What is wrong about something that came, or that did not come.
pub(crate) type Checked<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($holds:expr, $($said:tt)+) => {
        if !$holds {
            return Err(format!($($said)+));
        }
    };
}
pub(crate) use ensure;

/// A client's books: what it is owed, and where it is in each room.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) user: &'static str,
    welcomed: bool,
    /// Commands without a reply, by room; those that concern none under the empty name.
    pub(crate) owed: BTreeMap<&'static str, VecDeque<Owed>>,
    pub(crate) stints: BTreeMap<String, Stint>,
    /// Commands that want no reply, and may get an error all the same.
    pub(crate) unnumbered: usize,
    /// The epochs of rooms that it had to leave: replies may still come from there.
    dismissed: BTreeMap<String, String>,
    /// Messages whose deletion it has been told of.
    gone: BTreeSet<(String, u64)>,
    /// Messages of whose deletion it has read: the stream may still be before it.
    gone_from_pages: BTreeSet<(String, u64)>,
    /// The highest read mark that it has been told of, by epoch and user.
    marks: BTreeMap<(String, String), u64>,
}

/// The time between a `joined` and a `left`.
#[derive(Debug)]
pub(crate) struct Stint {
    pub(crate) epoch: String,
    pub(crate) position: u64,
    pub(crate) online: Vec<Value>,
    /// Up to here it is a replay.
    replay_until: u64,
    /// Where the timeline ended when the `joined` came: rights may have been read as late as that.
    known: u64,
    /// When it had to begin anew, as what it was to get was kept no longer.
    anew: Option<Tick>,
}

impl Client {
    pub(crate) const fn new(user: &'static str) -> Self {
        Self {
            user,
            welcomed: false,
            owed: BTreeMap::new(),
            stints: BTreeMap::new(),
            unnumbered: 0,
            dismissed: BTreeMap::new(),
            gone: BTreeSet::new(),
            gone_from_pages: BTreeSet::new(),
            marks: BTreeMap::new(),
        }
    }

    /// Takes one object that the server sent.
    pub(crate) fn take(&mut self, object: &Value, journal: &mut Journal) -> Checked {
        let kind = text(object, "type")?;
        ensure!(self.welcomed != (kind == "welcome"), "the welcome comes first, and once");
        match kind {
            "welcome" => {
                self.welcomed = true;
                ensure!(object["user"]["id"] == self.user, "another user's welcome");
                Ok(())
            }
            "message" | "edited" | "deleted" | "reaction" | "member" | "room" => self.event(object, journal),
            "typing" | "presence" | "read" => self.spoken(kind, object, journal),
            _ if object.get("id").is_some() => self.reply(kind, object, journal),
            "left" => self.dismiss(object, journal),
            "joined" => self.begin_anew(object, journal),
            "error" if self.unnumbered > 0 => {
                self.unnumbered -= 1;
                ensure!(object["code"] == "not_joined" || object["code"] == "not_found", "another error");
                Ok(())
            }
            _ => Err("neither an event nor a reply to anything".to_owned()),
        }
    }

    // The stream of a room.

    fn event(&mut self, object: &Value, journal: &Journal) -> Checked {
        let seq = number(object, "seq")?;
        let room = text(object, "room")?;
        self.advance(room, seq, journal)?;
        let stint = &self.stints[room];
        let replay = seq <= stint.replay_until;
        let epoch = stint.epoch.clone();
        // A replay shows what was changed up to where it ends: what comes later comes as an event.
        let mut states = journal.of_epoch_since(&epoch, 0);
        states.retain(|state| !replay || state.last() >= stint.replay_until);
        let entries = || states.iter().filter_map(|state| state.entry(seq));
        let fits = |entry: &Entry| {
            *object == entry.shown(self.user)
                || (entry.deleted && *object == entry.redacted())
                || (!replay && *object == entry.live())
        };
        ensure!(entries().next().is_some(), "shown before it is committed");
        ensure!(entries().any(fits), "not the event of this number: {:?}", entries().collect::<Vec<_>>());
        let of = object.get("target").and_then(Value::as_u64).unwrap_or(seq);
        let deleted = object.get("text").is_some() && journal.knows_deleted(&epoch, of);
        ensure!(!deleted, "a text that is known to be deleted");
        self.hear(&epoch, object)
    }

    /// Moves the position to `seq`, which must be the next.
    fn advance(&mut self, room: &str, seq: u64, journal: &Journal) -> Checked {
        let stint = self.stints.get_mut(room).ok_or("an event of a room that is not joined")?;
        ensure!(seq == stint.position + 1, "not the next of the room: it is at {}", stint.position);
        ensure!(stint.right(self.user, journal)?, "an event after the one that ended the right to read");
        stint.position = seq;
        Ok(())
    }

    /// Texts of messages whose deletion was told do not come any more.
    fn hear(&mut self, epoch: &str, object: &Value) -> Checked {
        let of =
            object.get("target").or_else(|| object.get("seq")).and_then(Value::as_u64).unwrap_or_default();
        let of = (epoch.to_owned(), of);
        if object["type"] == "deleted" {
            self.gone.insert(of);
        } else {
            ensure!(object.get("text").is_none() || !self.gone.contains(&of), "a text after its deletion");
        }
        Ok(())
    }

    fn dismiss(&mut self, object: &Value, journal: &Journal) -> Checked {
        let room = text(object, "room")?;
        let stint = self.stints.remove(room).ok_or("left a room that is not joined")?;
        let timeline = journal.of_epoch(&stint.epoch).ok_or("no such incarnation")?;
        let (_, closed) = journal.life(&stint.epoch).ok_or("no such incarnation")?;
        let trimmed = timeline.first > stint.position + 1;
        let reason = text(object, "reason")?;
        let ends = |seq| seq == stint.position || (trimmed && seq > stint.position);
        let ended = timeline
            .endings
            .iter()
            .any(|ending| ending.user == self.user && ending.reason == reason && ends(ending.seq));
        ensure!(
            if reason == "closed" { closed } else { ended },
            "nothing at {} ends the right to read like this: {:?}",
            stint.position,
            timeline.endings
        );
        self.dismissed.insert(room.to_owned(), stint.epoch);
        Ok(())
    }

    fn begin_anew(&mut self, object: &Value, journal: &Journal) -> Checked {
        let stint = self.stints.get_mut(text(object, "room")?).ok_or("a reset of what is not joined")?;
        let timeline = journal.of_epoch(&stint.epoch).ok_or("no such incarnation")?;
        let last = number(object, "last_seq")?;
        ensure!(object["reset"] == true && object["epoch"] == *stint.epoch, "no reply, and no reset either");
        ensure!(timeline.first > stint.position + 1, "a reset though all is kept from {}", stint.position);
        ensure!(last >= stint.position && last <= timeline.last(), "a reset to where no end was");
        (stint.position, stint.anew) = (last, Some(journal.now()));
        Ok(())
    }

    fn spoken(&mut self, kind: &str, object: &Value, journal: &Journal) -> Checked {
        let stint = self.stints.get(text(object, "room")?).ok_or("heard from a room that is not joined")?;
        ensure!(stint.right(self.user, journal)?, "heard after the end of the right to read");
        let user = text(object, "user")?;
        ensure!(kind != "typing" || user != self.user, "one's own typing");
        if kind == "read" {
            let seq = number(object, "seq")?;
            let last = journal.of_epoch(&stint.epoch).map_or(0, |timeline| timeline.last());
            let mark = self.marks.entry((stint.epoch.clone(), user.to_owned())).or_default();
            ensure!(seq <= last, "a read mark past the end");
            ensure!(seq > *mark, "a read mark that did not move forward from {mark}");
            *mark = seq;
        }
        Ok(())
    }

    // Replies.

    fn reply(&mut self, kind: &str, object: &Value, journal: &mut Journal) -> Checked {
        let id = number(object, "id")?;
        let front = |owed: &VecDeque<Owed>| owed.front().is_some_and(|owed| owed.id == id);
        let queue = self.owed.iter_mut().find(|(_, owed)| front(owed));
        let (&room, queue) = queue.ok_or("a reply to nothing, or out of order")?;
        let owed = queue.pop_front().ok_or("just found")?;
        ensure!(object.get("room").is_none_or(|named| *named == room), "of another room");
        let checked = match (kind, &owed.asked) {
            ("joined", Asked::Join { .. }) => self.joined(room, &owed, object, journal),
            ("left", Asked::Leave) => {
                let stint = self.stints.remove(room).ok_or("left a room that is not joined")?;
                ensure!(object.get("reason").is_none(), "a reply with a reason, at {}", stint.position);
                Ok(())
            }
            ("ack", asked) if asked.is_change() => self.ack(room, &owed, object, journal),
            ("ok", Asked::Read { seq }) => self.marked(room, &owed, *seq, journal),
            ("history", Asked::History(_)) => self.history(room, &owed, object, journal),
            ("pong", Asked::Ping) => Ok(()),
            ("error", asked) if !matches!(asked, Asked::Ping) => self.refused(room, &owed, object, journal),
            _ => Err("a reply to another command".to_owned()),
        };
        checked.map_err(|wrong| format!("{wrong}; in reply to {owed:?}"))
    }

    fn joined(&mut self, room: &str, owed: &Owed, object: &Value, journal: &Journal) -> Checked {
        let Asked::Join { after, epoch } = &owed.asked else { return Ok(()) };
        let todays = text(object, "epoch")?;
        let (first, last) = (number(object, "first_seq")?, number(object, "last_seq")?);
        let states = journal.of_epoch_since(todays, owed.sent);
        let newest = states.last().ok_or("no such incarnation")?;
        ensure!(journal.life(todays).is_some_and(|(id, _)| id == room), "the epoch of another room");
        ensure!(last <= newest.last(), "the last number has not come yet");
        let role =
            |state: &Timeline| state.role(self.user).is_some_and(|role| object["role"] == role.as_str());
        ensure!(
            self.stints.contains_key(room) || states.iter().any(|s| role(s)),
            "without the right to read"
        );
        let online = object["online"].as_array().ok_or("who is online")?.clone();
        ensure!(online.len() as u64 == number(object, "online_count")?, "another count of the online");
        ensure!(online.contains(&self.user.into()), "not online oneself");
        let reset = object.get("reset").is_some_and(|reset| reset == true);
        if let Some(stint) = self.stints.get(room) {
            ensure!(stint.epoch == todays && !reset, "a second join changed something");
            ensure!(last >= stint.position, "the end is behind {}", stint.position);
            return Ok(());
        }
        ensure!(states.iter().any(|state| state.first == first), "the first number was not {first} then");
        let lost = |after: u64| after + 1 < first || after > last;
        let foreign = epoch.as_ref().is_some_and(|epoch| epoch != todays);
        ensure!(reset == (foreign || after.is_some_and(lost)), "reset or not: it must be the other");
        // What was known to be there before the command came is no news to a `joined`.
        let settled = owed.settled.as_ref().filter(|(epoch, _)| epoch == todays).map_or(0, |(_, last)| *last);
        let known = after.is_some_and(|after| after <= settled && after + 1 >= first);
        ensure!(!reset || foreign || !known, "a reset though all was there up to {settled}");
        let stint = Stint {
            epoch: todays.to_owned(),
            position: after.filter(|_| !reset).unwrap_or(last),
            online,
            replay_until: last,
            known: newest.last(),
            anew: None,
        };
        self.dismissed.remove(room);
        self.stints.insert(room.to_owned(), stint);
        Ok(())
    }

    /// The incarnation that this connection is in, or had to leave.
    fn epoch(&self, room: &str) -> Checked<String> {
        let joined = self.stints.get(room).map(|stint| &stint.epoch);
        joined.or_else(|| self.dismissed.get(room)).cloned().ok_or_else(|| "done without a join".to_owned())
    }

    fn ack(&mut self, room: &str, owed: &Owed, object: &Value, journal: &Journal) -> Checked {
        let seq = number(object, "seq")?;
        let epoch = self.epoch(room)?;
        let timeline = journal.of_epoch(&epoch).ok_or("no such incarnation")?;
        let entry = timeline.entry(seq).ok_or("acked before it is committed")?;
        ensure!(object["at"] == entry.at, "another time than that of the event");
        let duplicate = object.get("duplicate").is_some_and(|duplicate| duplicate == true);
        ensure!(owed.asked.did(self.user, seq, entry, duplicate), "acked as another event: {entry:?}");
        if duplicate {
            return Ok(());
        }
        if entry.kind == "deleted" {
            self.gone.extend(entry.target.map(|target| (epoch, target)));
        }
        match self.stints.get(room) {
            // It had no place to stand in any more.
            Some(stint) if stint.anew >= Some(owed.sent) && seq <= stint.position => Ok(()),
            Some(_) => self.advance(room, seq, journal),
            None => Ok(()),
        }
    }

    fn marked(&self, room: &str, owed: &Owed, seq: u64, journal: &mut Journal) -> Checked {
        let epoch = self.epoch(room)?;
        let Some(stint) = self.stints.get(room) else { return Ok(()) };
        let ended = journal.of_epoch(&epoch).is_some_and(|timeline| {
            let mut endings = timeline.endings.iter().filter(|ending| ending.user == self.user);
            endings.any(|ending| ending.seq > stint.replay_until)
        });
        // Who has lost the right to be there moves nothing, even where it has come back: it is to join again.
        if let Some((_, settled)) = owed.settled.as_ref().filter(|settled| settled.0 == epoch && !ended) {
            journal.mark(&epoch, self.user, seq.min(*settled));
        }
        Ok(())
    }

    fn history(&mut self, room: &str, owed: &Owed, object: &Value, journal: &Journal) -> Checked {
        let Asked::History(query) = &owed.asked else { return Ok(()) };
        let events = object["events"].as_array().ok_or("a page without events")?;
        let more = object["more"].as_bool().ok_or("a page without more")?;
        let matches = |state: &Timeline| {
            let (seqs, further) = state.page(query);
            let as_then = |(seq, event): (&u64, &Value)| {
                let entry = state.entry(*seq);
                entry.is_some_and(|entry| {
                    let gone = self.gone.contains(&(state.epoch.clone(), entry.target.unwrap_or(*seq)));
                    *event == entry.shown(self.user) || (gone && *event == entry.redacted())
                })
            };
            further == more && seqs.len() == events.len() && seqs.iter().zip(events).all(as_then)
        };
        let states = journal.since(room, owed.sent);
        let mut readable = states.iter().flatten().filter(|state| state.role(self.user).is_some());
        let Some(state) = readable.find(|state| matches(state)) else {
            return Err(format!("such a page there never was: {states:?}"));
        };
        let of = |event: &Value| {
            Some((state.epoch.clone(), event.get("target").or_else(|| event.get("seq"))?.as_u64()?))
        };
        let (deletions, others): (Vec<_>, Vec<_>) =
            events.iter().partition(|event| event["type"] == "deleted");
        let mut texts =
            others.iter().filter(|event| event.get("text").is_some()).filter_map(|event| of(event));
        let gone = |of: &(String, u64)| self.gone.contains(of) || self.gone_from_pages.contains(of);
        ensure!(!texts.any(|of| gone(&of)), "a text after its deletion");
        self.gone_from_pages.extend(deletions.into_iter().filter_map(of));
        Ok(())
    }

    fn refused(&self, room: &str, owed: &Owed, object: &Value, journal: &Journal) -> Checked {
        let mut states = journal.since(room, owed.sent);
        if let (true, Ok(epoch)) = (owed.asked.needs_a_seat(), self.epoch(room)) {
            // It may have been said of the room that this connection was in, which was another or is gone.
            states.extend(journal.of_epoch_since(&epoch, owed.sent).into_iter().map(Some));
            states.extend(journal.life(&epoch).filter(|(_, gone)| *gone).map(|_| None));
        }
        let fits = |state: &Option<std::sync::Arc<Timeline>>| {
            let role = state.as_ref().and_then(|state| state.role(self.user));
            match (object["code"].as_str(), state, role) {
                (Some("not_found"), _, None) => true,
                (Some("not_found"), Some(state), _) => owed.asked.misses(state),
                (Some("not_joined"), _, Some(_)) => {
                    owed.asked.needs_a_seat() && !self.stints.contains_key(room)
                }
                (Some("forbidden"), Some(state), Some(role)) => owed.asked.exceeds(self.user, role, state),
                _ => false,
            }
        };
        ensure!(states.iter().any(fits), "there never was a reason to refuse this: {states:?}");
        Ok(())
    }
}

impl Stint {
    /// Whether what has come so far leaves the right to what comes next.
    ///
    /// Rights may have been read later than the end that `joined` told of: a right that had ended and come again by
    /// then did not end for this stint.
    fn right(&self, user: &str, journal: &Journal) -> Checked<bool> {
        let states = journal.of_epoch_since(&self.epoch, 0);
        let newest = states.last().ok_or("no such incarnation")?;
        let again = |ended: u64| {
            let later =
                |state: &&std::sync::Arc<Timeline>| ended < state.last() && state.last() <= self.known;
            states.iter().filter(later).any(|state| state.role(user).is_some())
        };
        let ended = newest.endings.iter().filter(|ending| ending.user == user);
        let ended = ended.filter(|ending| ending.seq > self.replay_until && ending.seq <= self.position);
        Ok(ended.map(|ending| ending.seq).all(again))
    }
}

fn text<'a>(object: &'a Value, field: &str) -> Checked<&'a str> {
    object[field].as_str().ok_or_else(|| format!("{field} is missing"))
}

fn number(object: &Value, field: &str) -> Checked<u64> {
    object[field].as_u64().ok_or_else(|| format!("{field} is missing"))
}
