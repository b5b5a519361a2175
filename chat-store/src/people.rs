//! Standings of users in rooms, and where a right to read ended.

use chat_core::{
    ids::Seq,
    protocol::MemberChange,
    rights::{Authority, Role, Standing, Visibility, role_in_room},
};

/// A row of `members`: somebody of whom a `member` event told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) standing: Standing,
    /// The newest `member` event about them.
    pub(crate) seq: Seq,
    /// The event that ended the right to read, as of `seq`. It says nothing while they may read.
    pub(crate) lost: Option<Seq>,
}

/// The event that ended somebody's right to read; `None` where they never had it. It means nothing while they may read.
///
/// Who was an outsider when the room turned private lost it there; whom a later event concerned, or who was banned at
/// that time, lost it where their row says.
pub(crate) fn lost(person: Option<Person>, private_seq: Option<Seq>) -> Option<Seq> {
    match person {
        None => private_seq,
        Some(Person { standing: Standing::Outsider, seq, .. }) if private_seq > Some(seq) => private_seq,
        Some(person) => person.lost,
    }
}

impl Person {
    /// The role in the room; `None` where they are no member.
    pub(crate) const fn role(&self) -> Option<Role> {
        match self.standing {
            Standing::Member(role) => Some(role),
            Standing::Outsider | Standing::Banned => None,
        }
    }

    /// Somebody after `change`, the event `seq` of a room that stands so.
    pub(crate) fn after(
        change: MemberChange,
        seq: Seq,
        before: Option<Self>,
        visibility: Visibility,
        private_seq: Option<Seq>,
    ) -> Self {
        let standing = change.standing();
        let reads = |standing| role_in_room(visibility, standing, Authority::User(Role::Member)).is_some();
        let could_read = reads(before.map(|before| before.standing).unwrap_or_default());
        let lost = if could_read && !reads(standing) { Some(seq) } else { lost(before, private_seq) };
        Self { standing, seq, lost }
    }
}

/// A standing from what a row says of it.
pub(crate) const fn standing_of(role: Option<Role>, banned: bool) -> Standing {
    match (role, banned) {
        (Some(role), _) => Standing::Member(role),
        (None, true) => Standing::Banned,
        (None, false) => Standing::Outsider,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANNED: Standing = Standing::Banned;
    const OUTSIDER: Standing = Standing::Outsider;

    #[test]
    fn a_right_ends_where_the_room_turned_private_or_where_the_user_left_it() {
        let person =
            |standing, seq, lost: Option<u64>| Some(Person { standing, seq: Seq(seq), lost: lost.map(Seq) });
        for (person, private_seq, ended) in [
            (None, None, None),
            (None, Some(7), Some(7)),
            (person(OUTSIDER, 5, Some(5)), None, Some(5)),
            (person(OUTSIDER, 5, None), Some(7), Some(7)),
            (person(OUTSIDER, 9, Some(9)), Some(7), Some(9)),
            (person(OUTSIDER, 9, Some(3)), Some(7), Some(3)), // was banned from 3 to 9
            (person(BANNED, 5, Some(5)), Some(7), Some(5)),
            (person(BANNED, 5, None), None, None),
        ] {
            assert_eq!(lost(person, private_seq.map(Seq)), ended.map(Seq), "{person:?} {private_seq:?}");
        }
    }
}
