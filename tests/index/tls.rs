//! Goal: the connection to the index is encrypted, the server is who it says, and the client can say who it is. Method: a
//! server with certificates of the test's own authority.

use crate::support::mysql::{Database, Server, command};
use mysql::prelude::Queryable;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority, a server's certificate for `localhost` and 127.0.0.1, one for another host, and a client's.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make() -> Certificates {
        let made = Certificates(tempfile::tempdir().expect("a temporary directory"));
        made.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
        for (name, host) in
            [("server", "DNS:localhost,IP:127.0.0.1"), ("other", "DNS:elsewhere.example"), ("client", "DNS:client")]
        {
            made.openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
            ));
            std::fs::write(made.0.path().join("san"), format!("subjectAltName={host}\n")).expect("written");
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out {name}.pem"
            ));
        }
        made
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(self.0.path()).output();
        let output = output.expect("no openssl: apt-get install openssl");
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn server(&self, name: &str) -> Server {
        let flag = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        Server::start(&[
            flag("ssl-ca", &self.path("ca.pem")),
            flag("ssl-cert", &self.path(&format!("{name}.pem"))),
            flag("ssl-key", &self.path(&format!("{name}.key"))),
        ])
    }
}

fn status(url: &str, flags: &[&str]) -> (Option<i32>, String) {
    command(&[&["index", "status", "--mysql-metadata-url", url], flags].concat())
}

#[test]
fn the_server_is_checked_by_its_certificate() {
    let certificates = Certificates::make();
    let server = certificates.server("server");
    let database = Database::on(&server.url(), "tls");
    database.init();
    server.connect().query_drop("CREATE USER tls@'%' IDENTIFIED BY 'pass' REQUIRE SSL").expect("made");
    server.connect().query_drop(format!("GRANT ALL ON {}.* TO tls@'%'", database.name)).expect("granted");
    let url = |host: &str| format!("mysql://tls:pass@{host}:{}/{}", server.port(), database.name);
    let ca = format!("--mysql-ca={}", certificates.path("ca.pem").display());

    for host in ["127.0.0.1", "localhost"] {
        let (code, told) = status(&url(host), &[&ca]);
        assert_eq!(code, Some(0), "{host}: {told}");
    }
    let (code, told) = status(&url("127.0.0.1"), &["--mysql-tls=unverified"]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = status(&url("127.0.0.1"), &["--mysql-tls=verify"]);
    assert_eq!(code, Some(1), "no authority that is known has signed it: {told}");
    assert!(told.contains("invalid peer certificate: UnknownIssuer"), "{told}");
    let (code, told) = status(&url("127.0.0.1"), &[]);
    assert_eq!(code, Some(1), "the user must come over TLS: {told}");
    assert!(!told.contains("pass@") && !told.contains(":pass"), "{told}");

    // The connection is what it says.
    let other = certificates.server("other");
    let database = Database::on(&other.url(), "tls");
    database.init();
    let (code, told) = status(&database.url(), &[&ca]);
    assert_eq!(code, Some(1), "its certificate is another host's: {told}");
    assert!(told.contains("not valid for name") && told.contains("check --mysql-ca, and that"), "{told}");
    let (code, told) = status(&database.url(), &[&ca, "--mysql-tls=unverified"]);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn the_client_shows_its_certificate() {
    let certificates = Certificates::make();
    let server = certificates.server("server");
    let database = Database::on(&server.url(), "tls");
    database.init();
    server.connect().query_drop("CREATE USER me@'%' REQUIRE SUBJECT '/CN=client'").expect("made");
    server.connect().query_drop(format!("GRANT ALL ON {}.* TO me@'%'", database.name)).expect("granted");
    let url = format!("mysql://me@127.0.0.1:{}/{}", server.port(), database.name);
    let flag = |flag: &str, name: &str| format!("--{flag}={}", certificates.path(name).display());
    let (ca, certificate) = (flag("mysql-ca", "ca.pem"), flag("mysql-client-certificate", "client.pem"));
    let key = flag("mysql-client-key", "client.key");
    let (code, told) = status(&url, &[&ca, &certificate, &key]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = status(&url, &[&ca]);
    assert_eq!(code, Some(1), "{told}");
    let (code, told) = status(&url, &[&ca, &certificate, &flag("mysql-client-key", "other.key")]);
    assert_eq!(code, Some(1), "the key is another's: {told}");
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let database = Database::with_schema("plain");
    let (code, told) = status(&database.url(), &["--mysql-tls=unverified"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("does not have this capability"), "{told}");
}
