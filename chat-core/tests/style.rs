//! The rules of the house that a program can hold: who may see whom, and who may touch clocks and tasks.
//!
//! It reads source text, not types: comments, strings and test modules are cut out first, then every path is looked at.

#![expect(clippy::string_slice, reason = "slices end where a search or a character ended")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The layers of chat-core, lowest first. A module sees its own layer and those below. A module that is in no layer
/// fails; one that does not exist does not matter.
const LAYERS: &[&[&str]] = &[
    &["few", "ids", "limits", "time"],
    &["rights", "protocol"],
    &["store", "bus", "policy", "metrics", "bell", "strain"],
    // The state machines, each on those below it.
    &["presence", "tail", "gather", "request"],
    &["room", "sink"],
    &["mail"],
    &["committer"],
    &["hub"],
    &["connection"],
    &["lane"],
    &["session"],
    &["driver"],
    &["engine"],
    &["testing"],
    &["lib"],
];

/// Modules up to this one are state machines and plain values: a seed must be able to replay them.
const LAST_PURE: &str = "session";

/// Who may start tasks and read clocks: the driver, and the public test tools, which stand in for it.
const TASKS_AND_TIME: &[&str] = &["driver", "testing"];

/// Paths that only [`TASKS_AND_TIME`] may name.
const TOKIO_PARTS: &[&str] = &["tokio::time", "tokio::spawn", "tokio::task", "tokio::runtime"];

/// Clocks that only the driver may read.
const CLOCKS: &[&str] = &["std::time::Instant", "std::time::SystemTime", "core::time::Instant"];

/// Names that no pure module may use: their order could show, or chance decides among them.
const UNORDERED: &[&str] = &["HashMap", "HashSet", "select!", "thread_rng", "RandomState"];

/// Lines of one file: what a reader can hold in mind, with room to spare.
const FILE_LINES_MAX: usize = 600;

