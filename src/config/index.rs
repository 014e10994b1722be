//! The index that flags name.

use super::Checks;
use crate::cli::{IndexArgs, TlsMode};
use crate::index::{IndexConfig, Tls};
use std::fs::File;

/// Reads the flags of the index, and the password's file. `Ok(None)`: there is no index.
///
/// # Errors
/// Everything that is wrong with them, one line each. No line shows a password.
pub fn index_config(args: &IndexArgs) -> Result<Option<IndexConfig>, Vec<String>> {
    let mut wrong = Vec::new();
    let Some(url) = &args.mysql_metadata_url else {
        for (flag, is_given) in [
            ("--mysql-password-file", args.mysql_password_file.is_some()),
            ("--mysql-tls", args.mysql_tls.is_some()),
            ("--mysql-ca", args.mysql_ca.is_some()),
            ("--mysql-client-certificate", args.mysql_client_certificate.is_some()),
        ] {
            if is_given {
                wrong.push(format!("{flag} is only for --mysql-metadata-url: give both, or neither"));
            }
        }
        return if wrong.is_empty() { Ok(None) } else { Err(wrong) };
    };
    let config = IndexConfig::parse(url.expose()).map_err(|error| wrong.push(format!("--mysql-metadata-url {error}")));
    let password = password(args).map_err(|line| wrong.push(line));
    let tls = tls(args).map_err(|line| wrong.push(line));
    let (Ok(config), Ok(password), Ok(tls)) = (config, password, tls) else { return Err(wrong) };
    let config = config.with_tls(tls);
    for path in config.files() {
        if let Err(error) = File::open(path) {
            wrong.push(format!("{}: {error}; --mysql-ca and --mysql-client-… name PEM files", path.display()));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Some(match password {
        Some(password) => config.with_password(password),
        None => config,
    }))
}

/// The file's password, or the environment's. `None`: the URL's counts.
fn password(args: &IndexArgs) -> Result<Option<String>, String> {
    let Some(path) = &args.mysql_password_file else {
        return Ok(args.mysql_password.as_ref().map(|password| password.expose().to_owned()));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--mysql-password-file {} cannot be read: {error}", path.display()))?;
    // Editors end a file with a newline, and no password ends with one.
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn tls(args: &IndexArgs) -> Result<Tls, String> {
    let authority = args.mysql_ca.clone();
    let identity = args.mysql_client_certificate.clone().zip(args.mysql_client_key.clone());
    let names_files = authority.is_some() || identity.is_some();
    match args.mysql_tls {
        Some(TlsMode::Off) if names_files => {
            Err("--mysql-tls off needs no --mysql-ca or --mysql-client-certificate: leave one out".to_owned())
        }
        Some(TlsMode::Off) => Ok(Tls::Off),
        None if !names_files => Ok(Tls::Off),
        Some(TlsMode::Unverified) => Ok(Tls::On { authority, identity, is_verified: false }),
        Some(TlsMode::Verify) | None => Ok(Tls::On { authority, identity, is_verified: true }),
    }
}

impl Checks {
    /// The outer `None` is a problem, the inner one no index.
    pub(super) fn index(&mut self, args: &IndexArgs) -> Option<Option<IndexConfig>> {
        index_config(args).map_err(|lines| lines.into_iter().for_each(|line| self.usage(line))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn read(flags: &[&str]) -> Result<String, String> {
        let cli = Cli::try_parse_from([&["kafka-store"], flags].concat()).map_err(|error| error.to_string())?;
        let config = index_config(&cli.daemon.index).map_err(|lines| lines.join("\n"))?;
        Ok(config.map_or_else(String::new, |config| format!("{config:?}")))
    }

    const URL: &str = "--mysql-metadata-url=mysql://me:hidden@db/k";

    #[test]
    fn without_a_url_there_is_no_index() {
        assert_eq!(read(&[]), Ok(String::new()));
        let wrong = read(&["--mysql-tls=verify", "--mysql-password-file=x"]).expect_err("they need a URL");
        assert_eq!(wrong.lines().count(), 2, "{wrong}");
    }

    #[test]
    fn tls_follows_from_its_files() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let path = file.path().to_str().expect("UTF-8");
        let (ca, off) = (format!("--mysql-ca={path}"), "--mysql-tls=off");
        assert_eq!(read(&[URL]), Ok("mysql://me@db:3306/k (Off)".to_owned()));
        assert!(read(&[URL, &ca]).is_ok_and(|config| config.contains("is_verified: true")));
        assert!(read(&[URL, "--mysql-tls=unverified"]).is_ok_and(|config| config.contains("is_verified: false")));
        assert!(read(&[URL, &ca, off]).is_err_and(|lines| lines.contains("leave one out")));
        assert!(read(&[URL, "--mysql-ca=/nowhere/ca.pem"]).is_err_and(|lines| lines.contains("/nowhere/ca.pem")));
        assert!(
            read(&[URL, "--mysql-client-key=k.pem"]).is_err_and(|lines| lines.contains("--mysql-client-certificate"))
        );
    }

    #[test]
    fn a_password_file_wins_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "secret\n").expect("written");
        let shown = read(&[URL, &format!("--mysql-password-file={}", file.path().display())]).expect("valid");
        assert!(!shown.contains("hidden") && !shown.contains("secret"), "{shown}");
        let cli = Cli::try_parse_from(["kafka-store", URL]).expect("valid");
        let expected = index_config(&cli.daemon.index).expect("valid").expect("an index");
        let args = IndexArgs { mysql_password_file: Some(file.path().into()), ..cli.daemon.index };
        let config = index_config(&args).expect("valid").expect("an index");
        assert_eq!(config, expected.with_password("secret".to_owned()));
    }

    #[test]
    fn a_wrong_url_is_told_without_its_password() {
        let wrong = read(&["--mysql-metadata-url=mysql://me:hidden@db"]).expect_err("no database");
        assert!(wrong.contains("names no database") && !wrong.contains("hidden"), "{wrong}");
    }
}
