//! What is read, and from where.

use super::*;

#[test]
fn a_flag_counts_before_the_environment_before_the_file_before_the_default() {
    let drain = |process: Process| process.settings().drain_timeout.as_secs();
    assert_eq!(drain(Process::new()), 10);
    let file = || Process::new().file("drain-timeout = '1s'");
    assert_eq!(drain(file()), 1);
    assert_eq!(drain(file().env("CHAT_DRAIN_TIMEOUT", "2s")), 2);
    assert_eq!(drain(file().env("CHAT_DRAIN_TIMEOUT", "2s").args(["--drain-timeout", "3s"])), 3);
    assert_eq!(drain(file().args(["--drain-timeout", "3s"])), 3);
}

#[test]
fn a_list_is_taken_from_one_source_alone() {
    let proxies = |process: Process| {
        let proxies = process.settings().trusted_proxy;
        proxies.iter().map(|proxy| proxy.0.to_string()).collect::<Vec<_>>()
    };
    assert!(proxies(Process::new()).is_empty());
    let file = || Process::new().file("trusted-proxy = ['10.0.0.0/8', '192.0.2.1']");
    assert_eq!(proxies(file()), ["10.0.0.0/8", "192.0.2.1/32"]);
    let environment = || file().env("CHAT_TRUSTED_PROXIES", "2001:db8::/32, ::1");
    assert_eq!(proxies(environment()), ["2001:db8::/32", "::1/128"]);
    let flags = ["--trusted-proxy", "127.0.0.1", "check-config", "--trusted-proxy", "127.0.0.2"];
    assert_eq!(proxies(environment().args(flags)), ["127.0.0.1/32", "127.0.0.2/32"]);
    assert!(proxies(Process::new().file("trusted-proxy = []")).is_empty());
    assert_eq!(proxies(Process::new().file("trusted-proxy = '::1'")), ["::1/128"]);
}

#[test]
fn every_setting_can_come_from_every_source() {
    for definition in Definition::all() {
        let (name, variable) = (definition.name(), definition.variable().to_str().unwrap());
        let plural = definition.is_list();
        let expected = name.replace('-', "_").to_uppercase();
        let expected = if plural { expected.replace("PROXY", "PROXIE") + "S" } else { expected };
        assert_eq!(variable, format!("CHAT_{expected}"), "the names follow from each other");
        let good = match name {
            "config" | "nats" => continue,
            "listen" | "metrics-listen" => "127.0.0.1:1",
            "database" => "sqlite:x.db",
            "sqlite-synchronous" => "normal",
            "auth" => "open",
            "jwt-secret" => SECRET,
            "allowed-origin" => "https://a.example",
            "trusted-proxy" => "10.0.0.0/8",
            "rate-user" => "1:2",
            "connections-max"
            | "connections-per-address"
            | "postgres-connections"
            | "rooms-per-connection" => "7",
            "degradation" => "off",
            "drain-timeout" => "1m",
            "log" => "warn",
            "log-format" => "json",
            _ => "text",
        };
        let flag = format!("--{name}");
        for process in [
            Process::new().args([&*flag, good]),
            Process::new().args(["check-config", &*flag, good]),
            Process::new().env(variable, good),
            Process::new().file(&format!("{name} = \"{good}\"")),
        ] {
            let asked = process.read().unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
            assert_eq!(asked.given.get(name).unwrap().texts, [good]);
        }
    }
}

#[test]
fn a_number_in_a_file_is_as_good_as_its_text() {
    let settings = Process::new().file("rooms-per-connection = 7\ndrain-timeout = 3").settings();
    assert_eq!(settings.rooms_per_connection.get(), 7);
    assert_eq!(settings.drain_timeout, Duration::from_secs(3));
}

#[test]
fn a_bad_value_that_another_source_covers_does_no_harm() {
    let process = Process::new().env("CHAT_LISTEN", "nowhere").args(["--listen", "127.0.0.1:0"]);
    assert_eq!(process.settings().listen.port(), 0);
}

#[test]
fn variables_of_others_do_no_harm_and_are_told() {
    let process = Process::new()
        .env("CHAT_PORT", "tcp://10.0.0.1:8080")
        .env("CHAT_SERVER_SERVICE_HOST", "10.0.0.1")
        .env("CHAT_SERVER_PORT_8080_TCP_ADDR", "10.0.0.1")
        .env("OTHER", "thing");
    let asked = process.read().unwrap();
    let strangers = ["CHAT_PORT", "CHAT_SERVER_PORT_8080_TCP_ADDR", "CHAT_SERVER_SERVICE_HOST"];
    assert_eq!(asked.given.strangers(), strangers);
}

#[test]
fn listening_on_loopback_everybody_is_believed() {
    for good in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        Process::new().args(["--listen", good]).read().unwrap().check().unwrap();
    }
    let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    Process::new().args(ports).read().unwrap().check().unwrap();
}

