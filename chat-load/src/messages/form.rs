//! What is said to another's server: a text with places for what differs.

use super::{InvalidMessages, Part, Slot, parts};

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form(Vec<Part>);

/// What comes into the places.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    pub(crate) user: &'a str,
    pub(crate) role: &'a str,
    pub(crate) room: &'a str,
    pub(crate) text: &'a [u8],
    /// With what each key begins; the id follows.
    pub(crate) key_head: &'a str,
    pub(crate) id: u64,
}

impl Form {
    /// Reads a flag, which may have these places.
    pub(super) fn new(flag: &'static str, text: &str, allowed: &[Slot]) -> Result<Self, InvalidMessages> {
        let parts = parts(flag, text)?;
        match parts.iter().find(|part| matches!(part, Part::Slot(slot) if !allowed.contains(slot))) {
            Some(Part::Slot(slot)) => Err(InvalidMessages::Misplaced { flag, slot: slot.name() }),
            _ => Ok(Self(parts)),
        }
    }

    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.0.contains(&Part::Slot(slot))
    }

    /// Appends it with these values.
    pub(crate) fn put(&self, out: &mut Vec<u8>, values: &Values<'_>) {
        for part in &self.0 {
            match part {
                Part::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                Part::Slot(slot) => values.put(*slot, out),
            }
        }
    }
}

impl Values<'_> {
    fn put(&self, slot: Slot, out: &mut Vec<u8>) {
        match slot {
            Slot::User => out.extend_from_slice(self.user.as_bytes()),
            Slot::Role => out.extend_from_slice(self.role.as_bytes()),
            Slot::Room => out.extend_from_slice(self.room.as_bytes()),
            Slot::Text => out.extend_from_slice(self.text),
            Slot::Key => {
                out.extend_from_slice(self.key_head.as_bytes());
                out.extend_from_slice(self.id.to_string().as_bytes());
            }
            Slot::Id => out.extend_from_slice(self.id.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_into_their_places_and_other_braces_stay() {
        let allowed = [Slot::Text, Slot::Id, Slot::Key, Slot::Room];
        let form =
            Form::new("--send", r#"{"to":"{room}","a":{"k":"{key}"},"t":"{text}","n":{id}}*"#, &allowed);
        let mut out = Vec::new();
        let values = Values { room: "r", text: b"@12 xx", key_head: "k.", id: 7, ..Values::default() };
        form.unwrap().put(&mut out, &values);
        let wanted = r#"{"to":"r","a":{"k":"k.7"},"t":"@12 xx","n":7}*"#;
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn places_that_are_not_known_or_have_no_value_there_are_named() {
        let error = Form::new("--send", "{txt}", &[Slot::Text]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--send: {txt} is not known: there are {user}, {role}, {room}, {text}, {key} and {id}"
        );
        let error = Form::new("--path", "/{id}", &[Slot::Room]).unwrap_err();
        assert_eq!(error.to_string(), "--path: {id} has no place in it");
    }
}
