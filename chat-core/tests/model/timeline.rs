//! A room as the rules say it is, in plain vectors: what the engine is held against.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use chat_core::{
    protocol::{Event, EventBody, MemberChange},
    rights::{Role, Standing, Visibility},
};
use serde_json::{Map, Value, json};

/// The manager of every room: acts beside connections only, and nobody ever changes its standing.
pub(crate) const HOST: &str = "zoe";

/// One incarnation of a room after some event.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    pub(crate) epoch: String,
    /// The oldest number kept.
    pub(crate) first: u64,
    /// Every event ever, by number from 1, those too that are kept no longer.
    entries: Vec<Arc<Entry>>,
    public: bool,
    standings: BTreeMap<String, Standing>,
    /// Where somebody's right to read ended.
    pub(crate) endings: Vec<Ending>,
}

/// An event after which somebody may not read any more.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) seq: u64,
    pub(crate) user: String,
    pub(crate) reason: &'static str,
}

/// An event, with what became of it since.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) from: String,
    pub(crate) at: i64,
    pub(crate) target: Option<u64>,
    pub(crate) key: Option<String>,
    /// What never changes about it, as it stands on the wire.
    fixed: Map<String, Value>,
    /// The text and meta with which it was committed.
    said: (Option<String>, Option<Value>),
    /// Its text as it now is.
    pub(crate) text: Option<String>,
    pub(crate) deleted: bool,
    edited_at: Option<i64>,
    reactions: BTreeMap<String, BTreeSet<String>>,
}

/// As it now is, for nobody.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown("").fmt(f)
    }
}

