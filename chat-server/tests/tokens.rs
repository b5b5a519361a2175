//! Tokens, by every way in: which count, and that all others get the same answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use chat_server::{JwtAuth, JwtKey};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use support::{
    Answer, Client, RawClient, TestServer, masked,
    tokens::{SECRET, in_seconds, key, raw_token, signed, token, token_for},
    upgrade_request,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const AUDIENCE: &str = "chat";
const ISSUER: &str = "https://accounts.example";

async fn server(key: JwtKey) -> TestServer {
    TestServer::start_as(|builder| builder.authenticator(JwtAuth::new(key))).await
}

async fn server_with_secret() -> TestServer {
    server(JwtKey::secret(SECRET).unwrap()).await
}

/// Sends a request of the API with these header lines.
async fn request(server: &TestServer, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{lines}", server.address);
    let body = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    server.raw_http(&format!("{head}{body}")).await
}

/// Whom a token of an API request stands for, or the status of the refusal.
async fn me(server: &TestServer, lines: &str) -> Result<Value, u16> {
    let answer = request(server, "GET", "/api/v1/me", lines, "").await;
    if answer.status == 200 { Ok(answer.json()) } else { Err(answer.status) }
}

/// A socket's request with these header lines: its status.
async fn upgrade(server: &TestServer, lines: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = upgrade_request(server.address, "nobody")
        .replace("?user=nobody", "")
        .replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    (Answer::read_head_only(&mut stream).await.status, stream)
}

/// A socket whose first frame is this text.
async fn first_frame(server: &TestServer, frame: &str) -> RawClient {
    let (status, mut stream) = upgrade(server, "").await;
    assert_eq!(status, 101, "a socket may say who it is in its first frame");
    stream.write_all(&masked(0x81, frame.as_bytes())).await.unwrap();
    RawClient(stream)
}

/// Holds that a token is refused by every way in.
async fn assert_refused(server: &TestServer, what: &str, token: &str) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let cookie = format!("Cookie: chat_session={token}\r\nOrigin: http://{}\r\n", server.address);
    for lines in [&bearer, &cookie] {
        let answer = request(server, "GET", "/api/v1/me", lines, "").await;
        assert_eq!(answer.error(), (401, "unauthorized".to_owned()), "{what}");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{what}");
        assert_eq!(upgrade(server, lines).await.0, 401, "{what}");
    }
    let frame = json!({ "type": "auth", "id": 1, "token": token }).to_string();
    assert_eq!(first_frame(server, &frame).await.close_code().await, Some(4001), "{what}");
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({ "sub": "ann", "exp": in_seconds(600) });
    change(&mut claims);
    claims
}

fn header(name: &str, value: Value) -> Value {
    let mut header = json!({ "alg": "HS256", "typ": "JWT" });
    header[name] = value;
    header
}

#[tokio::test]
async fn a_good_token_names_a_user_by_every_way_in() {
    let server = server_with_secret().await;
    let token = signed(&json!({
        "sub": "ann", "exp": in_seconds(600), "nbf": in_seconds(-5), "name": "Ann", "role": "manager", "x": [1]
    }));
    let ann = json!({ "id": "ann", "name": "Ann", "role": "manager" });
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let cookie = format!("Cookie: a=b; chat_session={token}\r\n");
    let origin = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(me(&server, &bearer).await.unwrap(), ann);
    assert_eq!(me(&server, &cookie).await.unwrap(), ann);
    for lines in [bearer, format!("{cookie}{origin}")] {
        let (status, stream) = upgrade(&server, &lines).await;
        assert_eq!(status, 101);
        let welcome = RawClient(stream).frame().await.unwrap().1;
        assert_eq!(serde_json::from_slice::<Value>(&welcome).unwrap()["user"], ann);
    }
    let frame = json!({ "type": "auth", "id": 9, "token": token }).to_string();
    let mut client = first_frame(&server, &frame).await;
    let mut said = async || serde_json::from_slice::<Value>(&client.frame().await.unwrap().1).unwrap();
    let welcome = said().await;
    assert_eq!((&welcome["type"], &welcome["user"]), (&json!("welcome"), &ann));
    assert_eq!(said().await, json!({ "type": "ok", "id": 9 }));
}

