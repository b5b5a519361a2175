//! Members: who may change whose standing, and what comes of it.

use super::stage::{
    Got::{New, No, Was},
    Stage, add, ban, earlier, host, message, on_server, private, public, remove, room_id, stand, user,
};
use crate::{
    ids::RoomNo,
    protocol::{EventBody, MemberChange},
    rights::{Role, Standing},
    store::{Change, Member, NewRoom, Refused, Store},
};

fn role(name: &str, role: Role) -> Change {
    stand(name, Standing::Member(role))
}

/// Each kind of change is the event it says, and the standing that follows from it.
pub async fn members_change_by_events(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let steps = [
        (add("cat"), MemberChange::Added(Role::Member)),
        (role("cat", Role::Operator), MemberChange::Role(Role::Operator)),
        (role("cat", Role::Manager), MemberChange::Role(Role::Manager)),
        (role("cat", Role::Member), MemberChange::Role(Role::Member)),
        (remove("cat"), MemberChange::Removed),
        (ban("cat"), MemberChange::Banned),
        (role("cat", Role::Manager), MemberChange::Added(Role::Manager)),
        (ban("cat"), MemberChange::Banned),
        (remove("cat"), MemberChange::Removed),
    ];
    for (change, said) in steps {
        let Change::Member { standing, .. } = change else { unreachable!("they are changes of members") };
        room.make("ann", change).await;
        let body = EventBody::Member { user: user("cat"), change: said };
        assert_eq!(room.timeline().last().map(|event| event.body.clone()), Some(body));
        assert_eq!(room.standing("cat").await, standing);
    }
    room.check().await;
}

/// Nobody makes another more than they are; a role on the server counts, and the host has no bound.
pub async fn a_role_is_granted_up_to_ones_own(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let forbidden = No(Refused::Forbidden);
    assert_eq!(room.one("ann", role("cat", Role::Admin)).await, forbidden);
    assert_eq!(room.one("ann", role("ann", Role::Admin)).await, forbidden);
    assert_eq!(room.one("ann", role("cat", Role::Manager)).await, New(3));
    assert_eq!(room.one(on_server("bob", Role::Manager), role("dan", Role::Admin)).await, forbidden);
    assert_eq!(room.one(on_server("bob", Role::Admin), role("dan", Role::Admin)).await, New(4));
    assert_eq!(room.one(host(), role("eve", Role::Admin)).await, New(5));
    room.check().await;
}

/// Nobody touches a member of a higher role.
pub async fn a_higher_member_is_out_of_reach(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make(host(), role("top", Role::Admin)).await;
    for change in [role("top", Role::Member), remove("top"), ban("top"), role("top", Role::Admin)] {
        assert_eq!(room.one("ann", change).await, No(Refused::Forbidden));
    }
    assert_eq!(room.one("top", remove("ann")).await, New(4));
    assert_eq!(room.one(host(), remove("top")).await, New(5));
    room.check().await;
}

/// Leaving needs no right.
pub async fn everybody_may_leave(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    assert_eq!(room.one("bob", remove("bob")).await, New(3));
    assert_eq!(room.standing("bob").await, Standing::Outsider);
    assert_eq!(room.one("bob", remove("bob")).await, No(Refused::NoRoom));
    assert_eq!(room.one("ann", remove("ann")).await, New(4));
    assert_eq!(store.members(room.no(), None, 10).await.unwrap(), []);
    room.check().await;
}

/// Members below a manager change nobody, themselves neither.
pub async fn members_are_changed_by_managers(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("ann", role("op", Role::Operator)).await;
    for who in ["bob", "op"] {
        for change in
            [add("cat"), ban("cat"), remove("ann"), role("bob", Role::Operator), add("op"), ban(who)]
        {
            assert_eq!(room.one(who, change.clone()).await, No(Refused::Forbidden), "{who} {change:?}");
        }
    }
    assert_eq!(room.one(on_server("bob", Role::Manager), remove("op")).await, New(4));
    let square = Stage::open(store, public("square")).await;
    assert_eq!(square.one("cat", add("cat")).await, No(Refused::Forbidden));
    assert_eq!(square.one(on_server("root", Role::Admin), add("cat")).await, New(1));
    room.check().await;
    square.check().await;
}

/// A standing that one has already is a duplicate of the newest event, whatever that is.
pub async fn the_standing_one_has_is_a_duplicate(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    assert_eq!(room.one("ann", add("bob")).await, Was(2));
    let between = room.by("ann", message("between"));
    room.append([between.clone()]).await;
    assert_eq!(earlier(store, room.by("ann", add("bob"))).await, (3, between.at));
    let batch = [add("bob"), role("ann", Role::Manager), remove("cat"), ban("dan"), ban("dan")];
    let batch = batch.map(|change| room.by("ann", change));
    assert_eq!(room.append(batch).await, [Was(3), Was(3), Was(3), New(4), Was(4)]);
    room.check().await;
}

/// A banned user is out of a public room, and in again once a manager lifts the ban.
pub async fn a_ban_shuts_out_until_it_is_lifted(store: &dyn Store) {
    let room = Stage::open(store, NewRoom { members: private("r").members, ..public("r") }).await;
    room.make("ann", ban("bob")).await;
    assert_eq!(room.standing("bob").await, Standing::Banned);
    for change in [message("still here"), remove("bob"), add("bob")] {
        assert_eq!(room.one("bob", change).await, No(Refused::NoRoom));
    }
    room.make("ann", remove("bob")).await;
    assert_eq!(room.standing("bob").await, Standing::Outsider);
    room.make("bob", message("here again")).await;
    room.make("ann", ban("bob")).await;
    room.make("ann", add("bob")).await;
    assert_eq!(room.standing("bob").await, Standing::Member(Role::Member));
    room.check().await;
}

/// Members are sorted by id; neither the removed nor the banned are among them.
pub async fn members_come_in_pages_in_order_of_ids(store: &dyn Store) {
    let names = ["zoe", "a-b", "a.b", "a_b", "ab", "b", "10", "9", "abc", "banned", "removed"];
    let members = names.map(|name| (user(name), Role::Member)).to_vec();
    let room = Stage::open(store, NewRoom { members, ..private("r") }).await;
    room.make(host(), ban("banned")).await;
    room.make(host(), remove("removed")).await;
    room.make(host(), role("b", Role::Manager)).await;
    Stage::open(store, private("other")).await;

    let sorted = ["10", "9", "a-b", "a.b", "a_b", "ab", "abc", "b", "zoe"];
    let is = |name: &str| Member {
        user: user(name),
        role: if name == "b" { Role::Manager } else { Role::Member },
    };
    let sorted = sorted.map(is).to_vec();
    for limit in 1..=sorted.len() + 1 {
        let (mut pages, mut after) = (Vec::new(), None);
        while pages.len() <= sorted.len() {
            let page = store.members(room.no(), after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.user.clone());
            pages.extend(page);
        }
        assert_eq!(pages, sorted, "in pages of {limit}");
    }
    assert_eq!(store.members(room.no(), Some(user("a9")), usize::MAX).await.unwrap(), sorted[4..]);
    assert_eq!(store.members(RoomNo(u64::from(u32::MAX)), None, 10).await.unwrap(), []);
    assert!(store.room(room_id("nowhere"), user("ann")).await.unwrap().is_none());
}
