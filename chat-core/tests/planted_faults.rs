//! The conformance suite is itself tested: each fault that is planted in a sound store turns the case red that is
//! there for it.

#![expect(clippy::unwrap_used, reason = "this file is a test")]

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use chat_core::{
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, Json, Message},
    rights::{Actor, Authority, Role},
    store::{
        Append, Appended, BoxFuture, Change, Committed, Created, Member, MemoryStore, NewRoom, NoPage,
        Outcomes, Page, PageQuery, ReadMark, Refused, RoomView, Store, StoreError,
    },
    testing::conformance,
};

/// What a fault does to whatever goes into the store and comes out of it.
#[derive(Clone, Copy)]
struct Fault {
    /// The case that must turn red.
    case: &'static str,
    batch: fn(&mut Vec<Append>),
    outcomes: fn(&mut Outcomes),
    new_room: fn(&mut NewRoom, &mut u64),
    delete: fn(&mut RoomNo),
    trim: fn(&mut Seq),
    marks: fn(&mut Vec<ReadMark>),
    query: fn(&mut PageQuery),
    /// Also gets what was committed to any room, ever.
    page: fn(&mut Result<Page, NoPage>, &[Committed]),
    view: fn(&mut RoomView),
    rooms: fn(&mut Option<RoomId>, &mut usize),
    members: fn(&mut Vec<Member>),
    ends: fn(&mut Vec<Option<Seq>>),
}

const SOUND: Fault = Fault {
    case: "",
    batch: |_| (),
    outcomes: |_| (),
    new_room: |_, _| (),
    delete: |_| (),
    trim: |_| (),
    marks: |_| (),
    query: |_| (),
    page: |_, _| (),
    view: |_| (),
    rooms: |_, _| (),
    members: |_| (),
    ends: |_| (),
};

#[derive(Clone)]
struct Planted {
    inner: MemoryStore,
    fault: Fault,
    committed: Arc<Mutex<Vec<Committed>>>,
}

impl std::fmt::Debug for Planted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Planted")
    }
}

impl Store for Planted {
    fn append(&self, mut batch: Vec<Append>) -> BoxFuture<'_, Result<Outcomes, StoreError>> {
        (self.fault.batch)(&mut batch);
        Box::pin(async {
            let mut outcomes = self.inner.append(batch).await?;
            for outcome in &outcomes {
                if let Ok(Appended::New(committed)) = outcome {
                    self.committed.lock().unwrap().push(committed.clone());
                }
            }
            (self.fault.outcomes)(&mut outcomes);
            Ok(outcomes)
        })
    }

    fn create_room(
        &self,
        mut room: NewRoom,
        mut rooms_max: u64,
    ) -> BoxFuture<'_, Result<Created, StoreError>> {
        (self.fault.new_room)(&mut room, &mut rooms_max);
        self.inner.create_room(room, rooms_max)
    }

    fn delete_room(
        &self,
        mut room: RoomNo,
        actor: Actor,
    ) -> BoxFuture<'_, Result<Result<(), Refused>, StoreError>> {
        (self.fault.delete)(&mut room);
        self.inner.delete_room(room, actor)
    }

    fn trim(&self, room: RoomNo, mut first: Seq) -> BoxFuture<'_, Result<Option<Seq>, StoreError>> {
        (self.fault.trim)(&mut first);
        self.inner.trim(room, first)
    }

    fn save_read_marks(&self, mut marks: Vec<ReadMark>) -> BoxFuture<'_, Result<(), StoreError>> {
        (self.fault.marks)(&mut marks);
        self.inner.save_read_marks(marks)
    }

    fn room(&self, id: RoomId, user: UserId) -> BoxFuture<'_, Result<Option<RoomView>, StoreError>> {
        Box::pin(async {
            let mut view = self.inner.room(id, user).await?;
            view.iter_mut().for_each(self.fault.view);
            Ok(view)
        })
    }

    fn rooms(
        &self,
        user: UserId,
        mut after: Option<RoomId>,
        mut limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomView>, StoreError>> {
        (self.fault.rooms)(&mut after, &mut limit);
        self.inner.rooms(user, after, limit)
    }

    fn members(
        &self,
        room: RoomNo,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        Box::pin(async move {
            let mut members = self.inner.members(room, after, limit).await?;
            (self.fault.members)(&mut members);
            Ok(members)
        })
    }

    fn ends(&self, rooms: Vec<RoomNo>) -> BoxFuture<'_, Result<Vec<Option<Seq>>, StoreError>> {
        Box::pin(async {
            let mut ends = self.inner.ends(rooms).await?;
            (self.fault.ends)(&mut ends);
            Ok(ends)
        })
    }

    fn page(&self, mut query: PageQuery) -> BoxFuture<'_, Result<Result<Page, NoPage>, StoreError>> {
        (self.fault.query)(&mut query);
        Box::pin(async {
            let mut page = self.inner.page(query).await?;
            (self.fault.page)(&mut page, &self.committed.lock().unwrap());
            Ok(page)
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.ping()
    }
}

