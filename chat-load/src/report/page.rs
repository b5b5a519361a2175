//! A report as one page of HTML that needs nothing else.

use std::fmt::Write as _;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

use super::{
    diagram::SVG,
    plots::{COLOURS, Plot},
};

const STYLE: &str = include_str!("page.css");

/// The page of this Markdown.
pub(super) fn page(markdown: &str, plots: &[Plot]) -> String {
    let mut body = String::new();
    push_html(&mut body, drawn(markdown, plots).into_iter());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light \
         dark\"/>\n<title>The breaking point</title>\n<style>\n{STYLE}@media (prefers-color-scheme: dark) \
         {{\n{}}}\n</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        dark()
    )
}

/// A plot as a file of its own, which knows the dark, too.
pub(super) fn file(plot: &Plot) -> String {
    let style = format!("<style>@media (prefers-color-scheme: dark) {{\n{}}}</style>\n", dark());
    match plot.svg.split_once('>') {
        Some((head, rest)) => format!("{head}>\n<title>{}</title>\n{style}{}", plot.alt, rest.trim_start()),
        None => plot.svg.clone(),
    }
}

/// The rules that give each colour of a plot another one.
fn dark() -> String {
    let mut rules = String::new();
    for (light, dark) in COLOURS {
        for what in ["fill", "stroke"] {
            let _ = writeln!(rules, "[{what}=\"{light}\"] {{ {what}: {dark}; }}");
        }
    }
    rules
}

/// The events of the Markdown, with pictures in place of their links, and tables that can be moved sideways.
fn drawn<'a>(markdown: &'a str, plots: &[Plot]) -> Vec<Event<'a>> {
    let mut events = Vec::new();
    let mut is_hidden = false;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Image { dest_url, .. }) => {
                is_hidden = true;
                events.push(Event::InlineHtml(picture(&dest_url, plots)));
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(ref kind))) if &**kind == "mermaid" => {
                is_hidden = true;
                events.push(Event::Html(format!("<figure>{SVG}</figure>\n").into()));
            }
            Event::End(TagEnd::Image | TagEnd::CodeBlock) if is_hidden => is_hidden = false,
            _ if is_hidden => {}
            Event::Start(Tag::Table(of)) => {
                events.push(Event::Html("<div class=\"wide\">".into()));
                events.push(Event::Start(Tag::Table(of)));
            }
            Event::End(TagEnd::Table) => {
                events.push(Event::End(TagEnd::Table));
                events.push(Event::Html("</div>\n".into()));
            }
            other => events.push(other),
        }
    }
    events
}

fn picture<'a>(url: &str, plots: &[Plot]) -> CowStr<'a> {
    let found = plots.iter().find(|plot| url == super::file_name(plot));
    found.map_or_else(
        || CowStr::from(""),
        |plot| {
            let label = format!("<svg role=\"img\" aria-label=\"{}\"", plot.alt);
            plot.svg.replacen("<svg", &label, 1).into()
        },
    )
}