#[test]
fn a_key_is_read_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let key = |setting: &str, content: &[u8]| {
        fs::write(&path, content).unwrap();
        let process = Process::new().args(["--auth", "jwt", setting, path.to_str().unwrap()]);
        let files = process.read().unwrap_or_else(|refusal| panic!("{refusal:?}")).check();
        files.map(|files| files.key.is_some()).map_err(|mistake| mistake.to_string())
    };
    for good in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        assert_eq!(key("--jwt-secret-file", good.as_bytes()), Ok(true));
    }
    let short = SECRET.strip_prefix('0').unwrap();
    for bad in [short.to_owned(), format!("{short}\n"), format!("{short}\r\n")] {
        let line = key("--jwt-secret-file", bad.as_bytes()).unwrap_err();
        assert!(line.starts_with("--jwt-secret-file: ") && line.contains("32 bytes"), "{line}");
        assert!(!line.contains(short), "{line}");
    }
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    assert_eq!(key("--jwt-public-key", public.as_bytes()), Ok(true));
    for bad in [&b"hunter2"[..], b"\xff\xfe", b""] {
        let line = key("--jwt-public-key", bad).unwrap_err();
        assert!(line.starts_with("--jwt-public-key: ") && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn limits_are_lifted_in_open_mode_unless_they_are_set() {
    let open = Process::new().settings();
    assert_eq!((open.rate_of_user(), open.connections_of_address()), (OrOff::Off, OrOff::Off));
    let set = ["--rate-user", "3:4", "--connections-per-address", "5"];
    let open = Process::new().args(set).settings();
    assert_eq!(open.rate_of_user().to_string(), "3:4");
    assert_eq!(open.connections_of_address().to_string(), "5");
    let jwt = Process::new().args(["--auth", "jwt", "--jwt-secret", SECRET]);
    let settings = jwt.settings();
    assert_eq!(settings.rate_of_user().to_string(), "20:100");
    assert_eq!(settings.connections_of_address().to_string(), "100");
    let off = jwt.args(["--rate-user", "off", "--connections-per-address", "off"]).settings();
    assert_eq!((off.rate_of_user(), off.connections_of_address()), (OrOff::Off, OrOff::Off));
}

#[test]
fn a_task_is_told_from_serving() {
    let task = |arguments: &[&str]| Process::new().args(arguments.iter().copied()).read().unwrap().task;
    assert_eq!(task(&[]), None);
    assert_eq!(task(&["check-config"]), Some(Task::CheckConfig));
    assert_eq!(task(&["migrate"]), Some(Task::Maintain(Maintenance::Migrate)));
    assert_eq!(task(&["renew-epochs"]), Some(Task::Maintain(Maintenance::RenewEpochs)));
    let file = PathBuf::from("copy.db");
    assert_eq!(task(&["backup", "copy.db"]), Some(Task::Maintain(Maintenance::Backup { file })));
}

#[test]
fn a_time_is_seconds_or_has_a_unit() {
    assert_eq!(values::time("10"), Ok(Duration::from_secs(10)));
    assert_eq!(values::time("10s"), Ok(Duration::from_secs(10)));
    assert_eq!(values::time("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(values::time("2m"), Ok(Duration::from_mins(2)));
    for bad in ["", "s", "-1", "1.5s", "1 s", "10h", "s10"] {
        assert!(values::time(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_database_is_known_by_its_scheme() {
    let database = |text: &str| text.parse::<Database>();
    assert!(matches!(database("sqlite::memory:"), Ok(Database::SqliteMemory)));
    assert!(matches!(database("sqlite:/a/b.db"), Ok(Database::Sqlite(path)) if path == Path::new("/a/b.db")));
    for good in ["postgres://h/d", "postgresql://ann:hunter2@h:1,g:2/d?sslmode=require"] {
        assert!(matches!(database(good), Ok(Database::Postgres(_))), "{good}");
    }
    for bad in ["", "sqlite:", "chat.db", "mysql://h", "postgres:h/d", "postgres:///d", "Postgres://h/d"] {
        assert!(database(bad).is_err(), "{bad}");
    }
}

#[test]
fn connections_leave_descriptors_for_all_else() {
    let left = |descriptors: u64| descriptors - connections_of(descriptors).get() as u64;
    // Refused ones at both addresses, the metrics' own, and some twenty of the database with what else is open.
    assert!(left(1024) >= 64 + 64 + 64 + 32, "{}", left(1024));
    assert_eq!(left(1 << 20), left(1024));
    assert_eq!(connections_of(100).get(), 50);
    let postgres = ["--database", "postgres://h/d", "--postgres-connections", "30"];
    let (sqlite, postgres) = (Process::new().settings(), Process::new().args(postgres).settings());
    if rlimit::Resource::NOFILE.get_hard().is_ok_and(|hard| hard != rlimit::INFINITY) {
        assert_eq!(sqlite.connections().get() - postgres.connections().get(), 30);
    }
}
