//! Random batches over the reference store, against a model that keeps nothing but the events and answers every
//! question by going through all of them. It shares no rule with `store::judge`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this file is a test")]

use std::sync::Arc;

use chat_core::{
    Draft,
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, HistoryFrom, MemberChange, RoomPatch},
    rights::{Actor, Authority, Role, Standing, Visibility},
    store::{
        Append, Appended, Change, Created, MemoryStore, NewRoom, NoPage, PageQuery, Refused, Require,
        RoomKind, Store,
    },
};
use proptest::prelude::*;

const USERS: [&str; 4] = ["ann", "bob", "cat", "dan"];
const ROLES: [Role; 4] = [Role::Member, Role::Operator, Role::Manager, Role::Admin];

fn user(n: usize) -> UserId {
    UserId::new(USERS[n]).unwrap()
}

/// What the model expects of an item.
#[derive(Debug, PartialEq)]
enum Expected {
    New,
    Was(Seq),
    No(Refused),
}

/// One room: as it was made, and every event since.
struct Model {
    no: RoomNo,
    visibility: Visibility,
    events: Vec<Arc<Event>>,
}

impl Model {
    /// The event bodies up to a number, newest first.
    fn back_from(&self, last: Seq) -> impl Iterator<Item = &Event> {
        self.events.iter().rev().map(|event| &**event).filter(move |event| event.seq <= last)
    }

    fn visibility(&self, at: Seq) -> Visibility {
        let turned =
            |event: &Event| if let EventBody::Room(patch) = &event.body { patch.visibility } else { None };
        self.back_from(at).find_map(turned).unwrap_or(self.visibility)
    }

    fn standing(&self, who: &UserId, at: Seq) -> Standing {
        let change = self.back_from(at).find_map(|event| match &event.body {
            EventBody::Member { user, change } if user == who => Some(*change),
            _ => None,
        });
        match change {
            Some(MemberChange::Added(role) | MemberChange::Role(role)) => Standing::Member(role),
            Some(MemberChange::Banned) => Standing::Banned,
            Some(MemberChange::Removed) | None => Standing::Outsider,
        }
    }

    fn reads(&self, who: &UserId, at: Seq) -> bool {
        match self.standing(who, at) {
            Standing::Member(_) => true,
            Standing::Outsider => self.visibility(at) == Visibility::Public,
            Standing::Banned => false,
        }
    }

    fn last(&self) -> Seq {
        Seq(self.events.len() as u64)
    }

    fn role(&self, actor: &Actor) -> Option<Role> {
        let Authority::User(server) = actor.authority else { return Some(Role::Admin) };
        let room = match self.standing(&actor.user, self.last()) {
            Standing::Member(role) => role,
            _ => Role::Member,
        };
        self.reads(&actor.user, self.last()).then_some(room.max(server))
    }

    /// Where the right to read ended: `Ok(None)` where it has not, `Err` where there never was one.
    fn end(&self, who: &UserId) -> Result<Option<Seq>, NoPage> {
        let last = self.last();
        if self.reads(who, last) {
            return Ok(None);
        }
        let lost =
            (1..=last.0).rev().map(Seq).find(|seq| self.reads(who, seq.prev()) && !self.reads(who, *seq));
        lost.map(Some).ok_or(NoPage::Unreadable)
    }

    /// The author and the newest text of a message, and the event that brought that text.
    fn message(&self, target: Seq) -> Option<(&UserId, Option<&str>, Seq)> {
        let sent = self.events.iter().find(|event| event.seq == target)?;
        let EventBody::Message(message) = &sent.body else { return None };
        let newest = self.back_from(self.last()).find_map(|event| match &event.body {
            EventBody::Deleted { target: of } if *of == target => Some((None, event.seq)),
            EventBody::Edited { target: of, text } if *of == target => Some((text.as_deref(), event.seq)),
            _ => None,
        });
        let (text, seq) = newest.unwrap_or((message.text.as_deref(), target));
        Some((&sent.from, text, seq))
    }

    fn expect(&self, item: &Append) -> Expected {
        let Some(role) = self.role(&item.actor) else { return Expected::No(Refused::NoRoom) };
        if role < item.require.role {
            return Expected::No(Refused::Forbidden);
        }
        if let Change::Message(Draft { key: Some(key), .. }) = &item.change {
            let sent = |event: &&Arc<Event>| {
                event.from == item.actor.user
                    && matches!(&event.body, EventBody::Message(message) if message.key.as_ref() == Some(key))
            };
            if let Some(first) = self.events.iter().find(sent) {
                return Expected::Was(first.seq);
            }
        }
        let version =
            self.events.iter().filter(|event| matches!(event.body, EventBody::Room(_))).count() as u64;
        if item.require.version.is_some_and(|required| required != version) {
            return Expected::No(Refused::Conflict(version));
        }
        self.expect_change(item, role)
    }