fn messages(page: &mut Result<Page, NoPage>) -> impl Iterator<Item = (Seq, &mut Message)> {
    events(page).filter_map(|event| match &mut event.body {
        EventBody::Message(message) => Some((event.seq, message)),
        _ => None,
    })
}

fn events(page: &mut Result<Page, NoPage>) -> impl Iterator<Item = &mut Event> {
    page.iter_mut().flat_map(|page| &mut page.events)
}

fn drafts(batch: &mut [Append]) -> impl Iterator<Item = &mut chat_core::Draft> {
    batch.iter_mut().filter_map(|item| match &mut item.change {
        Change::Message(draft) => Some(draft),
        _ => None,
    })
}

const WRITING: &[Fault] = &[
    Fault {
        case: "numbers_are_dense_from_one",
        outcomes: |outcomes| {
            for outcome in outcomes {
                if let Ok(Appended::New(committed)) = outcome
                    && committed.event().seq > Seq(2)
                {
                    let event = Event { seq: committed.event().seq.next(), ..(**committed.event()).clone() };
                    *committed = Committed::new(committed.room(), event);
                }
            }
        },
        ..SOUND
    },
    Fault {
        case: "refused_items_leave_no_trace_and_take_no_number",
        batch: |batch| batch.iter_mut().for_each(|item| item.actor.authority = Authority::Host),
        ..SOUND
    },
    Fault { case: "refused_items_leave_no_trace_and_take_no_number", outcomes: |all| all.reverse(), ..SOUND },
    Fault { case: "an_edit_sees_the_one_before_it", batch: |batch| batch.reverse(), ..SOUND },
    Fault {
        case: "a_key_sent_again_finds_the_first",
        batch: |batch| drafts(batch).for_each(|draft| draft.key = None),
        ..SOUND
    },
    Fault {
        case: "a_key_sent_again_finds_the_first",
        outcomes: |outcomes| {
            for outcome in outcomes {
                if let Ok(Appended::Duplicate { at, .. }) = outcome {
                    *at = Timestamp(0);
                }
            }
        },
        ..SOUND
    },
    Fault {
        case: "keys_are_compared_byte_for_byte",
        batch: |batch| {
            drafts(batch).flat_map(|draft| &mut draft.key).for_each(|key| key.make_ascii_lowercase());
        },
        ..SOUND
    },
    Fault {
        case: "a_required_role_is_judged",
        batch: |batch| batch.iter_mut().for_each(|item| item.require.role = Role::Member),
        ..SOUND
    },
    Fault {
        case: "a_required_version_is_judged",
        batch: |batch| batch.iter_mut().for_each(|item| item.require.version = None),
        ..SOUND
    },
    Fault {
        case: "texts_are_kept_byte_for_byte",
        batch: |batch| {
            for draft in drafts(batch) {
                draft.text = draft.text.split('\0').next().unwrap_or_default().into();
            }
        },
        ..SOUND
    },
    Fault { case: "a_store_is_full_at_the_bound", new_room: |_, rooms_max| *rooms_max = u64::MAX, ..SOUND },
    Fault {
        case: "a_room_made_again_is_another_room",
        new_room: |room, _| room.epoch = Epoch::from_text(room.id.as_str()),
        ..SOUND
    },
    Fault {
        case: "first_members_are_its_first_events",
        new_room: |room, _| room.members.sort_by(|a, b| a.0.cmp(&b.0)),
        ..SOUND
    },
    Fault { case: "a_room_is_deleted_by_managers", delete: |room| *room = RoomNo(u64::MAX), ..SOUND },
    Fault { case: "trim_goes_forward_up_to_the_end", trim: |first| *first = first.next(), ..SOUND },
    Fault { case: "trim_goes_forward_up_to_the_end", trim: |first| *first = first.prev(), ..SOUND },
    Fault {
        case: "a_read_mark_moves_only_forward",
        marks: |marks| drop(marks.drain(..marks.len().saturating_sub(1))),
        ..SOUND
    },
    Fault { case: "read_marks_of_unknown_rooms_are_passed_over", marks: |marks| marks.truncate(1), ..SOUND },
];

