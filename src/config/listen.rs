//! Where to listen.

/// Reads a port of this machine alone, or `HOST:PORT`, as [`std::net::TcpListener::bind`] takes it.
///
/// # Errors
/// What must be written instead.
pub(super) fn parse_listen(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.parse::<u16>().is_ok() {
        return Ok(format!("127.0.0.1:{text}"));
    }
    match text.rsplit_once(':') {
        Some(("", _)) => Err("names no host: write 0.0.0.0:PORT to be reached from everywhere, or the port alone"),
        Some((host, port)) if port.parse::<u16>().is_ok() && (!host.contains(':') || host.starts_with('[')) => {
            Ok(text.to_owned())
        }
        _ => Err("must be PORT or HOST:PORT, such as 9464 or 10.0.0.7:9464"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            (" 0 ", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("archive.example:9464", "archive.example:9464"),
            ("[::1]:9464", "[::1]:9464"),
        ] {
            assert_eq!(parse_listen(text), Ok(address.to_owned()));
        }
        for text in ["", ":9464", "65536", "host", "host:", "host:http", "::1", "::1:9464", "-1"] {
            parse_listen(text).expect_err(text);
        }
    }
}
