//! What is told of a mistake.

use super::*;

#[test]
fn a_bad_value_is_told_with_its_setting_and_its_source() {
    for (name, bad) in [
        ("listen", "nowhere"),
        ("listen", ""),
        ("listen", "localhost:80"),
        ("database", "mysql://ann:hunter2@h/d"),
        ("database", "postgres:ann:hunter2@h/d"),
        ("database", "postgres://ann:hunter2@h:x/d"),
        ("database", "postgres://ann:hunt@hunter2@h/d"),
        ("database", "postgres://h/d?password=hunter2&hunter2=1"),
        ("database", "postgres://h/d?password=hunter2&sslmode=hunter2"),
        ("postgres-connections", "2"),
        ("postgres-connections", "1001"),
        ("postgres-connections", "off"),
        ("sqlite-synchronous", "off"),
        ("nats", "nats://ann:hunter2@h"),
        ("auth", "accounts"),
        ("auth", "none"),
        ("jwt-secret", "hunter2"),
        ("jwt-secret", "-hunter2"),
        ("jwt-audience", ""),
        ("jwt-issuer", ""),
        ("allowed-origin", "a.example"),
        ("allowed-origin", "https://a.example/path"),
        ("allowed-origin", "https://*.a.example"),
        ("allowed-origin", "*"),
        ("trusted-proxy", "10.0.0.0/33"),
        ("trusted-proxy", "proxy.example"),
        ("metrics-listen", "9090"),
        ("rate-user", "20"),
        ("rate-user", "0:1"),
        ("rate-user", "1:0"),
        ("rate-user", "1:1000001"),
        ("rate-user", "never"),
        ("connections-max", "0"),
        ("connections-max", "-1"),
        ("connections-max", "off"),
        ("connections-per-address", "0"),
        ("connections-per-address", "none"),
        ("rooms-per-connection", "1.5"),
        ("degradation", "true"),
        ("drain-timeout", "soon"),
        ("drain-timeout", "1h"),
        ("log", "a=b=c"),
        ("log", ""),
        ("log", "inof"),
        ("log", "info,"),
        ("log", "info;debug"),
        ("log", "chat_core="),
        ("log", "chat_core[x]=debug"),
        ("allowed-origin", "https://u:hunter2@example.com"),
        ("log-format", "xml"),
    ] {
        let definitions = Definition::all();
        let definition = definitions.iter().find(|definition| definition.name() == name).unwrap();
        let variable = definition.variable().to_str().unwrap();
        let flag = format!("--{name}");
        for (process, source) in [
            (Process::new().args([format!("{flag}={bad}").as_str()]), flag.as_str()),
            (Process::new().env(variable, bad), variable),
            (
                Process::new().file(&format!("# one\n\n{name} = \"{bad}\"\n")),
                &format!("chat.toml line 3: {name}"),
            ),
        ] {
            let line = process.mistake();
            assert!(line.contains(source), "{name}: {line}");
            assert!(!line.contains("hunter2"), "{name}: {line}");
        }
    }
}

