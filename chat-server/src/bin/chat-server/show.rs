//! `check-config`: what counts, and where it is from.

use std::{borrow::Cow, fmt::Write};

use chat_store::PostgresAddress;

use crate::config::{Asked, Definition, Secrecy, Settings, one_line};

/// Each setting that has a value, in the form of a settings file, with where it is from as a comment.
pub(crate) fn effective(asked: &Asked) -> String {
    let mut lines = String::new();
    for definition in Definition::all() {
        let name = definition.name();
        let (value, source) = if let Some(entry) = asked.given.get(name) {
            let texts: Vec<_> = entry.texts.iter().map(|text| quoted(&shown(text, &definition))).collect();
            let value = if definition.is_list() { format!("[{}]", texts.join(", ")) } else { texts.concat() };
            (value, definition.place(&entry.origin))
        } else if let Some(text) = definition.default().or_else(|| dependent(name, &asked.settings))
            && asked.settings.concerns(name)
        {
            (quoted(&text), "default".to_owned())
        } else {
            continue;
        };
        writeln!(lines, "{name} = {value} # {source}").expect("a String takes it");
    }
    for variable in asked.given.strangers() {
        writeln!(lines, "# {}: there is no such setting", one_line(variable)).expect("a String takes it");
    }
    lines
}

/// The default of a setting that hangs on others, or on the machine.
fn dependent(name: &str, settings: &Settings) -> Option<String> {
    match name {
        "rate-user" => Some(settings.rate_of_user().to_string()),
        "connections-max" => Some(settings.connections().to_string()),
        "connections-per-address" => Some(settings.connections_of_address().to_string()),
        _ => None,
    }
}

/// A value without what it would give away.
fn shown<'a>(text: &'a str, definition: &Definition) -> Cow<'a, str> {
    match definition.secrecy() {
        Secrecy::None => text.into(),
        // A parameter can hold a password, too.
        Secrecy::Login if let Ok(address) = text.parse::<PostgresAddress>() => address.to_string().into(),
        Secrecy::Login if !text.contains('@') => text.into(),
        Secrecy::Login | Secrecy::Whole => "***".into(),
    }
}

/// A string of TOML, which knows the escapes of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
