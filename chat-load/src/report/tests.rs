//! A report of made-up measurements, looked at from all sides.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::*;
use crate::{
    breaking::{made_up, scene::measured},
    host::Capacity,
    scenario::Scenario,
};

fn machine() -> Machine {
    Machine {
        processors: 2,
        model: Some("Some <processor> & more".to_owned()),
        memory_bytes: 8 << 30,
        kernel: "Linux 6.1".to_owned(),
    }
}

/// A server that follows its model, holds 2,600 users and breaks with 2,750, and knows it from half of that.
fn ours() -> Side {
    let users = [50, 100, 200, 400, 800, 1600, 2400, 2600, 2750, 3600, 1375];
    let found = users.map(|users| {
        let mut found = measured(users);
        let breaking_by_members = (users > 100).then_some(2500.0);
        found.capacity = Some(Capacity { breaking_by_members, ..Capacity::default() });
        found
    });
    let settings = Settings::new(Scenario::Room);
    Side { point: made_up("chat-server", &settings, found.into(), Some(2600), Some(2750)), settings }
}

/// One that takes fifty times as much, and has no figures of its own.
fn theirs() -> Side {
    let found = [50, 100, 200, 300].map(|users| {
        let mut found = measured(users);
        found.figures = None;
        found.server.as_mut().unwrap().cpu_ms_per_s *= 12.0;
        found.machine.cpu_ms_per_s = found.server.unwrap().cpu_ms_per_s + found.tool.cpu_ms_per_s;
        found
    });
    let settings = Settings::new(Scenario::Room);
    Side { point: made_up("the <other>", &settings, found.into(), Some(200), Some(300)), settings }
}

fn report(sides: Vec<Side>) -> Report {
    Report { machine: machine(), command: "chat-load report --out 'a b' --start".to_owned(), sides }
}

fn file(files: &Files, name: &str) -> String {
    files.iter().find(|(found, _)| found == name).unwrap_or_else(|| unreachable!("{name}")).1.clone()
}

/// The texts of the headings.
fn headings(markdown: &str) -> Vec<String> {
    let mut headings = Vec::new();
    let mut is_heading = false;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => {
                is_heading = true;
                headings.push(String::new());
            }
            Event::End(TagEnd::Heading(_)) => is_heading = false,
            Event::Text(text) if is_heading => headings.last_mut().unwrap().push_str(&text),
            _ => {}
        }
    }
    headings
}