impl Entry {
    fn new(event: &Event) -> Self {
        let body = serde_json::to_value(event).expect("an event is JSON");
        let mut fixed = body.as_object().cloned().expect("an event is an object");
        let text = fixed.remove("text").and_then(|text| text.as_str().map(str::to_owned));
        let meta = fixed.remove("meta");
        let key = fixed.get("key").and_then(Value::as_str).map(str::to_owned);
        Self {
            kind: event.body.kind().as_str(),
            from: event.from.to_string(),
            at: event.at.0,
            target: event.body.target().map(|seq| seq.0),
            key,
            fixed,
            said: (text.clone(), meta),
            text,
            deleted: false,
            edited_at: None,
            reactions: BTreeMap::new(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> &Value {
        self.fixed.get(name).unwrap_or(&Value::Null)
    }

    /// Whether it is a message that can be changed.
    pub(crate) fn is_open(&self) -> bool {
        self.kind == "message" && !self.deleted
    }

    /// As it went live.
    pub(crate) fn live(&self) -> Value {
        let mut map = self.fixed.clone();
        let (text, meta) = self.said.clone();
        map.extend(text.map(|text| ("text".into(), text.into())));
        map.extend(meta.map(|meta| ("meta".into(), meta)));
        map.into()
    }

    /// As it went live, without its text.
    pub(crate) fn redacted(&self) -> Value {
        let mut map = self.fixed.clone();
        map.insert("deleted".into(), true.into());
        map.into()
    }

    /// As it now is, for this reader: in pages and replays.
    pub(crate) fn shown(&self, reader: &str) -> Value {
        let mut map = self.fixed.clone();
        if self.deleted {
            map.insert("deleted".into(), true.into());
        } else {
            let meta = self.said.1.clone();
            map.extend(self.text.as_deref().map(|text| ("text".into(), text.into())));
            map.extend(meta.map(|meta| ("meta".into(), meta)));
        }
        map.extend(self.edited_at.map(|at| ("edited_at".into(), at.into())));
        let reactions = self.reactions.iter().filter(|(_, users)| !users.is_empty());
        let reactions: Map<String, Value> = reactions
            .map(|(emoji, users)| {
                (emoji.clone(), json!({ "count": users.len(), "me": users.contains(reader) }))
            })
            .collect();
        if !reactions.is_empty() {
            map.insert("reactions".into(), reactions.into());
        }
        map.into()
    }

    /// What it counts against the bytes of a page.
    fn weight_bytes(&self) -> usize {
        let meta = self.said.1.as_ref().filter(|_| !self.deleted);
        self.text.as_ref().map_or(0, String::len) + meta.map_or(0, |meta| meta.to_string().len())
    }
}

/// A page to be read.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) from: From,
    pub(crate) limit: usize,
    pub(crate) bytes: usize,
    pub(crate) kinds: Vec<&'static str>,
}

/// Where a page starts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From {
    Newest,
    Before(u64),
    After(u64),
}

impl Timeline {
    pub(crate) fn new(epoch: &str, visibility: Visibility) -> Self {
        Self {
            epoch: epoch.to_owned(),
            first: 1,
            entries: Vec::new(),
            public: visibility == Visibility::Public,
            standings: BTreeMap::new(),
            endings: Vec::new(),
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The event of this number, kept or not.
    pub(crate) fn entry(&self, seq: u64) -> Option<&Entry> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.entries.get(index).map(|entry| &**entry)
    }

    /// The event of this number, where it is kept.
    pub(crate) fn kept(&self, seq: u64) -> Option<&Entry> {
        self.entry(seq).filter(|_| seq >= self.first)
    }

    /// The messages that are kept.
    pub(crate) fn messages(&self) -> Vec<u64> {
        (self.first..=self.last()).filter(|seq| self.entry(*seq).is_some_and(Entry::is_open)).collect()
    }

    /// The role of a user; `None` where the room does not exist for them.
    pub(crate) fn role(&self, user: &str) -> Option<Role> {
        match self.standings.get(user).copied().unwrap_or_default() {
            Standing::Banned => None,
            Standing::Member(role) => Some(role),
            Standing::Outsider => self.public.then_some(Role::Member),
        }
    }

    /// What is wrong about this event coming next; it is taken all the same.
    pub(crate) fn take(&mut self, event: &Event) -> Result<(), String> {
        let judged = self.judge(event);
        let seq = event.seq.0;
        let users: BTreeSet<String> = self.standings.keys().cloned().chain(everybody()).collect();
        let readers = |room: &Self| -> BTreeSet<String> {
            users.iter().filter(|user| room.role(user).is_some()).cloned().collect()
        };
        let before = readers(self);
        self.entries.push(Arc::new(Entry::new(event)));
        let mut reason = "removed";
        match &event.body {
            EventBody::Edited { target, text } => self.change(target.0, |entry| {
                entry.text = text.as_deref().map(str::to_owned);
                entry.edited_at = Some(event.at.0);
            }),
            EventBody::Deleted { target } => self.delete(target.0),
            EventBody::Reaction { target, emoji, remove } => self.change(target.0, |entry| {
                let users = entry.reactions.entry(emoji.to_string()).or_default();
                let from = event.from.to_string();
                if *remove {
                    users.remove(&from)
                } else {
                    users.insert(from)
                };
            }),
            EventBody::Member { user, change } => {
                let standing = match change {
                    MemberChange::Added(role) | MemberChange::Role(role) => Standing::Member(*role),
                    MemberChange::Removed => Standing::Outsider,
                    MemberChange::Banned => Standing::Banned,
                };
                if standing == Standing::Banned {
                    reason = "banned";
                }
                self.standings.insert(user.to_string(), standing);
            }
            EventBody::Room(patch) => {
                self.public = patch.visibility.map_or(self.public, |new| new == Visibility::Public);
            }
            _ => {}
        }
        let after = readers(self);
        let ended = before.difference(&after).map(|user| Ending { seq, user: user.clone(), reason });
        self.endings.extend(ended);
        judged
    }

    /// Drops what stands before `first`.
    pub(crate) fn trim(&mut self, first: u64) {
        self.first = first;
    }

    fn judge(&self, event: &Event) -> Result<(), String> {
        let (seq, from) = (event.seq.0, event.from.as_str());
        let made = seq == 1 && from == HOST;
        let role = self.role(from).or_else(|| made.then_some(Role::Manager));
        let author = |target: u64| self.kept(target).filter(|entry| entry.is_open()).map(|entry| &entry.from);
        let right = match &event.body {
            EventBody::Message(message) => {
                let key = message.key.as_deref();
                let taken = |entry: &Entry| entry.from == from && entry.key.as_deref() == key;
                let answered =
                    |target: chat_core::Seq| self.kept(target.0).is_some_and(|entry| entry.kind == "message");
                (key.is_none() || !(self.first..seq).filter_map(|seq| self.entry(seq)).any(taken))
                    && message.reply_to.is_none_or(answered)
            }
            EventBody::Edited { target, .. } => author(target.0).is_some_and(|author| author == from),
            EventBody::Deleted { target } => {
                author(target.0).is_some_and(|author| author == from || role >= Some(Role::Manager))
            }
            EventBody::Reaction { target, .. } => author(target.0).is_some(),
            _ => true,
        };
        if seq == self.last() + 1 && role.is_some() && right {
            Ok(())
        } else {
            Err(format!("committed against the rules, after {}: {event:?}", self.last()))
        }
    }

    fn change(&mut self, seq: u64, change: impl FnOnce(&mut Entry)) {
        let index = usize::try_from(seq - 1).expect("a test case has few events");
        if let Some(entry) = self.entries.get_mut(index) {
            change(Arc::make_mut(entry));
        }
    }

    fn delete(&mut self, target: u64) {
        for seq in 1..=self.last() {
            let entry = self.entry(seq);
            let edits = entry.is_some_and(|entry| entry.kind == "edited" && entry.target == Some(target));
            if edits || seq == target {
                self.change(seq, |entry| {
                    (entry.text, entry.deleted) = (None, true);
                    entry.reactions.clear();
                });
            }
        }
    }

    /// The numbers of the events of a page, oldest first, and whether there are more.
    pub(crate) fn page(&self, query: &Query) -> (Vec<u64>, bool) {
        let wanted = |seq: &u64| {
            let kind = self.entry(*seq).map_or("", |entry| entry.kind);
            query.kinds.is_empty() || query.kinds.contains(&kind)
        };
        let mut seqs: Vec<u64> = match query.from {
            From::Newest => (self.first..=self.last()).filter(wanted).rev().collect(),
            From::Before(seq) => (self.first..seq.min(self.last() + 1)).filter(wanted).rev().collect(),
            From::After(seq) => (self.first.max(seq + 1)..=self.last()).filter(wanted).collect(),
        };
        let mut bytes = 0;
        let fits = seqs.iter().filter_map(|seq| self.entry(*seq)).take(query.limit).enumerate();
        let count = fits
            .take_while(|(index, entry)| {
                bytes += entry.weight_bytes();
                *index == 0 || bytes <= query.bytes
            })
            .count();
        let more = count < seqs.len();
        seqs.truncate(count);
        seqs.sort_unstable();
        (seqs, more)
    }
}

fn everybody() -> impl Iterator<Item = String> {
    crate::plan::USERS.iter().map(|user| (*user).to_owned())
}
