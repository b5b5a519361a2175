use std::time::Duration;

use super::*;

fn parse(url: &str) -> Result<PostgresAddress, InvalidAddress> {
    url.parse()
}

fn tls(parameters: &str) -> (SslMode, Option<Tls>) {
    let address = parse(&format!("postgres://db.example/chat?{parameters}")).unwrap();
    (address.config.get_ssl_mode(), address.tls)
}

fn fault(url: &str) -> InvalidAddress {
    parse(url).expect_err(url)
}

#[test]
fn an_address_is_what_libpq_makes_of_it() {
    let address = parse(
        "postgresql://ann%40x:s%2Fcr%3At@one.example:6000,two.example/ch%C3%A4t?connect_timeout=7\
         &target_session_attrs=read-write&options=-c%20search_path%3Dx&sslnegotiation=postgres",
    );
    let config = address.unwrap().config();
    assert_eq!(config.get_user(), Some("ann@x"));
    assert_eq!(config.get_password(), Some(&b"s/cr:t"[..]));
    assert_eq!(config.get_hosts(), ["one.example", "two.example"].map(|name| Host::Tcp(name.to_owned())));
    assert_eq!(config.get_ports(), [6000, 5432]);
    assert_eq!(config.get_dbname(), Some("ch\u{e4}t"));
    assert_eq!(config.get_options(), Some("-c search_path=x"));
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
}

#[test]
fn the_program_is_called_chat_unless_the_address_says_otherwise() {
    let name = |url| parse(url).unwrap().config().get_application_name().map(str::to_owned);
    assert_eq!(name("postgres://db/chat").as_deref(), Some("chat"));
    assert_eq!(name("postgres://db/chat?application_name=desk%202").as_deref(), Some("desk 2"));
}

#[test]
fn whether_the_other_side_is_there_is_asked_each_minute_unless_the_address_says_otherwise() {
    let idle = |parameters| {
        parse(&format!("postgres://db/chat?{parameters}")).unwrap().config().get_keepalives_idle()
    };
    assert_eq!(idle(""), Duration::from_mins(1));
    assert_eq!(idle("keepalives_idle=7200"), Duration::from_hours(2));
}

#[test]
fn of_several_hosts_the_one_that_takes_writes_is_meant() {
    let target = |url| parse(url).unwrap().config().get_target_session_attrs();
    assert_eq!(target("postgres://one/chat"), TargetSessionAttrs::Any);
    assert_eq!(target("postgres://one,two/chat"), TargetSessionAttrs::ReadWrite);
    assert_eq!(target("postgres:///chat?host=/run/one,two"), TargetSessionAttrs::ReadWrite);
    assert_eq!(target("postgres://one,two/chat?target_session_attrs=any"), TargetSessionAttrs::Any);
    for hosts in ["one", "one,two"] {
        let url = format!("postgres://{hosts}/chat?target_session_attrs=read-only");
        assert_eq!(fault(&url), InvalidAddress::ReadOnly);
    }
}

#[test]
fn each_mode_asks_for_what_libpq_asks_for() {
    let file = || Authorities::File("/etc/my ca.pem".into());
    let only = |verify| Some(Tls { verify, client: None });
    let (system, name) = (Authorities::System, Verify::ChainAndName);
    for (parameters, mode, tls_wanted) in [
        ("", SslMode::Prefer, only(Verify::Nothing)),
        ("sslmode=disable", SslMode::Disable, None),
        ("sslmode=prefer", SslMode::Prefer, only(Verify::Nothing)),
        ("sslmode=require", SslMode::Require, only(Verify::Nothing)),
        ("ssl%6dode=re%71uire", SslMode::Require, only(Verify::Nothing)),
        ("sslmode=require&sslrootcert=/etc/my%20ca.pem", SslMode::Require, only(Verify::Chain(file()))),
        ("sslmode=verify-ca&sslrootcert=/etc/my%20ca.pem", SslMode::Require, only(Verify::Chain(file()))),
        ("sslmode=verify-ca", SslMode::Require, only(Verify::Chain(system.clone()))),
        ("sslrootcert=/etc/my%20ca.pem&sslmode=verify-full", SslMode::Require, only(name(file()))),
        ("sslmode=verify-full", SslMode::Require, only(name(system.clone()))),
        ("sslmode=verify-full&sslrootcert=system", SslMode::Require, only(name(system.clone()))),
        ("sslrootcert=system", SslMode::Require, only(name(system))),
    ] {
        assert_eq!(tls(parameters), (mode, tls_wanted), "{parameters}");
    }
    let client = ClientFiles { cert: "c.pem".into(), key: "k.pem".into() };
    let shown = tls("sslcert=c.pem&sslkey=k.pem").1.unwrap();
    assert_eq!(shown, Tls { verify: Verify::Nothing, client: Some(client) });
}

