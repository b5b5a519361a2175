//! The settings file: TOML, one key for each setting, by the name of its flag.

use std::{ops::Range, path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::{
    Mistake,
    sources::{Definition, Entry, Origin},
};

/// Reads the settings of a file.
pub(super) fn read(
    text: &str,
    path: &Arc<Path>,
    definitions: &[Definition],
) -> Result<Vec<(String, Entry)>, Mistake> {
    let origin =
        |span: Range<usize>| Origin::File { path: Arc::clone(path), line: line_of(text, span.start) };
    let table = DeTable::parse(text).map_err(|error| {
        // The rest of the error quotes the line, which may hold a secret.
        Mistake::at(origin(error.span().unwrap_or_default()), error.message())
    })?;
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        let (name, origin) = (key.get_ref(), origin(key.span()));
        // A file that names another one would be a second way to do the same.
        let known = definitions.iter().find(|known| known.name() == name && name != "config");
        let known =
            known.ok_or_else(|| Mistake::at(&origin, format_args!("{name}: there is no such setting")))?;
        let texts = texts_of(value.get_ref(), known)
            .map_err(|what| Mistake::at(&origin, format_args!("{name}: {what}")))?;
        entries.push((name.to_string(), Entry { texts, origin }));
    }
    // By line, so that of two mistakes the first is told.
    entries.sort_by_key(|(_, entry)| match &entry.origin {
        Origin::File { line, .. } => *line,
        Origin::Flag | Origin::Environment => 0,
    });
    Ok(entries)
}

/// The texts of a value, as a flag would have them.
fn texts_of(value: &DeValue<'_>, definition: &Definition) -> Result<Vec<String>, &'static str> {
    match value {
        DeValue::Array(items) if definition.is_list() => {
            let text = |item| text_of(item).ok_or("a list has strings only");
            items.iter().map(|item| text(item.get_ref())).collect()
        }
        DeValue::Array(_) => Err("it has one value, not a list"),
        value => match text_of(value) {
            Some(text) => Ok(vec![text]),
            None if definition.is_list() => Err("it is a list of strings"),
            None => Err("it is a string or a whole number"),
        },
    }
}

fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// The line in which a byte of a text is, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
