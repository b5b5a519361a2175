//! Who may do what: roles, standings, and the one function that combines them.

use serde::{Deserialize, Serialize};

use crate::ids::{InvalidId, UserId};

/// A rank, lowest first. A user has one on the server and, as a member, one in each room.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    #[default]
    Member,
    /// Owns desk chats.
    Operator,
    /// Also manages members, deletes messages of others, and changes the room.
    Manager,
    /// The highest on the server.
    Admin,
}

impl Role {
    /// The role as it stands on the wire and in a store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Operator => "operator",
            Self::Manager => "manager",
            Self::Admin => "admin",
        }
    }

    /// Reads a role; `None` where there is none of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Member, Self::Operator, Self::Manager, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// Who is behind a connection or a request, as an authenticator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's id.
    pub user: UserId,
    /// The name to show; the id where no other is known.
    pub name: Box<str>,
    /// The role on the server.
    pub role: Role,
}

impl Identity {
    /// A plain member whose name is the id.
    ///
    /// # Errors
    /// [`InvalidId`] unless `user` is an id.
    pub fn new(user: &str) -> Result<Self, InvalidId> {
        Ok(Self { user: UserId::new(user)?, name: user.into(), role: Role::Member })
    }

    /// The same user with this role on the server.
    #[must_use]
    pub const fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// The same user with this name to show.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// This user as the one who acts.
    pub fn actor(&self) -> Actor {
        Actor { user: self.user.clone(), authority: Authority::User(self.role) }
    }
}

/// Who acts on a room, and on what ground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Stands as `from` in the event.
    pub user: UserId,
    /// What gives the right.
    pub authority: Authority,
}

/// On what ground somebody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// A user with this role on the server: the room's rules decide.
    User(Role),
    /// The embedding service itself: it may do everything, in every room.
    Host,
}

/// What a user is to a room, whatever the room's visibility.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No member.
    #[default]
    Outsider,
    /// A member with a role.
    Member(Role),
    /// Shut out, even of a public room.
    Banned,
}

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody who is not banned reads and writes.
    Public,
    /// Members only; for all others the room does not exist.
    Private,
}

impl Visibility {
    /// The visibility as it stands on the wire and in a store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }

    /// Reads a visibility; `None` where there is none of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Public, Self::Private].into_iter().find(|visibility| visibility.as_str() == text)
    }
}

/// The role with which somebody acts in a room; `None` where the room does not exist for them.
///
/// The higher of the role in the room and the role on the server counts, but a role on the server opens no private
/// room, and a ban closes every room.
pub fn role_in_room(visibility: Visibility, standing: Standing, authority: Authority) -> Option<Role> {
    match (authority, standing, visibility) {
        (Authority::Host, _, _) => Some(Role::Admin),
        (_, Standing::Banned, _) | (_, Standing::Outsider, Visibility::Private) => None,
        (Authority::User(server), Standing::Member(room), _) => Some(server.max(room)),
        (Authority::User(server), Standing::Outsider, Visibility::Public) => Some(server),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_beats_every_role_and_a_private_room_knows_members_only() {
        let admin = Authority::User(Role::Admin);
        assert_eq!(role_in_room(Visibility::Public, Standing::Banned, admin), None);
        assert_eq!(role_in_room(Visibility::Private, Standing::Outsider, admin), None);
        let member = Authority::User(Role::Member);
        assert_eq!(role_in_room(Visibility::Public, Standing::Outsider, member), Some(Role::Member));
        let manager = Standing::Member(Role::Manager);
        assert_eq!(role_in_room(Visibility::Private, manager, member), Some(Role::Manager));
        let guest = Standing::Member(Role::Member);
        assert_eq!(role_in_room(Visibility::Private, guest, admin), Some(Role::Admin));
        assert_eq!(role_in_room(Visibility::Private, Standing::Banned, Authority::Host), Some(Role::Admin));
    }
}