#[test]
fn every_module_is_in_a_layer_and_sees_none_above_it() {
    let mut faults = String::new();
    for file in core_files() {
        let Some(layer) = layer_of(&file.module) else {
            writeln!(faults, "{}: the module is in no layer", file.name).expect("a String takes it");
            continue;
        };
        for path in file.paths() {
            if let Some(fault) = layer_fault(&file, layer, &path) {
                writeln!(faults, "{}: {fault}", file.name).expect("a String takes it");
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn only_the_driver_starts_tasks_and_sets_timers() {
    let is_free = |file: &Source| !TASKS_AND_TIME.contains(&file.module.as_str());
    assert_absent(is_free, |path| TOKIO_PARTS.iter().any(|part| starts_with(path, part)));
}

#[test]
fn only_the_driver_reads_a_clock() {
    assert_absent(|file| file.module != "driver", |path| CLOCKS.iter().any(|clock| starts_with(path, clock)));
}

#[test]
fn pure_modules_have_no_order_that_chance_decides() {
    let last_pure = layer_of(LAST_PURE).expect("it is in the table");
    let is_pure = |file: &Source| layer_of(&file.module).is_some_and(|layer| layer <= last_pure);
    assert_absent(is_pure, |path| path.split("::").any(|name| UNORDERED.contains(&name)));
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut faults = String::new();
    for file in workspace_files() {
        let lines = fs::read_to_string(&file).expect("a source file").lines().count();
        if lines > FILE_LINES_MAX {
            writeln!(faults, "{}: {lines} lines, at most {FILE_LINES_MAX}", file.display())
                .expect("a String takes it");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn the_reader_of_sources_sees_what_matters_and_nothing_else() {
    let text = r##"
        //! crate::driver in a comment
        use crate::{hub::{self, Hub}, ids::Seq as Number, /* crate::engine */ room};
        use tokio::{sync, time::{sleep, Instant}};
        pub(crate) use super::tail;
        const TEXT: &str = r#"crate::engine "quoted" "#;
        fn f<'a>(c: &'a str) -> char { if c == "\"crate::engine" { '"' } else { std::time::Instant::now(); '\'' } }
        fn g() { tokio::select! { _ = std::collections::HashMap::<u8, u8>::new() => {} } }
        #[cfg(test)]
        mod tests { use crate::engine; }
    "##;
    let paths = paths(&code_of(text));
    for wanted in [
        "crate::hub::self",
        "crate::hub::Hub",
        "crate::ids::Seq",
        "crate::room",
        "tokio::sync",
        "tokio::time::sleep",
        "tokio::time::Instant",
        "super::tail",
        "std::time::Instant::now",
        "tokio::select!",
        "std::collections::HashMap",
    ] {
        assert!(paths.iter().any(|path| path == wanted), "{wanted} is missing in {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.contains("engine") || path.contains("driver")), "{paths:?}");
}

/// A source file of chat-core.
struct Source {
    /// Its path below `src`.
    name: String,
    /// The top-level module that it belongs to.
    module: String,
    /// How many `super` lead from it to the crate's root.
    depth: usize,
    /// Its text without comments, strings and tests.
    code: String,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        let parts: Vec<&str> =
            name.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
        let text = fs::read_to_string(path).expect("a source file");
        Self { module: parts[0].to_owned(), depth: parts.len(), code: code_of(&text), name }
    }

    fn paths(&self) -> Vec<String> {
        paths(&self.code)
    }
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn layer_fault(file: &Source, layer: usize, path: &str) -> Option<String> {
    let supers = path.split("::").take_while(|name| *name == "super").count();
    if file.module != "lib" && supers >= file.depth {
        return Some(format!("{path}: what lies outside the module is named from crate::"));
    }
    let seen = path.strip_prefix("crate::")?.split("::").next()?;
    match layer_of(seen) {
        None => Some(format!("{path}: {seen} is no module of any layer (name things by their module)")),
        Some(above) if above > layer => Some(format!("{path}: {seen} is above {}", file.module)),
        Some(_) => None,
    }
}

fn assert_absent(concerns: impl Fn(&Source) -> bool, is_banned: impl Fn(&str) -> bool) {
    let mut faults = String::new();
    for file in core_files().into_iter().filter(concerns) {
        for path in file.paths().into_iter().filter(|path| is_banned(path)) {
            writeln!(faults, "{}: {path}", file.name).expect("a String takes it");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

fn starts_with(path: &str, part: &str) -> bool {
    path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn core_files() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_test = |path: &PathBuf| path.ends_with("tests.rs");
    rust_files(&root).iter().filter(|path| !is_test(path)).map(|path| Source::read(&root, path)).collect()
}

fn workspace_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = ["chat-core", "chat-store", "chat-server", "examples", "benches", "fuzz"];
    crates.iter().flat_map(|name| rust_files(&root.join(name))).collect()
}

/// Every Rust file below `folder`, but not those of others: built, or installed by npm.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("a readable folder").path();
        let is_foreign = path.ends_with("target") || path.ends_with("node_modules");
        if path.is_dir() && !is_foreign {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The text without comments, without what stands in quotes, and without the test module, which comes last.
fn code_of(text: &str) -> String {
    let code = without_comments_and_quotes(text);
    match code.find("#[cfg(test)]\n") {
        Some(start) if code[start..].contains("mod tests") => code[..start].to_owned(),
        _ => code,
    }
}

fn without_comments_and_quotes(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_bytes(rest);
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// How many bytes of a comment or a literal `text` starts with; 0 where it starts with code.
fn skipped_bytes(text: &str) -> usize {
    let through =
        |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return through("*/", 2);
    }
    let hashes = text.strip_prefix('r').map(|raw| raw.len() - raw.trim_start_matches('#').len());
    if let Some(hashes) = hashes
        && text[1 + hashes..].starts_with('"')
    {
        return through(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
    }
    match text.as_bytes() {
        [b'"', ..] => quoted_bytes(text, '"'),
        [b'\'', b'\\', ..] => quoted_bytes(text, '\''),
        [b'\'', ..] if text.chars().nth(2) == Some('\'') => quoted_bytes(text, '\''),
        _ => 0,
    }
}

fn quoted_bytes(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Every path that the code names: those of `use` trees one by one, and those that stand in the code.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    tree_paths("", &mut tokens(code).into_iter(), &mut paths);
    paths
}

/// The paths up to the end of a brace, each behind `prefix`.
fn tree_paths(prefix: &str, tokens: &mut impl Iterator<Item = String>, paths: &mut Vec<String>) {
    let mut path = String::new();
    let mut is_joined = false;
    while let Some(token) = tokens.next() {
        match token.as_str() {
            "}" => break,
            "{" => {
                let group = std::mem::take(&mut path);
                if is_joined {
                    tree_paths(&join(prefix, &group), tokens, paths);
                } else {
                    push_path(prefix, &group, paths);
                    tree_paths(prefix, tokens, paths);
                }
            }
            "::" => {}
            "!" if !path.is_empty() => path.push('!'),
            name if is_name(name) && is_joined => path = join(&path, name),
            name => {
                push_path(prefix, &path, paths);
                path = if is_name(name) { name.to_owned() } else { String::new() };
            }
        }
        is_joined = token == "::";
    }
    push_path(prefix, &path, paths);
}

fn push_path(prefix: &str, path: &str, paths: &mut Vec<String>) {
    if !path.is_empty() {
        paths.push(join(prefix, path));
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and every other sign by itself.
fn tokens(code: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let bytes = match first {
            ':' if rest.starts_with("::") => 2,
            first if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        tokens.push(rest[..bytes].to_owned());
        rest = rest[bytes..].trim_start();
    }
    tokens
}