#[test]
fn parameters_that_do_not_go_together_are_told() {
    use InvalidAddress::{
        Allow, DirectNeedsTls, HalfClient, NoEffect, NoValue, SystemNeedsName, Twice, Unknown, Value,
    };
    for (parameters, wanted) in [
        ("sslmode=allow", Allow),
        ("sslmode=REQUIRE", Value("sslmode")),
        ("sslmode=", Value("sslmode")),
        ("sslrootcert=&sslmode=verify-ca", Value("sslrootcert")),
        ("sslrootcert=%ff&sslmode=verify-ca", Value("sslrootcert")),
        ("sslmode=disable&sslrootcert=ca.pem", NoEffect("sslrootcert", "disable")),
        ("sslmode=disable&sslcert=c.pem&sslkey=k.pem", NoEffect("sslcert", "disable")),
        ("sslrootcert=ca.pem", NoEffect("sslrootcert", "prefer")),
        ("sslmode=prefer&sslrootcert=ca.pem", NoEffect("sslrootcert", "prefer")),
        ("sslmode=require&sslrootcert=system", SystemNeedsName),
        ("sslmode=verify-ca&sslrootcert=system", SystemNeedsName),
        ("sslcert=c.pem", HalfClient),
        ("sslkey=k.pem", HalfClient),
        ("sslnegotiation=direct", DirectNeedsTls),
        ("sslnegotiation=direct&sslmode=disable", DirectNeedsTls),
        ("sslmode=require&sslmode=verify-full", Twice("sslmode")),
        ("sslmode=require&ssl%6Dode=disable", Twice("sslmode")),
        ("connect_timeout=1&connect_timeout=2", Twice("connect_timeout")),
        ("connect_timeout=soon", Value("connect_timeout")),
        ("target_session_attrs=standby", Value("target_session_attrs")),
        ("sslmode=require&sslcompression=1", Unknown(2)),
        ("service=chat", Unknown(1)),
        ("sslmode", NoValue(1)),
        ("sslmode=require&", NoValue(2)),
    ] {
        assert_eq!(fault(&format!("postgres://db/chat?{parameters}")), wanted, "{parameters}");
    }
    let direct = parse("postgres://db/chat?sslnegotiation=direct&sslmode=require").unwrap();
    assert_eq!(direct.config().get_ssl_negotiation(), SslNegotiation::Direct);
}

#[test]
fn an_address_says_nothing_twice() {
    for (url, name) in [
        ("postgres://one/chat?host=two", "host"),
        ("postgres://one/chat?port=5433", "port"),
        ("postgres://one/chat?dbname=desk", "dbname"),
        ("postgres://ann@one/chat?user=bob", "user"),
        ("postgres://ann:x@one/chat?password=y", "password"),
    ] {
        assert_eq!(fault(url), InvalidAddress::Twice(name), "{url}");
    }
    let apart = parse("postgres://?host=one&port=5433&dbname=chat&user=ann&password=x").unwrap();
    assert_eq!(apart.config(), {
        let together = parse("postgres://ann:x@one:5433/chat").unwrap();
        together.config()
    });
}

#[test]
fn every_parameter_that_is_passed_on_is_one_of_the_drivers() {
    for name in DRIVERS {
        let value = match name {
            "channel_binding" | "load_balance_hosts" => "disable",
            "sslnegotiation" => "postgres",
            "target_session_attrs" => "any",
            "hostaddr" => "127.0.0.1",
            _ => "1",
        };
        format!("postgres://?{name}={value}").parse::<Config>().expect(name);
    }
}

