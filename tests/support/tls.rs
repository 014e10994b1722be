//! Keys and certificates for a test, made by openssl.

use super::processes;
use std::process::Command;

/// An authority of its own, and what a server on the loopback shows of it.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn make() -> Certificates {
        let directory = tempfile::tempdir().expect("a directory");
        let certificates = Certificates { directory };
        let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        certificates
            .openssl(&format!("req -x509 {curve} -subj /CN=authority -keyout authority.key -out authority.pem"));
        certificates.openssl(&format!(
            "req -x509 {curve} -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
             -addext basicConstraints=critical,CA:FALSE -CA authority.pem -CAkey authority.key -keyout server.key -out server.pem"
        ));
        certificates
    }

    /// The path of the authority's certificate.
    pub(crate) fn authority(&self) -> String {
        self.path("authority.pem")
    }

    /// The server's certificate, in PEM.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        std::fs::read(self.path("server.pem")).expect("readable")
    }

    /// The server's private key, in PEM.
    pub(crate) fn key(&self) -> Vec<u8> {
        std::fs::read(self.path("server.key")).expect("readable")
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).into_os_string().into_string().expect("UTF-8")
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.directory.path());
        let output = processes::output(&mut command).expect("openssl is there: apt-get install openssl");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// An RSA key of a service account, in PEM as PKCS#8.
pub(crate) fn private_key() -> String {
    let mut command = Command::new("openssl");
    command.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let output = processes::output(&mut command).expect("openssl is there: apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("PEM")
}
