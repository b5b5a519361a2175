//! What the promises ask of the program: rooms, members, timelines.

use serde_json::{Value, json};

use super::checker::{Place, Timelines};
pub(crate) use super::support::program::{DEADLINE, Home, Program};

impl Program {
    /// Makes a room of a manager.
    pub(crate) async fn make_room(&self, manager: &str, room: &str, visibility: &str) {
        let draft = json!({ "id": room, "name": room, "kind": "group", "visibility": visibility });
        let answer = self.http("POST", &format!("/api/v1/rooms?user={manager}"), Some(draft)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    pub(crate) async fn add_member(&self, manager: &str, room: &str, user: &str) {
        self.set_member(manager, room, user, "member").await;
    }

    /// Gives a user a role in a room, or a ban.
    pub(crate) async fn set_member(&self, manager: &str, room: &str, user: &str, role: &str) {
        let path = format!("/api/v1/rooms/{room}/members/{user}?user={manager}");
        let answer = self.http("PUT", &path, Some(json!({ "role": role }))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub(crate) async fn remove_member(&self, manager: &str, room: &str, user: &str) {
        let path = format!("/api/v1/rooms/{room}/members/{user}?user={manager}");
        let answer = self.http("DELETE", &path, None).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// One page of history: its events, and whether there are more.
    pub(crate) async fn page(&self, user: &str, room: &str, query: &str) -> (Vec<Value>, bool) {
        let path = format!("/api/v1/rooms/{room}/messages?user={user}&{query}");
        let answer = self.http("GET", &path, None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut page = answer.json();
        let Value::Array(events) = page["events"].take() else { panic!("no events: {page}") };
        (events, page["more"].as_bool().unwrap())
    }

    /// The whole timeline of a room, page by page.
    pub(crate) async fn events(&self, user: &str, room: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |event| event["seq"].as_u64().unwrap());
            let (events, more) = self.page(user, room, &format!("after={after}&limit=200")).await;
            all.extend(events);
            if !more {
                return all;
            }
        }
    }

    /// The same as the checker takes it.
    pub(crate) async fn timeline(&self, user: &str, room: &str) -> Timelines {
        let events = self.events(user, room).await;
        Timelines::from([(room.to_owned(), events.iter().map(place).collect())])
    }
}

/// The place of an event.
pub(crate) fn place(event: &Value) -> Place {
    Place {
        seq: event["seq"].as_u64().unwrap(),
        at: event["at"].as_u64().unwrap(),
        from: event["from"].as_str().unwrap().to_owned(),
        key: event["key"].as_str().map(str::to_owned),
    }
}