#[test]
fn a_host_is_a_name_an_address_or_a_socket() {
    use InvalidAddress::{Host as NoSuch, MixedNeedsPlain, NoHost, SocketWithAddress, Uneven};
    for (url, wanted) in [
        ("postgres://", NoHost),
        ("postgres:///chat", NoHost),
        ("postgres://ann@/chat", NoHost),
        ("postgres://:5433/chat", NoSuch(1)),
        ("postgres://one,,three/chat", NoSuch(2)),
        ("postgres://one%40two/chat?sslmode=disable", NoSuch(1)),
        ("postgres:///chat?host=run/postgresql&sslmode=disable", NoSuch(1)),
        ("postgres:///chat?host=one%2Ctwo&sslmode=disable", NoSuch(1)),
        ("postgres://db..example/chat", NoSuch(1)),
        ("postgres://one,two/chat?hostaddr=127.0.0.1", Uneven("hostaddr")),
        ("postgres:///chat?host=/run/pg&hostaddr=127.0.0.1&sslmode=require", SocketWithAddress),
        ("postgres:///chat?host=one&port=1,2", Uneven("port")),
        ("postgres://%2Frun%2Fpg,one/chat?sslmode=require", MixedNeedsPlain),
    ] {
        assert_eq!(fault(url), wanted, "{url}");
    }
    for url in [
        "postgres://[::1]:5433/chat",
        "postgres://127.0.0.1/chat?sslmode=verify-full",
        "postgres://my_db/chat",
        "postgres://db..example/chat?sslmode=disable",
        "postgres://%2Frun%2Fpg,one/chat",
    ] {
        parse(url).expect(url);
    }
    let list = parse("postgres:///chat?host=one,/run/pg,two&port=1,2,3").unwrap();
    assert_eq!(list.shown(), "postgres://one:1,%2Frun%2Fpg:2,two:3/chat");
}

#[test]
fn an_address_without_a_name_is_its_own_name() {
    let config = parse("postgres:///chat?hostaddr=127.0.0.1,::1&port=5433").unwrap().config();
    assert_eq!(config.get_hosts(), ["127.0.0.1", "::1"].map(|name| Host::Tcp(name.to_owned())));
    assert_eq!(config.get_hostaddrs().len(), 2);
}

#[test]
fn a_socket_is_never_encrypted_whatever_the_mode() {
    for mode in ["prefer", "require", "verify-full", "require&sslnegotiation=direct"] {
        let address = parse(&format!("postgres:///chat?host=/run/postgresql&sslmode={mode}")).unwrap();
        assert_eq!((address.config().get_ssl_mode(), &address.tls), (SslMode::Disable, &None), "{mode}");
        address.connector().expect("no file is read");
    }
}

#[test]
fn nothing_that_is_shown_has_the_login_in_it() {
    let address = parse("postgres://ann:hunter2@[::1]:5433,db/ch%20at%0a?sslmode=require").unwrap();
    assert_eq!(address.shown(), "postgres://[::1]:5433,db/ch%20at%0A");
    assert_eq!(parse("postgres://ann@db").unwrap().shown(), "postgres://db");
    let socket = parse("postgres://ann:hunter2@%2Frun%2Fpostgresql/chat").unwrap();
    assert_eq!(socket.shown(), "postgres://%2Frun%2Fpostgresql/chat");
    for address in [address, socket, parse("postgres://db/chat?password=hunter2").unwrap()] {
        assert!(!format!("{address:?} {address:#?}").contains("hunter2"));
    }
}

#[test]
fn no_message_has_a_part_of_a_password_in_it() {
    let place = |reason: &str| InvalidAddress::Place(reason.to_owned());
    for (url, wanted) in [
        ("postgres://ann:hunter2@hunter2@db/chat", InvalidAddress::Unescaped),
        ("postgres://ann:hun/hunter2@db/chat", InvalidAddress::Unescaped),
        ("postgres://ann:hun?hunter2=hunter2@db/chat", InvalidAddress::Unescaped),
        ("postgres://db/chat?password=hun@hunter2", InvalidAddress::Unescaped),
        ("postgres://db/chat?password=hun&hunter2=x", InvalidAddress::Unknown(2)),
        ("postgres://db/chat?password=hun&hunter2", InvalidAddress::NoValue(2)),
        ("postgres://ann:hunter2%00@db/chat", InvalidAddress::Nul),
        ("postgres://db/chat?password=hunter2%00", InvalidAddress::Nul),
        ("postgres://ann:hunter2/chat", InvalidAddress::Place("invalid value for option `port`".to_owned())),
        ("postgres://hunter2%ff@db/chat", place("invalid utf-8 sequence of 1 bytes from index 7")),
        ("mysql://ann:hunter2@db/chat", InvalidAddress::Scheme),
        ("host=db password=hunter2", InvalidAddress::Scheme),
    ] {
        let fault = fault(url);
        assert_eq!(fault, wanted, "{url}");
        let message = fault.to_string();
        assert!(!message.contains("hunter2") && !message.contains('\n'), "{message}");
    }
}
