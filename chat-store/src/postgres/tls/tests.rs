use std::fs;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PublicKeyData, date_time_ymd,
};
use rustls::{
    ClientConnection, Error, ServerConfig, ServerConnection, SupportedProtocolVersion,
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

use super::*;

/// An authority, and the directory with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn file(&self) -> Authorities {
        Authorities::File(self.directory.path().join("ca.pem"))
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn server(&self, name: &str) -> ServerConfig {
        let (cert, key) = self.sign(name, |_params| ());
        server(cert.der().clone(), &key, &[&TLS12, &TLS13])
    }

    /// The files of a client's certificate.
    fn client(&self) -> ClientFiles {
        let purpose = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        };
        let (cert, key) = self.sign("ann", purpose);
        let files = ["client.pem", "client.key"].map(|name| self.directory.path().join(name));
        fs::write(&files[0], cert.pem()).unwrap();
        fs::write(&files[1], key.serialize_pem()).unwrap();
        let [cert, key] = files;
        ClientFiles { cert, key }
    }
}

/// A server with a certificate and a key, whether they belong together or not.
fn server(
    cert: CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let key = provider.key_provider.load_private_key(key.serialize_der().try_into().unwrap()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![cert], key))))
}

/// The protocol that both agree on, or what the first of them says that is not content with the other.
fn shake_hands(client: ClientConfig, host: &str, server: ServerConfig) -> Result<Option<Vec<u8>>, Error> {
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), host).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(client.alpn_protocol().map(<[u8]>::to_vec))
}

fn only(verify: Verify) -> Tls {
    Tls { verify, client: None }
}

fn asking_nothing() -> ClientConfig {
    only(Verify::Nothing).client_config().unwrap()
}

/// Whether clients that ask for nothing, for the chain, and for chain and name take a server.
fn takes(trusted: &Authority, host: &str, server: &ServerConfig) -> [bool; 3] {
    [Verify::Nothing, Verify::Chain(trusted.file()), Verify::ChainAndName(trusted.file())].map(|verify| {
        match shake_hands(only(verify).client_config().unwrap(), host, server.clone()) {
            Ok(_) => true,
            Err(Error::InvalidCertificate(_)) => false,
            Err(error) => panic!("{error}"),
        }
    })
}

#[test]
fn each_mode_verifies_what_it_says() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = ours.server("db.example");
    assert_eq!(takes(&ours, "db.example", &server), [true; 3]);
    assert_eq!(takes(&ours, "DB.example", &server), [true; 3]);
    assert_eq!(takes(&ours, "else.example", &server), [true, true, false]);
    assert_eq!(takes(&other, "db.example", &server), [true, false, false]);
    assert_eq!(takes(&other, "else.example", &server), [true, false, false]);
}

#[test]
fn an_address_is_a_name_where_the_certificate_has_it() {
    let ours = Authority::new("ours");
    for address in ["127.0.0.1", "::1"] {
        assert_eq!(takes(&ours, address, &ours.server(address)), [true; 3], "{address}");
        assert_eq!(takes(&ours, address, &ours.server("localhost")), [true, true, false], "{address}");
    }
    assert_eq!(takes(&ours, "127.0.0.1", &ours.server("127.0.0.2")), [true, true, false]);
}

#[test]
fn the_chain_counts_whatever_the_name_is() {
    let ours = Authority::new("ours");
    let past = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let (cert, key) = ours.sign("db.example", past);
    let server = server(cert.der().clone(), &key, &[&TLS13]);
    assert_eq!(takes(&ours, "else.example", &server), [true, false, false]);
    assert_eq!(takes(&ours, "db.example", &server), [true, false, false]);
}

#[test]
fn a_certificate_without_its_key_is_refused_in_every_mode() {
    let ours = Authority::new("ours");
    let (cert, _key) = ours.sign("db.example", |_params| ());
    for version in [&TLS12, &TLS13] {
        let server = server(cert.der().clone(), &KeyPair::generate().unwrap(), &[version]);
        assert_eq!(takes(&ours, "db.example", &server), [false; 3], "{version:?}");
    }
}

/// One element in DER.
fn der(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 128, "one byte says the length");
    [&[tag, length], body].concat()
}