#[tokio::test]
async fn every_kind_of_key_verifies_its_own_tokens_and_no_others() {
    let rsa = EncodingKey::from_rsa_pem(key("rsa").as_bytes()).unwrap();
    let p256 = EncodingKey::from_ec_pem(key("p256").as_bytes()).unwrap();
    let ed25519 = EncodingKey::from_ed_pem(key("ed25519").as_bytes()).unwrap();
    let secret = EncodingKey::from_secret(SECRET);
    let by = |algorithm, name: &str, key: &EncodingKey| {
        token(&json!({ "alg": name }), &claims(|_| ()), algorithm, key)
    };
    let tokens = [
        ("rsa.pub", by(Algorithm::RS256, "RS256", &rsa)),
        ("p256.pub", by(Algorithm::ES256, "ES256", &p256)),
        ("ed25519.pub", by(Algorithm::EdDSA, "EdDSA", &ed25519)),
        ("", by(Algorithm::HS256, "HS256", &secret)),
    ];
    for (name, good) in &tokens {
        let jwt_key = if name.is_empty() { JwtKey::secret(SECRET) } else { JwtKey::public_pem(&key(name)) };
        let server = server(jwt_key.unwrap()).await;
        assert_eq!(me(&server, &format!("Authorization: Bearer {good}\r\n")).await.unwrap()["id"], "ann");
        for (other, bad) in tokens.iter().filter(|(other, _)| other != name) {
            assert_refused(&server, &format!("a token of {other:?} for {name:?}"), bad).await;
        }
    }
}

