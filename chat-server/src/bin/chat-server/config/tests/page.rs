//! The page of the settings is true.

use super::*;

/// A page of the documentation.
fn page(name: &str) -> String {
    fs::read_to_string(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The first three columns of each setting's row in a page.
fn rows(page: &str) -> Vec<[String; 3]> {
    let rows = page.lines().filter(|line| line.starts_with("| `--"));
    let cells = |row: &str| {
        let mut cells = row.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned());
        std::array::from_fn(|_| cells.next().unwrap())
    };
    rows.map(cells).collect()
}

#[test]
fn the_page_of_the_settings_has_all_of_them_as_they_are() {
    let dependent = ["rate-user", "connections-max", "connections-per-address"];
    let rows_of_settings = rows(&page("configuration.md"));
    let flags: Vec<_> = rows_of_settings.iter().map(|[flag, ..]| flag.clone()).collect();
    let definitions = Definition::all();
    let defined: Vec<_> = definitions.iter().map(|known| format!("`--{}`", known.name())).collect();
    assert_eq!(flags, defined);
    for ([flag, variable, default], definition) in rows_of_settings.iter().zip(&definitions) {
        assert_eq!(*variable, format!("`{}`", definition.variable().to_str().unwrap()), "{flag}");
        if !dependent.contains(&definition.name()) {
            let expected = definition.default().map_or_else(|| "none".to_owned(), |text| format!("`{text}`"));
            assert_eq!(*default, expected, "{flag}");
        }
    }
    let rate = &rows_of_settings[flags.iter().position(|flag| flag == "`--rate-user`").unwrap()];
    assert!(rate[2].contains(RATE_USER), "{rate:?}");
    // The page of the protocol has some of them.
    let rows_of_protocol = rows(&page("protocol.md"));
    assert!(!rows_of_protocol.is_empty());
    for row in rows_of_protocol {
        assert!(rows_of_settings.contains(&row), "{row:?}");
    }
}

#[test]
fn the_example_of_a_file_is_one() {
    let page = page("configuration.md");
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let asked = Process::new().file(example).read().unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(asked.settings.auth, Auth::Jwt);
    assert_eq!(asked.settings.allowed_origin.len(), 2);
    // All that is missing are the files that it names.
    let line = asked.check().unwrap_err().to_string();
    assert!(line.contains("cannot be read"), "{line}");
}