#[test]
fn a_certificate_of_version_1_will_do_where_nothing_is_verified_but_not_without_its_key() {
    const SEQUENCE: u8 = 0x30;
    let key = KeyPair::generate().unwrap();
    let empty = der(SEQUENCE, &[]);
    // The serial number; algorithm, issuer, validity and subject; the key.
    let unsigned = [&der(2, &[1])[..], &empty.repeat(4), &key.subject_public_key_info()].concat();
    let signed = [der(SEQUENCE, &unsigned), empty, der(3, &[0])].concat();
    let cert = CertificateDer::from(der(SEQUENCE, &signed));
    let ours = Authority::new("ours");
    let own = server(cert.clone(), &key, &[&TLS12, &TLS13]);
    assert_eq!(takes(&ours, "db.example", &own), [true, false, false]);
    let stolen = server(cert, &KeyPair::generate().unwrap(), &[&TLS12, &TLS13]);
    assert_eq!(takes(&ours, "db.example", &stolen), [false; 3]);
}

#[test]
fn the_protocol_inside_is_named_and_need_not_be_understood() {
    let mut server = Authority::new("ours").server("db.example");
    assert_eq!(shake_hands(asking_nothing(), "db.example", server.clone()), Ok(None));
    server.alpn_protocols = vec![b"postgresql".to_vec()];
    let named = shake_hands(asking_nothing(), "db.example", server);
    assert_eq!(named, Ok(Some(b"postgresql".to_vec())));
}

#[test]
fn who_believes_nobody_takes_no_server() {
    let server = Authority::new("ours").server("db.example");
    assert!(matches!(
        shake_hands(believes_nobody(), "db.example", server),
        Err(Error::InvalidCertificate(_))
    ));
}

#[test]
fn a_client_is_known_by_its_certificate() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let mut roots = RootCertStore::empty();
    roots.add(ours.issuer.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let (cert, key) = ours.sign("db.example", |_params| ());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(vec![cert.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let as_whom = |client| {
        let tls = Tls { verify: Verify::ChainAndName(ours.file()), client };
        shake_hands(tls.client_config().unwrap(), "db.example", server.clone())
    };
    assert_eq!(as_whom(Some(ours.client())), Ok(None));
    assert_eq!(as_whom(None), Err(Error::NoCertificatesPresented));
    assert!(matches!(as_whom(Some(other.client())), Err(Error::InvalidCertificate(_))));
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let ours = Authority::new("ours");
    let path = |name: &str| ours.directory.path().join(name);
    let ClientFiles { cert, key } = ours.client();
    fs::write(path("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    fs::write(path("junk"), "junk").unwrap();
    fs::write(path("broken"), "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(path("odd.key"), "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n").unwrap();
    File::create(path("large")).unwrap().set_len(PEM_BYTES_MAX + 1).unwrap();
    let client = |cert: &Path, key: &Path| Tls {
        verify: Verify::Nothing,
        client: Some(ClientFiles { cert: cert.to_owned(), key: key.to_owned() }),
    };
    let root = |name: &str| only(Verify::Chain(Authorities::File(path(name))));
    for (tls, wanted) in [
        (root("missing"), "missing: No such file or directory (os error 2)"),
        (root("large"), "large: file too large"),
        (root("junk"), "junk: no certificate in PEM: no items found"),
        (root("broken"), "broken: not an X.509 v3 certificate that can be used: "),
        (only(Verify::ChainAndName(Authorities::File(path("junk")))), "junk: no certificate in PEM: "),
        (client(&cert, &path("missing")), "missing: No such file or directory (os error 2)"),
        (client(&cert, &cert), "client.pem: no private key in PEM (PKCS#8, PKCS#1 or SEC1, not encrypted)"),
        (client(&cert, &path("odd.key")), "odd.key: not a private key that can be used: "),
        (client(&key, &key), "client.key: no certificate in PEM: no items found"),
        (client(&path("broken"), &key), "broken: not an X.509 v3 certificate that can be used: "),
        (client(&cert, &path("other.key")), "other.key: this is not the key of the certificate in "),
    ] {
        let message = tls.client_config().unwrap_err().to_string();
        let expected = format!("{}/{wanted}", ours.directory.path().display());
        assert!(message.starts_with(&expected) && !message.contains('\n'), "{message}\n{expected}");
    }
}

#[test]
fn a_system_without_authorities_is_told_what_to_do() {
    let message = |found| of_the_system(found).unwrap_err().to_string();
    let wanted = "the system has no certificate authorities: name a file in sslrootcert";
    assert_eq!(message(CertificateResult::default()), wanted);
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    let message = message(rustls_native_certs::load_certs_from_paths(Some(&missing), None));
    assert!(message.contains("missing") && message.ends_with("): name a file in sslrootcert"), "{message}");
    let mut found = CertificateResult::default();
    found.certs = vec![CertificateDer::from(vec![0]), Authority::new("ours").issuer.der().clone()];
    assert_eq!(of_the_system(found).unwrap().len(), 1);
}
