//! Holds the instructions that a run has counted against those that are committed in `instructions.txt`, or writes them
//! there. `scripts/instructions` gives it what the bench of that name prints.

#![expect(clippy::print_stdout, reason = "what it has to say goes there")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read},
    process::ExitCode,
};

use serde_json::Value;

/// By how much a count may differ from the committed one. Runs of one program on one machine differ by less than 0.1 %;
/// the rest is for other processors, for which the C library copies memory in other ways, and for other versions of it.
const TOLERANCE_PERCENT: u64 = 5;

/// Where the counts are committed.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

const HEAD: &str = "\
# Instructions of the hot functions under valgrind, in benches/benches/instructions.rs.
# Written by scripts/instructions --renew, and checked by scripts/instructions.
";

/// Instructions by the name of what was counted.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    match run(env::args().any(|argument| argument == "--renew")) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            println!("\n{}\nWhere it is meant: scripts/instructions --renew", faults.join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the instructions cannot be checked: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the counts, a line each.
fn run(renew: bool) -> io::Result<Vec<String>> {
    let mut printed = String::new();
    io::stdin().read_to_string(&mut printed)?;
    let counts = counted(&printed).ok_or_else(|| io::Error::other(format!("no counts in: {printed}")))?;
    if renew {
        fs::write(BASELINE, written(&counts))?;
    }
    let baseline = fs::read_to_string(BASELINE)?;
    let baseline =
        read(&baseline).ok_or_else(|| io::Error::other(format!("{BASELINE}: a line is no count")))?;
    for (name, count) in &counts {
        let was = baseline.get(name).map_or_else(|| "new".to_owned(), ToString::to_string);
        println!("{name:30} {count:>10} instructions, committed: {was}");
    }
    Ok(faults(&baseline, &counts))
}

/// What gungraun prints: an object for each bench. `None` where something else is among them, or nothing.
fn counted(printed: &str) -> Option<Counts> {
    let lines = printed.lines().filter(|line| !line.trim().is_empty());
    let counts: Option<Counts> = lines.map(|line| count_of(&serde_json::from_str(line).ok()?)).collect();
    counts.filter(|counts| !counts.is_empty())
}

fn count_of(summary: &Value) -> Option<(String, u64)> {
    let part = |name| summary.get(name)?.as_str();
    let count = summary.pointer("/profiles/0/data/total/metrics/Ir/values/new")?.as_u64()?;
    Some((format!("{}.{}", part("function_name")?, part("id")?), count))
}

fn read(text: &str) -> Option<Counts> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            line.split_once(' ').and_then(|(name, count)| Some((name.to_owned(), count.trim().parse().ok()?)))
        })
        .collect()
}

fn written(counts: &Counts) -> String {
    let lines = counts.iter().map(|(name, count)| format!("{name:30} {count}\n"));
    [HEAD.to_owned()].into_iter().chain(lines).collect()
}

fn faults(baseline: &Counts, counts: &Counts) -> Vec<String> {
    let gone = baseline.keys().filter(|name| !counts.contains_key(*name));
    let gone = gone.map(|name| format!("{name} is committed, and was not counted"));
    counts
        .iter()
        .filter_map(|(name, count)| fault(name, *count, *baseline.get(name).unwrap_or(&0)))
        .chain(gone)
        .collect()
}

fn fault(name: &str, count: u64, was: u64) -> Option<String> {
    let percent = TOLERANCE_PERCENT;
    if was == 0 {
        return Some(format!("{name} takes {count} instructions, and nothing is committed"));
    }
    if count * 100 > was * (100 + percent) {
        return Some(format!(
            "{name} takes {count} instructions, over {percent} % more than the {was} committed"
        ));
    }
    // Left as it is, the better count could be lost again and nobody would see it.
    (count * 100 < was * (100 - percent)).then(|| {
        format!("{name} takes {count} instructions, over {percent} % fewer than the {was} committed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, count: u64) -> Counts {
        [(name.to_owned(), count)].into()
    }

    #[test]
    fn more_instructions_than_the_tolerance_are_a_fault_and_so_are_fewer() {
        for (count, is_fault) in [(949, true), (950, false), (1000, false), (1050, false), (1051, true)] {
            let faults = faults(&one("encode", 1000), &one("encode", count));
            assert_eq!(faults.len(), usize::from(is_fault), "{count}");
            let says = |fault: &String| {
                ["encode", "1000", &count.to_string()].iter().all(|part| fault.contains(part))
            };
            assert!(faults.iter().all(says), "{faults:?}");
        }
    }

    #[test]
    fn what_is_new_and_what_is_gone_are_faults() {
        let faults = faults(&one("old", 1), &one("new", 1));
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn what_was_written_is_read() {
        let counts =
            [("encode.one".to_owned(), 2914), ("a.much_longer_name_than_there_is_room".to_owned(), 7)].into();
        assert_eq!(read(&written(&counts)), Some(counts));
        assert_eq!(read("encode.one many\n"), None);
        assert_eq!(read("encode.one\n"), None);
    }

    #[test]
    fn gungrauns_summary_is_read_and_nothing_else_is_taken_for_one() {
        let summary = r#"{"function_name":"encode","id":"one","profiles":[{"data":{"total":{"metrics":
            {"Ir":{"values":{"new":2914,"old":2900}}}}}}]}"#
            .replace('\n', "");
        assert_eq!(counted(&format!("{summary}\n")), Some(one("encode.one", 2914)));
        assert_eq!(counted(&format!("{summary}\nan error\n")), None);
        assert_eq!(counted(""), None);
    }
}
