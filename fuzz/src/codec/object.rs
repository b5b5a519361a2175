//! JSON objects, as they are wanted and as they are read.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};

/// Fields by name. What is not in it must not be there.
pub(super) type Object = BTreeMap<&'static str, Wanted>;

/// What a field must be.
#[derive(Debug)]
pub(super) enum Wanted {
    /// The same value.
    Value(Value),
    /// The same bytes.
    Bytes(String),
    /// A list of objects.
    Objects(Vec<Object>),
}

impl<T: Into<Value>> From<T> for Wanted {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

/// Holds the text of an object against what is wanted of it.
///
/// # Panics
/// Where a field is missing, there without need, there twice, or another.
pub(super) fn check(wanted: &Object, text: &str) {
    let Found(mut found) =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("no object ({error}): {text}"));
    for (name, wanted) in wanted {
        let raw = found.remove(*name).unwrap_or_else(|| panic!("no {name} in {text}"));
        check_field(wanted, raw.get(), text);
    }
    assert!(found.is_empty(), "nobody asked for {:?} in {text}", found.keys());
}

fn check_field(wanted: &Wanted, raw: &str, text: &str) {
    match wanted {
        Wanted::Value(value) => {
            let found: Value = serde_json::from_str(raw).expect("a part of JSON is JSON");
            assert_eq!(found, *value, "in {text}");
        }
        Wanted::Bytes(bytes) => assert_eq!(raw, bytes, "in {text}"),
        Wanted::Objects(objects) => {
            let found: Vec<&RawValue> = serde_json::from_str(raw).expect("a list");
            assert_eq!(found.len(), objects.len(), "in {text}");
            objects.iter().zip(found).for_each(|(wanted, object)| check(wanted, object.get()));
        }
    }
}

/// An object as it was read: each field once, its value untouched.
struct Found(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FoundVisitor)
    }
}

struct FoundVisitor;

impl<'de> Visitor<'de> for FoundVisitor {
    type Value = Found;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with each field once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if let Some(twice) = fields.insert(name, value) {
                return Err(A::Error::custom(format!("a field twice: {twice}")));
            }
        }
        Ok(Found(fields))
    }
}