#[tokio::test]
async fn the_key_and_not_the_token_says_which_algorithm() {
    let public = key("rsa.pub");
    let server = server(JwtKey::public_pem(&public).unwrap()).await;
    let rsa = EncodingKey::from_rsa_pem(key("rsa").as_bytes()).unwrap();
    let confused = EncodingKey::from_secret(public.as_bytes());
    let by = |name: &str, algorithm, key| token(&json!({ "alg": name }), &claims(|_| ()), algorithm, key);
    for (what, bad) in [
        ("the public key as a secret", by("HS256", Algorithm::HS256, &confused)),
        ("another hash of the family", by("RS512", Algorithm::RS512, &rsa)),
        ("another padding", by("PS256", Algorithm::PS256, &rsa)),
        ("a name that is not what signed", by("PS256", Algorithm::RS256, &rsa)),
    ] {
        assert_refused(&server, what, &bad).await;
    }
    let server = server_with_secret().await;
    let secret = EncodingKey::from_secret(SECRET);
    let good = token_for("ann");
    let payload = good.split('.').nth(1).unwrap();
    for (what, alg) in [("none", "none"), ("NONE", "NONE"), ("nOnE", "nOnE"), ("nothing", "")] {
        // {"alg":"…"}, with no signature, and with a good one.
        let whole = token(&json!({ "alg": alg }), &claims(|_| ()), Algorithm::HS256, &secret);
        let head = whole.split('.').next().unwrap();
        assert_refused(&server, what, &format!("{head}.{payload}.")).await;
        assert_refused(&server, what, &whole).await;
    }
    for (what, bad) in [
        ("HS384", by("HS384", Algorithm::HS384, &secret)),
        ("HS512", by("HS512", Algorithm::HS512, &secret)),
        ("another secret", by("HS256", Algorithm::HS256, &EncodingKey::from_secret(&[1; 32]))),
        (
            "an alg that is a number",
            raw_token(r#"{"alg":256}"#, r#"{"sub":"ann"}"#, Algorithm::HS256, &secret),
        ),
    ] {
        assert_refused(&server, what, &bad).await;
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_now_is_refused() {
    let server = server_with_secret().await;
    let exp = |value: Value| signed(&claims(|claims| claims["exp"] = value));
    let nbf = |value: Value| signed(&claims(|claims| claims["nbf"] = value));
    for (what, bad) in [
        ("no exp", signed(&json!({ "sub": "ann" }))),
        ("exp is null", exp(Value::Null)),
        ("exp is a text", exp(json!(in_seconds(600).to_string()))),
        ("exp is a list", exp(json!([in_seconds(600)]))),
        ("exp is before time", exp(json!(-1))),
        ("exp is no date", exp(json!(u64::MAX))),
        ("expired a second ago", exp(json!(in_seconds(-1)))),
        ("expires now", exp(json!(in_seconds(0)))),
        ("expired long ago", exp(json!(0))),
        ("nbf is a text", nbf(json!(in_seconds(-5).to_string()))),
        ("not yet", nbf(json!(in_seconds(60)))),
        ("nbf is no date", nbf(json!(u64::MAX))),
    ] {
        assert_refused(&server, what, &bad).await;
    }
}

#[tokio::test]
async fn a_token_that_names_nobody_is_refused() {
    let server = server_with_secret().await;
    let with = |name: &str, value: Value| signed(&claims(|claims| claims[name] = value));
    let secret = EncodingKey::from_secret(SECRET);
    let raw = |claims: &str| raw_token(r#"{"alg":"HS256"}"#, claims, Algorithm::HS256, &secret);
    let exp = in_seconds(600);
    for (what, bad) in [
        ("no sub", signed(&json!({ "exp": exp }))),
        ("an empty sub", with("sub", json!(""))),
        ("a sub that is no id", with("sub", json!("Ann"))),
        ("a sub with a line of its own", with("sub", json!("ann\nadmin"))),
        ("a long sub", with("sub", json!("a".repeat(65)))),
        ("a sub that is a number", with("sub", json!(7))),
        ("a role that there is not", with("role", json!("root"))),
        ("a role in capitals", with("role", json!("ADMIN"))),
        ("a list of roles", with("role", json!(["admin"]))),
        ("an empty name", with("name", json!(""))),
        ("a name with a line end", with("name", json!("Ann\nbob: hello"))),
        ("a name with an escape code", with("name", json!("\u{1b}[2J"))),
        ("a name that turns", with("name", json!("\u{202e}nnA"))),
        ("a long name", with("name", json!("a".repeat(1000)))),
        ("claims twice", raw(&format!(r#"{{"sub":"ann","sub":"bob","exp":{exp}}}"#))),
        ("exp twice", raw(&format!(r#"{{"sub":"ann","exp":1,"exp":{exp}}}"#))),
        ("a list", raw("[]")),
        ("no JSON", raw("ann")),
        ("nothing", raw("")),
    ] {
        assert_refused(&server, what, &bad).await;
    }
}

#[tokio::test]
async fn a_token_of_another_issuer_or_for_others_is_refused() {
    let auth = JwtAuth::new(JwtKey::secret(SECRET).unwrap()).audience(AUDIENCE).issuer(ISSUER);
    let strict = TestServer::start_as(|builder| builder.authenticator(auth)).await;
    let of = |aud: Value, iss: Value| {
        signed(&claims(|claims| {
            claims["aud"] = aud;
            claims["iss"] = iss;
        }))
    };
    for good in [of(json!(AUDIENCE), json!(ISSUER)), of(json!(["other", AUDIENCE]), json!(ISSUER))] {
        me(&strict, &format!("Authorization: Bearer {good}\r\n")).await.unwrap();
    }
    for (what, bad) in [
        ("neither", token_for("ann")),
        ("no audience", of(Value::Null, json!(ISSUER))),
        ("no issuer", of(json!(AUDIENCE), Value::Null)),
        ("another audience", of(json!("chat2"), json!(ISSUER))),
        ("other audiences", of(json!(["a", "b"]), json!(ISSUER))),
        ("an audience that is a number", of(json!(1), json!(ISSUER))),
        ("another issuer", of(json!(AUDIENCE), json!("https://accounts.example.evil.test"))),
        ("a list of issuers", of(json!(AUDIENCE), json!([ISSUER]))),
        ("an issuer that is an object", of(json!(AUDIENCE), json!({ "iss": ISSUER }))),
    ] {
        assert_refused(&strict, what, &bad).await;
    }
    // Who was not told which audience it is, is none (RFC 7519, section 4.1.3).
    let server = server_with_secret().await;
    for aud in [json!(AUDIENCE), json!([AUDIENCE]), json!(7)] {
        assert_refused(&server, "an audience", &signed(&claims(|claims| claims["aud"] = aud))).await;
    }
    me(&server, &format!("Authorization: Bearer {}\r\n", of(Value::Null, json!("anybody")))).await.unwrap();
}

#[tokio::test]
async fn a_token_cannot_say_what_it_is_verified_with() {
    let server = server_with_secret().await;
    let secret = EncodingKey::from_secret(SECRET);
    let jwk = json!({ "kty": "oct", "k": "AAAA" });
    let keys = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    keys.set_nonblocking(true).unwrap();
    let url = json!(format!("http://{}/keys", keys.local_addr().unwrap()));
    for (name, value) in [
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("a\0b")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", url.clone()),
        ("jku", url.clone()),
        ("x5u", url),
        ("jwk", jwk),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
    ] {
        let bad = token(&header(name, value), &claims(|_| ()), Algorithm::HS256, &secret);
        assert_refused(&server, name, &bad).await;
    }
    keys.accept().expect_err("nobody came for a key");
    let named = token(&header("kid", json!("key-2026_01")), &claims(|_| ()), Algorithm::HS256, &secret);
    me(&server, &format!("Authorization: Bearer {named}\r\n")).await.unwrap();
}

#[tokio::test]
async fn what_is_no_token_at_all_is_refused() {
    let server = server_with_secret().await;
    let good = token_for("ann");
    let (head, signature) = good.rsplit_once('.').unwrap();
    for bad in ["x", "..", "a.b", "a.b.c", "a.b.c.d", &format!("{good}."), &format!("{good}="), head] {
        assert_refused(&server, bad, bad).await;
    }
    assert_refused(&server, "no signature", &format!("{head}.")).await;
    assert_refused(&server, "half a signature", &format!("{head}.{}", signature.split_at(20).0)).await;
    assert_refused(&server, "long", &"a".repeat(20_000)).await;
    assert_eq!(me(&server, "").await.unwrap_err(), 401);
    for lines in ["Authorization:\r\n", "Authorization: Bearer\r\n", "Authorization: Bearer \r\n"] {
        assert_eq!(me(&server, lines).await.unwrap_err(), 401);
        assert_eq!(upgrade(&server, lines).await.0, 401, "it says something, and that is no token");
    }
    let huge = "a".repeat(1 << 20);
    assert_eq!(me(&server, &format!("Authorization: Bearer {huge}\r\n")).await.unwrap_err(), 431);
    let frame = json!({ "type": "auth", "token": huge }).to_string();
    assert_eq!(first_frame(&server, &frame).await.close_code().await, Some(1009));
    // A good cookie does not make up for a bad header, nor a good parameter for anything.
    let mixed = format!("Authorization: Bearer x\r\nCookie: chat_session={good}\r\n");
    assert_eq!(me(&server, &mixed).await.unwrap_err(), 401);
    let in_url = format!("/api/v1/me?user=ann&token={good}&access_token={good}");
    assert_eq!(request(&server, "GET", &in_url, "", "").await.status, 401);
}

#[tokio::test]
async fn the_first_frame_is_a_token_or_the_last() {
    let server = server_with_secret().await;
    for bad in [
        r#"{"type":"ping","id":1}"#,
        r#"{"type":"join","room":"r","id":1}"#,
        r#"{"type":"auth","id":1}"#,
        r#"{"type":"auth","token":7}"#,
        r#"{"type":"auth","token":""}"#,
        "{",
        "",
    ] {
        assert_eq!(first_frame(&server, bad).await.close_code().await, Some(4001), "{bad}");
    }
    // Commands behind the token, in the packet of the request: all are answered, in their order.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut packet = upgrade_request(server.address, "").replace("?user=", "").into_bytes();
    packet.extend(masked(0x81, json!({ "type": "auth", "token": token_for("ann") }).to_string().as_bytes()));
    for id in 1..=100 {
        packet.extend(masked(0x81, json!({ "type": "ping", "id": id }).to_string().as_bytes()));
    }
    stream.write_all(&packet).await.unwrap();
    assert_eq!(Answer::read_head_only(&mut stream).await.status, 101);
    let mut client = RawClient(stream);
    let mut said = async || serde_json::from_slice::<Value>(&client.frame().await.unwrap().1).unwrap();
    assert_eq!(said().await["user"]["id"], "ann");
    for id in 1..=100 {
        assert_eq!(said().await["id"], id);
    }
}

#[tokio::test]
async fn who_is_not_known_is_told_how_to_be() {
    let server = server_with_secret().await;
    let auth = async |lines: &str| request(&server, "GET", "/api/v1/auth", lines, "").await.json();
    let nobody = json!({ "user": null, "by": "token" });
    assert_eq!(auth("").await, nobody);
    assert_eq!(auth("Authorization: Bearer x\r\n").await, nobody);
    let ann = json!({ "user": { "id": "ann", "name": "ann", "role": "member" }, "by": "token" });
    assert_eq!(auth(&format!("Authorization: Bearer {}\r\n", token_for("ann"))).await, ann);
    assert_eq!(auth(&format!("Cookie: chat_session={}\r\n", token_for("ann"))).await, ann);
    let open = TestServer::start().await;
    let answer = open.http("GET", "/api/v1/auth", None).await;
    assert_eq!(answer.json(), json!({ "user": null, "by": "name" }));
}

#[tokio::test]
async fn a_cookie_counts_only_with_an_origin_that_is_allowed() {
    let auth = JwtAuth::new(JwtKey::secret(SECRET).unwrap());
    let good = "https://good.example";
    let server =
        TestServer::start_as(|builder| builder.authenticator(auth).allow_origin(good.parse().unwrap())).await;
    let cookie = format!("Cookie: chat_session={}\r\n", token_for("ann"));
    let bearer = format!("Authorization: Bearer {}\r\n", token_for("ann"));
    let own = format!("Origin: http://{}\r\n", server.address);
    let allowed = format!("Origin: {good}\r\n");
    let foreign = format!("Origin: {good}.evil.test\r\n");
    let room = r#"{"kind":"group"}"#;
    let create = async |lines: &str| request(&server, "POST", "/api/v1/rooms", lines, room).await;
    let read = async |lines: &str| request(&server, "GET", "/api/v1/me", lines, "").await;
    for (origin, written, socket, seen) in
        [("", 403, 403, 200), (&*own, 201, 101, 200), (&allowed, 201, 101, 200), (&foreign, 403, 403, 403)]
    {
        let lines = format!("{cookie}{origin}");
        assert_eq!(create(&lines).await.status, written, "{origin}");
        assert_eq!(upgrade(&server, &lines).await.0, socket, "{origin}");
        assert_eq!(read(&lines).await.status, seen, "{origin}");
        for method in ["PATCH", "DELETE"] {
            let status = request(&server, method, "/api/v1/rooms/none", &lines, "{}").await.status;
            assert_eq!(status, if written == 201 { 404 } else { 403 }, "{method} {origin}");
        }
    }
    assert_eq!(create(&bearer).await.status, 201);
    assert_eq!(upgrade(&server, &bearer).await.0, 101);
    assert_eq!(upgrade(&server, &format!("{bearer}{foreign}")).await.0, 403);
}

#[tokio::test]
async fn a_token_renews_a_connection_of_its_own_user_only() {
    let server = server_with_secret().await;
    let (status, stream) = upgrade(&server, &format!("Authorization: Bearer {}\r\n", token_for("ann"))).await;
    assert_eq!(status, 101);
    let socket = tokio_tungstenite::WebSocketStream::from_raw_socket(
        stream,
        tungstenite::protocol::Role::Client,
        None,
    );
    let mut client = Client::of(socket.await);
    let mut auth = async |token: &str| client.call(json!({ "type": "auth", "token": token })).await;
    assert_eq!(auth(&token_for("ann")).await["type"], "ok");
    let promoted = signed(&claims(|claims| claims["role"] = json!("admin")));
    for bad in
        [token_for("bob"), promoted, "x".to_owned(), signed(&claims(|claims| claims["exp"] = json!(1)))]
    {
        assert_eq!(auth(&bad).await["code"], "unauthorized");
    }
    assert_eq!(auth(&token_for("ann")).await["type"], "ok");
    assert_eq!(client.join("r").await["role"], "member");
}