/// Reads it as XML, whose tags must be closed in their order: the page is written so that it is both.
fn assert_well_formed(name: &str, text: &str) {
    let text = text.strip_prefix("<!DOCTYPE html>").unwrap_or(text);
    let text =
        text.split_once("?>").filter(|(head, _)| head.starts_with("<?")).map_or(text, |(_, rest)| rest);
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('<') {
        assert!(!before.contains('>'), "{name}: {before}");
        let (tag, after) = from.split_once('>').unwrap_or_else(|| unreachable!("{name}: no end of {from}"));
        rest = after;
        let is_closed = tag.ends_with('/');
        match tag.strip_prefix('/') {
            Some(end) => assert_eq!(open.pop(), Some(end), "{name}: </{end}>"),
            None if is_closed => {}
            None => open.push(tag.split_whitespace().next().unwrap()),
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{name}: <{tag}>");
    }
    assert!(open.is_empty(), "{name}: {open:?} stay open");
}

#[test]
fn a_report_has_every_section_and_its_figures() {
    let files = report(vec![ours(), theirs()]).files().unwrap();
    let markdown = file(&files, "breaking-point.md");
    let wanted = [
        "The breaking point",
        "What was measured",
        "The breaking point",
        "chat-server",
        "the <other>",
        "CPU",
        "Latency",
        "Memory",
        "Network",
        "Commits",
        "How much of each wall was used",
        "Headroom",
        "Beside the original",
        "What to monitor",
        "What to alert on",
    ];
    assert_eq!(headings(&markdown), wanted);
    for wanted in [
        "**chat-server** holds 2,600 users and breaks with 2,750.",
        "| processors | 2 |",
        "chat-load report --out 'a b' --start",
        "With 2,750 users the server took",
        "met: with 1,375 users the server predicted 2,500 by more people in the same rooms, -9 % of 2,750",
        "the \\<other\\>: the server predicts nothing of itself",
        "On 2 processors its model `n × (c + s × (n − 1))` holds 100 users below 1600 ms a second",
        "chat-server held 13.0 times as many users as the \\<other\\>.",
        "`rate(process_cpu_seconds_total[5m]) > 1.6`",
        "```mermaid",
    ] {
        assert!(markdown.contains(wanted), "{wanted:?} is not in\n{markdown}");
    }
}

#[test]
fn every_picture_of_the_text_is_a_file_beside_it_and_in_the_page() {
    let files = report(vec![ours(), theirs()]).files().unwrap();
    let (markdown, page) = (file(&files, "breaking-point.md"), file(&files, "breaking-point.html"));
    let shown = Parser::new(&markdown).filter_map(|event| match event {
        Event::Start(Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
        _ => None,
    });
    let shown: Vec<String> = shown.collect();
    assert_eq!(shown.len(), 5, "{shown:?}");
    for name in &shown {
        assert!(file(&files, name).contains("<svg "), "{name}");
    }
    // The overview, and those.
    assert_eq!(page.matches("<svg ").count(), 1 + shown.len());
    assert_eq!(files.len(), 2 + shown.len(), "there are no others");
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let files = report(vec![ours(), theirs()]).files().unwrap();
    for (name, text) in files.iter().filter(|(name, _)| name != "breaking-point.md") {
        assert_well_formed(name, text);
        for outside in ["<script", "<link", "<img", "@import", "url(", "src=", "href="] {
            assert!(!text.contains(outside), "{name} has {outside}");
        }
        let addresses = text.matches("://").count();
        let names = text.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
        assert_eq!(addresses, names, "{name}: what a name space is called is no address");
    }
    let page = file(&files, "breaking-point.html");
    assert!(page.contains("Some &lt;processor&gt; &amp; more") && !page.contains("<other>"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
}

#[test]
fn each_colour_of_the_plots_has_another_one_in_the_dark() {
    let files = report(vec![ours(), theirs()]).files().unwrap();
    for (name, svg) in files.iter().filter(|(name, _)| name.starts_with("breaking-point-")) {
        let drawing = svg.split_once("</style>").unwrap().1;
        for part in drawing.split(['"', ' ']).filter(|part| part.starts_with('#')) {
            assert!(
                plots::COLOURS.iter().any(|(light, _)| *light == part),
                "{name}: {part} is always the same"
            );
        }
    }
}

#[test]
fn a_report_of_a_server_that_failed_or_never_broke_says_so() {
    let mut failed = ours();
    failed.point.steps[2].failures.push("3 doubled".to_owned());
    failed.point.end = crate::breaking::End::Failed;
    (failed.point.broke, failed.point.held) = (None, None);
    let markdown = file(&report(vec![failed]).files().unwrap(), "breaking-point.md");
    assert!(markdown.contains("- **FAILED**: chat-server with 200 users: 3 doubled"), "{markdown}");
    let mut settings = Settings::new(Scenario::Pairs);
    settings.rate = 0.5;
    let point = made_up("chat-server", &settings, vec![measured(50)], Some(50), None);
    let markdown = file(&report(vec![Side { point, settings }]).files().unwrap(), "breaking-point.md");
    assert!(markdown.contains("none: it held 50"), "{markdown}");
    assert!(markdown.contains("who talks says 0.5 messages of 200 bytes a second"), "{markdown}");
    assert!(!markdown.contains("NaN") && !markdown.contains("inf "), "{markdown}");
}

#[test]
fn the_report_is_written_into_a_folder_that_need_not_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a/b");
    report(vec![ours()]).write(&out).unwrap();
    for name in ["breaking-point.md", "breaking-point.html", "breaking-point-cpu.svg"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let error = report(vec![ours()]).write(&out.join("breaking-point.md")).unwrap_err();
    assert!(error.to_string().contains("breaking-point.md"), "{error}");
}

#[test]
fn a_server_that_predicts_is_not_said_to_predict_nothing_where_no_breaking_point_was_found() {
    let mut found = measured(400);
    found.capacity = Some(Capacity { breaking_by_members: Some(2500.0), ..Capacity::default() });
    let settings = Settings::new(Scenario::Room);
    let point = made_up("chat-server", &settings, vec![found], Some(400), None);
    let markdown = file(&report(vec![Side { point, settings }]).files().unwrap(), "breaking-point.md");
    assert!(markdown.contains("nothing was measured to hold the server's prediction against"), "{markdown}");
    assert!(!markdown.contains("predicts nothing"), "{markdown}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_found_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    Report::check(&new).unwrap();
    assert_eq!(fs::read_dir(&new).unwrap().count(), 0, "nothing is left there");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Report::check(&file).unwrap_err().to_string();
    assert!(error.contains("file cannot be written"), "{error}");
}

#[test]
fn a_seed_model_that_is_far_off_is_said_not_to_have_the_servers_form() {
    let misfit = "has not the form of this server: one read brought";
    let text = |report: &Report| file(&report.files().unwrap(), "breaking-point.md");
    let mut side = ours();
    assert!(!text(&report(vec![ours()])).contains(misfit), "it follows the model");
    side.point.models.seed.fit.as_mut().unwrap().relative_rms = 0.44;
    let text = text(&report(vec![side]));
    assert!(text.contains("off by 44 %") && text.contains(misfit), "{text}");
}