    fn expect_change(&self, item: &Append, role: Role) -> Expected {
        let me = &item.actor.user;
        match &item.change {
            Change::Message(draft) => match draft.reply_to.map(|target| self.message(target)) {
                Some(None) => Expected::No(Refused::NoTarget),
                _ => Expected::New,
            },
            Change::Edit { target, text } => match self.message(*target) {
                None | Some((_, None, _)) => Expected::No(Refused::NoTarget),
                Some((author, ..)) if author != me => Expected::No(Refused::Forbidden),
                Some((_, now, seq)) if now == Some(text) => Expected::Was(seq),
                Some(_) => Expected::New,
            },
            Change::Delete { target } => match self.message(*target) {
                None | Some((_, None, _)) => Expected::No(Refused::NoTarget),
                Some((author, ..)) if author != me && role < Role::Manager => {
                    Expected::No(Refused::Forbidden)
                }
                Some(_) => Expected::New,
            },
            Change::React { target, emoji, remove } => self.expect_reaction(me, *target, emoji, *remove),
            Change::Member { user, standing } => self.expect_member(me, role, user, *standing),
            Change::Room(patch) => self.expect_patch(role, patch),
            other => panic!("the model does not know {other:?}"),
        }
    }

    fn expect_reaction(&self, me: &UserId, target: Seq, emoji: &str, remove: bool) -> Expected {
        let Some((_, Some(_), _)) = self.message(target) else { return Expected::No(Refused::NoTarget) };
        let last = self.back_from(self.last()).find_map(|event| match &event.body {
            EventBody::Reaction { target: of, emoji: which, remove }
                if *of == target && **which == *emoji && event.from == *me =>
            {
                Some((*remove, event.seq))
            }
            _ => None,
        });
        match last.unwrap_or((true, target)) {
            (removed, seq) if removed == remove => Expected::Was(seq),
            _ => Expected::New,
        }
    }

    fn expect_member(&self, me: &UserId, role: Role, user: &UserId, standing: Standing) -> Expected {
        let before = self.standing(user, self.last());
        let higher = |standing| matches!(standing, Standing::Member(other) if other > role);
        let leaves = me == user && standing == Standing::Outsider;
        if !leaves && (role < Role::Manager || higher(before) || higher(standing)) {
            return Expected::No(Refused::Forbidden);
        }
        if before == standing { Expected::Was(self.last()) } else { Expected::New }
    }

    fn expect_patch(&self, role: Role, patch: &RoomPatch) -> Expected {
        let named =
            |event: &Event| if let EventBody::Room(patch) = &event.body { patch.name.clone() } else { None };
        let name = self.back_from(self.last()).find_map(named).unwrap_or_else(|| "A room".into());
        let renamed = patch.name.as_ref().is_some_and(|new| *new != name);
        let turned = patch.visibility.is_some_and(|new| new != self.visibility(self.last()));
        match (role >= Role::Manager, renamed || turned) {
            (false, _) => Expected::No(Refused::Forbidden),
            (true, false) => Expected::Was(self.last()),
            (true, true) => Expected::New,
        }
    }
}