const READING: &[Fault] = &[
    Fault {
        case: "a_thousand_items_are_one_batch",
        page: |page, _| {
            if let Ok(page) = page {
                page.events.retain(|event| event.seq.0 % 7 != 0);
            }
        },
        ..SOUND
    },
    Fault {
        case: "a_deleted_text_comes_back_from_no_read",
        page: |page, committed| {
            for (seq, message) in messages(page).filter(|(_, message)| message.is_deleted()) {
                let written = committed.iter().map(Committed::event).find(|event| event.seq == seq);
                if let Some(EventBody::Message(written)) = written.map(|event| &event.body) {
                    message.text.clone_from(&written.text);
                }
            }
        },
        ..SOUND
    },
    Fault {
        case: "a_deleted_text_comes_back_from_no_read",
        page: |page, committed| {
            for event in events(page) {
                let written = committed.iter().map(Committed::event).find(|written| written.seq == event.seq);
                if let (EventBody::Edited { text, .. }, Some(written)) = (&mut event.body, written)
                    && let EventBody::Edited { text: written, .. } = &written.body
                {
                    text.clone_from(written);
                }
            }
        },
        ..SOUND
    },
    Fault {
        case: "a_removed_member_reads_up_to_the_removal",
        query: |query| query.reader.iter_mut().for_each(|reader| reader.authority = Authority::Host),
        ..SOUND
    },
    Fault {
        case: "every_page_stops_where_the_right_ended",
        page: |page, _| page.iter_mut().for_each(|page| page.end = None),
        ..SOUND
    },
    Fault {
        case: "a_banned_user_reads_up_to_the_ban",
        page: |page, _| {
            if matches!(page, Ok(Page { end: Some(_), .. })) {
                *page = Err(NoPage::Unreadable);
            }
        },
        ..SOUND
    },
    Fault {
        case: "who_never_might_read_gets_no_page",
        page: |page, _| {
            if *page == Err(NoPage::Unreadable) {
                let (first_seq, last_seq, end) = (Seq(1), Seq(3), Some(Seq::ZERO));
                *page = Ok(Page { events: Vec::new(), more: false, first_seq, last_seq, end });
            }
        },
        ..SOUND
    },
    Fault {
        case: "a_page_holds_what_a_naive_reading_finds",
        page: |page, _| page.iter_mut().for_each(|page| page.more = true),
        ..SOUND
    },
    Fault {
        case: "more_speaks_of_the_kinds_asked_for",
        page: |page, _| page.iter_mut().for_each(|page| page.more = false),
        ..SOUND
    },
    Fault {
        case: "pages_in_a_row_miss_nothing",
        page: |page, _| page.iter_mut().for_each(|page| page.events.reverse()),
        ..SOUND
    },
    Fault {
        case: "a_page_holds_what_a_naive_reading_finds",
        query: |query| query.limit = query.limit.saturating_add(1),
        ..SOUND
    },
    Fault { case: "a_page_ends_at_its_bytes", query: |query| query.bytes = usize::MAX, ..SOUND },
    Fault { case: "more_speaks_of_the_kinds_asked_for", query: |query| query.kinds.clear(), ..SOUND },
    Fault {
        case: "a_page_without_a_reader_has_no_reactions",
        query: |query| {
            let host = || Actor { user: UserId::new("host").unwrap(), authority: Authority::Host };
            query.reader.get_or_insert_with(host);
        },
        ..SOUND
    },
    Fault {
        case: "reactions_are_counted_for_each_reader",
        page: |page, _| {
            messages(page).flat_map(|(_, message)| &mut message.reactions).for_each(|one| one.me = false);
        },
        ..SOUND
    },
    Fault {
        case: "reactions_are_sorted_and_compared_byte_for_byte",
        page: |page, _| messages(page).for_each(|(_, message)| message.reactions.reverse()),
        ..SOUND
    },
    Fault {
        case: "an_edit_shows_in_its_message",
        page: |page, _| messages(page).for_each(|(_, message)| message.edited_at = None),
        ..SOUND
    },
    Fault {
        case: "meta_is_kept_byte_for_byte",
        page: |page, _| {
            for meta in messages(page).flat_map(|(_, message)| &mut message.meta) {
                *meta = Json::parse(&meta.as_str().replace(char::is_whitespace, "")).unwrap();
            }
        },
        ..SOUND
    },
    Fault {
        case: "names_topics_and_states_are_kept_byte_for_byte",
        view: |view| view.room.name = view.room.name.trim().into(),
        ..SOUND
    },
    Fault {
        case: "unread_are_others_messages_after_the_mark",
        view: |view| view.unread = view.room.last_seq.0.saturating_sub(view.read.0),
        ..SOUND
    },
    Fault { case: "unread_are_counted_up_to_a_bound", view: |view| view.unread *= 2, ..SOUND },
    Fault { case: "the_list_comes_in_pages_in_order_of_ids", rooms: |after, _| *after = None, ..SOUND },
    Fault { case: "the_list_comes_in_pages_in_order_of_ids", rooms: |_, limit| *limit = usize::MAX, ..SOUND },
    Fault { case: "members_come_in_pages_in_order_of_ids", members: |members| members.reverse(), ..SOUND },
    Fault { case: "ends_come_in_the_order_asked", ends: |ends| ends.sort(), ..SOUND },
    Fault {
        case: "numbers_are_dense_from_one",
        ends: |ends| ends.iter_mut().flatten().for_each(|seq| *seq = seq.prev()),
        ..SOUND
    },
];

async fn turn_red(faults: &[Fault]) {
    for (n, &fault) in faults.iter().enumerate() {
        let (inner, committed) = (MemoryStore::new, Arc::default);
        let failed =
            conformance::failures(|| ready(Planted { inner: inner(), fault, committed: committed() })).await;
        assert!(failed.contains(&fault.case), "fault {n} is not seen by {}, only by {failed:?}", fault.case);
    }
}

#[tokio::test]
async fn a_wrapper_without_a_fault_is_sound() {
    let committed = Arc::default;
    conformance::run(|| ready(Planted { inner: MemoryStore::new(), fault: SOUND, committed: committed() }))
        .await;
}

#[tokio::test]
async fn every_fault_of_writing_turns_its_case_red() {
    turn_red(WRITING).await;
}

#[tokio::test]
async fn every_fault_of_reading_turns_its_case_red() {
    turn_red(READING).await;
}