#[test]
fn what_is_no_setting_is_told_with_its_source() {
    for (process, told) in [
        (Process::new().args(["--listn", "x"]), "--listn"),
        (Process::new().args(["--jwt-secert=hunter2"]), "--jwt-secert"),
        (Process::new().args(["check-config", "--listn"]), "--listn"),
        (Process::new().args(["stray"]), "stray"),
        (Process::new().args(["backup"]), "<FILE>"),
        (Process::new().args(["backup", "a", "b"]), "'b'"),
        (Process::new().args(["copy", "--from", "sqlite:a"]), "--to"),
        (Process::new().args(["copy", "--to", "postgres://ann:hunter2@h/d"]), "--from"),
        (Process::new().args(["copy", "sqlite:a", "postgres://ann:hunter2@h/d"]), "'sqlite:a'"),
        (Process::new().args(["copy", "postgres://ann:hunter2@h/d"]), "unexpected argument '***'"),
        (Process::new().args(["postgres://ann:hunter2@h/d"]), "'***'"),
        (Process::new().args(["--listen"]), "--listen"),
        (Process::new().env("CHAT_LISTN", "x"), "CHAT_LISTN"),
        (Process::new().env("CHAT_JWT_SECERT", "hunter2"), "CHAT_JWT_SECERT"),
        (Process::new().env("CHAT_ALLOWED_ORIGIN", "https://a.example"), "CHAT_ALLOWED_ORIGIN:"),
        (Process::new().file("listen = '127.0.0.1:0'\nlistn = 'x'"), "chat.toml line 2: listn"),
        (Process::new().file("jwt_secret = 'hunter2'"), "chat.toml line 1: jwt_secret"),
        (Process::new().file("[server]\nlisten = 'x'"), "chat.toml line 1: server"),
        (Process::new().file("config = 'other.toml'"), "chat.toml line 1: config"),
    ] {
        let line = process.mistake();
        assert!(line.contains(told), "{told}: {line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn a_file_that_is_no_file_of_settings_is_told_with_its_line_and_without_its_text() {
    for (text, told) in [
        ("listen = '127.0.0.1:0'\njwt-secret = hunter2\n", "line 2"),
        ("\n\njwt-secret = 'hunter2\n", "line 3"),
        ("log = 'info'\nlog = 'warn'\n", "line 2"),
        ("listen = true", "line 1: listen: it is a string or a whole number"),
        ("drain-timeout = 1.5", "line 1: drain-timeout"),
        ("log = ['info']", "line 1: log: it has one value"),
        ("allowed-origin = [1, true]", "line 1: allowed-origin: a list has strings only"),
        ("allowed-origin = {a = 1}", "line 1: allowed-origin: it is a list"),
        ("rooms-per-connection = 0x10", "line 1: rooms-per-connection"),
    ] {
        let line = Process::new().file(text).mistake();
        assert!(line.contains("chat.toml") && line.contains(told), "{told}: {line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
    let line = Process::new().args(["--config", "/nowhere/chat.toml"]).mistake();
    assert!(line.starts_with("--config: /nowhere/chat.toml"), "{line}");
    let line = Process::new().env("CHAT_CONFIG", "/proc/self").mistake();
    assert!(line.starts_with("CHAT_CONFIG: /proc/self"), "{line}");
}

#[test]
fn what_is_given_twice_is_a_mistake_before_the_task_or_after_it() {
    assert!(Process::new().args(["--connections-max", "-1"]).mistake().contains("--connections-max"));
    let twice = ["--log", "info", "--log", "info"];
    assert!(Process::new().args(twice).mistake().contains("--log"));
    let around = ["--log", "info", "check-config", "--log", "info"];
    assert!(Process::new().args(around).mistake().contains("--log"));
}

#[test]
fn settings_are_held_against_each_other() {
    let jwt = || Process::new().args(["--auth", "jwt"]);
    let pem = "/nowhere/key.pem";
    for (process, told) in [
        (Process::new().env("CHAT_LISTEN", "0.0.0.0:80"), "CHAT_LISTEN \"0.0.0.0:80\": --auth open"),
        (Process::new().args(["--listen", "[::]:80"]), "--listen \"[::]:80\": --auth open"),
        (jwt(), "--auth: jwt needs"),
        (Process::new().file("auth = 'jwt'"), "chat.toml line 1: auth: jwt needs"),
        (
            jwt().env("CHAT_JWT_SECRET", SECRET).args(["--jwt-public-key", pem]),
            "--jwt-public-key: there is one key, and CHAT_JWT_SECRET gives another",
        ),
        (
            jwt().args(["--jwt-secret", SECRET, "--jwt-secret-file", pem]),
            "--jwt-secret-file: there is one key, and --jwt-secret gives another",
        ),
        (Process::new().env("CHAT_JWT_SECRET", SECRET), "CHAT_JWT_SECRET: only --auth jwt"),
        (Process::new().args(["--jwt-audience", "chat"]), "--jwt-audience: only --auth jwt"),
        (Process::new().file("jwt-issuer = 'x'"), "chat.toml line 1: jwt-issuer: only --auth jwt"),
        (
            Process::new().args(["--sqlite-synchronous", "full", "--database", "postgres://h/d"]),
            "--sqlite-synchronous: only --database sqlite:… has a use for it",
        ),
        (
            Process::new().env("CHAT_POSTGRES_CONNECTIONS", "12"),
            "CHAT_POSTGRES_CONNECTIONS: only --database postgres://… has a use for it",
        ),
        (Process::new().args(["--tls-cert", pem]), "--tls-cert: --tls-key is needed"),
        (Process::new().env("CHAT_TLS_KEY", pem), "CHAT_TLS_KEY: --tls-cert is needed"),
        (
            Process::new().args(["--listen", "127.0.0.1:8000", "--metrics-listen", "127.0.0.1:8000"]),
            "--metrics-listen: --listen has 127.0.0.1:8000 already",
        ),
        (Process::new().args(["--connections-max", "18446744073709551615"]), "--connections-max"),
        (jwt().args(["--jwt-secret-file", pem]), "--jwt-secret-file: /nowhere/key.pem cannot be read"),
        (jwt().args(["--jwt-public-key", pem]), "--jwt-public-key: /nowhere/key.pem cannot be read"),
    ] {
        let line = process.mistake();
        assert!(line.contains(told), "{told}: {line}");
        assert!(!line.contains(SECRET), "{line}");
    }
}