fn authority() -> impl Strategy<Value = Authority> {
    prop_oneof![
        8 => Just(Authority::User(Role::Member)),
        1 => proptest::sample::select(&ROLES[..]).prop_map(Authority::User),
        1 => Just(Authority::Host),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let target = || (0..24_u64).prop_map(Seq);
    let text = || proptest::sample::select(&["a", "b", "c"][..]).prop_map(Box::<str>::from);
    let standing = prop_oneof![
        3 => proptest::sample::select(&ROLES[..]).prop_map(Standing::Member),
        2 => Just(Standing::Outsider),
        1 => Just(Standing::Banned),
    ];
    let visibility = proptest::option::of(prop_oneof![Just(Visibility::Public), Just(Visibility::Private)]);
    let draft = (text(), proptest::option::of(text()), proptest::option::weighted(0.2, target()));
    prop_oneof![
        4 => draft.prop_map(|(text, key, reply_to)| {
            let mut draft = Draft::text(text);
            (draft.key, draft.reply_to) = (key, reply_to);
            Change::Message(draft)
        }),
        3 => (target(), text()).prop_map(|(target, text)| Change::Edit { target, text }),
        1 => target().prop_map(|target| Change::Delete { target }),
        3 => (target(), text(), any::<bool>())
            .prop_map(|(target, emoji, remove)| Change::React { target, emoji, remove }),
        3 => (0..USERS.len(), standing).prop_map(|(n, standing)| Change::Member { user: user(n), standing }),
        1 => (proptest::option::of(text()), visibility)
            .prop_map(|(name, visibility)| Change::Room(RoomPatch { name, visibility, ..RoomPatch::default() })),
    ]
}

/// An item for room 0 or 1.
fn item() -> impl Strategy<Value = (usize, Append)> {
    let role = proptest::option::weighted(0.1, proptest::sample::select(&ROLES[..]));
    let version = proptest::option::weighted(0.1, 0..4_u64);
    (0..2_usize, 0..USERS.len(), authority(), change(), role, version, 0..1_000_i64).prop_map(
        |(room, who, authority, change, role, version, at)| {
            let mut require = Require::default();
            (require.role, require.version) = (role.unwrap_or_default(), version);
            let actor = Actor { user: user(who), authority };
            (room, Append { room: RoomNo(0), actor, at: Timestamp(at), change, require })
        },
    )
}

async fn room(store: &MemoryStore, id: &str, visibility: Visibility) -> Model {
    let new = NewRoom {
        id: RoomId::new(id).unwrap(),
        epoch: Epoch::from_random(0),
        kind: RoomKind::Group,
        visibility,
        name: "A room".into(),
        topic: "".into(),
        creator: user(0),
        members: vec![(user(0), Role::Manager), (user(1), Role::Member)],
        at: Timestamp(0),
    };
    let Created::New(record) = store.create_room(new, 2).await.unwrap() else {
        panic!("the store was empty")
    };
    let query = PageQuery { limit: 2, ..whole(record.no, None) };
    let first = store.page(query).await.unwrap().unwrap().events;
    Model { no: record.no, visibility, events: first.into_iter().map(Arc::new).collect() }
}

fn whole(room: RoomNo, reader: Option<Actor>) -> PageQuery {
    let (from, kinds) = (HistoryFrom::After(Seq::ZERO), Vec::new());
    PageQuery { room, reader, from, limit: usize::MAX, bytes: usize::MAX, kinds }
}

async fn batches_do_what_the_model_expects(batches: Vec<Vec<(usize, Append)>>) {
    let store = MemoryStore::new();
    let mut rooms = [
        room(&store, "public", Visibility::Public).await,
        room(&store, "private", Visibility::Private).await,
    ];
    for mut batch in batches {
        for (room, item) in &mut batch {
            item.room = rooms[*room].no;
        }
        let outcomes = store.append(batch.iter().map(|(_, item)| item.clone()).collect()).await.unwrap();
        for ((room, item), outcome) in batch.into_iter().zip(outcomes) {
            let model = &mut rooms[room];
            let expected = model.expect(&item);
            let got = match outcome {
                Err(refused) => Expected::No(refused),
                Ok(Appended::Duplicate { seq, .. }) => Expected::Was(seq),
                Ok(Appended::New(committed)) => {
                    assert_eq!(committed.event().seq, model.last().next());
                    model.events.push(Arc::clone(committed.event()));
                    Expected::New
                }
            };
            assert_eq!(got, expected, "{item:?}");
        }
    }
    for model in &rooms {
        assert_eq!(store.ends(vec![model.no]).await.unwrap(), [Some(model.last())]);
        for who in (0..USERS.len()).map(user) {
            let reader = Actor { user: who.clone(), authority: Authority::User(Role::Member) };
            let page = store.page(whole(model.no, Some(reader))).await.unwrap();
            let end = model.end(&who);
            assert_eq!(page.as_ref().map(|page| page.end).map_err(|none| *none), end, "{who}");
            let Ok(page) = page else { continue };
            let readable = end.unwrap().unwrap_or_else(|| model.last());
            assert_eq!(page.events.len() as u64, readable.0);
            for event in page.events {
                let EventBody::Message(message) = event.body else { continue };
                assert_eq!(message.text.as_deref(), model.message(event.seq).unwrap().1);
            }
        }
    }
}

proptest! {
    #[test]
    fn random_batches_do_what_the_model_expects(
        batches in prop::collection::vec(prop::collection::vec(item(), 1..12), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(batches_do_what_the_model_expects(batches));
    }
}
