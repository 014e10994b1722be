//! JSON lines exactly as the original reader wrote them: Python's `json.dumps(..., sort_keys=True)`.
//!
//! `, ` and `: ` between things, and everything that is not printable ASCII as `\uXXXX`, beyond the basic plane as
//! a pair of surrogates. Not by serde_json: its spelling is another, and its lines are built by way of a map.

use super::print::{PART_BYTES, Sink};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::DecodedHeader;

/// One line that is being written. The caller gives the keys in their sorted order.
#[derive(Debug)]
pub(super) struct JsonLine<'o, S> {
    out: &'o mut S,
    is_first: bool,
}

impl<'o, S: Sink> JsonLine<'o, S> {
    /// Begins a line at the end of `out`.
    pub(super) fn begin(out: &'o mut S) -> JsonLine<'o, S> {
        out.buffer().push(b'{');
        JsonLine { out, is_first: true }
    }

    /// Ends the line.
    pub(super) fn end(self) {
        self.out.buffer().extend_from_slice(b"}\n");
    }

    /// A member whose value is a number.
    pub(super) fn number(&mut self, key: &str, value: i64) {
        self.key(key);
        write_number(value, 1, self.out.buffer());
    }

    /// A member whose value is a text.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_text(value, self.out);
    }

    /// A member whose value is the file name of the segment that starts at `start`.
    pub(super) fn segment(&mut self, key: &str, start: Offset) {
        self.key(key);
        let out = self.out.buffer();
        out.push(b'"');
        write_number(start.get(), 20, out);
        out.push(b'"');
    }

    /// A member whose value is null.
    pub(super) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.buffer().extend_from_slice(b"null");
    }

    /// A member whose value is bytes: as text if they are UTF-8, else `<key>_base64`.
    pub(super) fn bytes(&mut self, key: &str, key_base64: &str, value: Option<&[u8]>) {
        match value.map(std::str::from_utf8) {
            None => self.null(key),
            Some(Ok(text)) => self.text(key, text),
            Some(Err(_)) => {
                self.key(key_base64);
                self.out.buffer().push(b'"');
                write_base64(value.unwrap_or_default(), self.out);
                self.out.buffer().push(b'"');
            }
        }
    }

    /// A member `headers`: `[["name", value], …]`, a value being a text, null, or `{"base64": "…"}`. A name that is
    /// not UTF-8 is written like such a value. Nothing is written where there are none.
    pub(super) fn headers<'h>(&mut self, headers: impl IntoIterator<Item = DecodedHeader<'h>>) {
        let mut headers = headers.into_iter().peekable();
        if headers.peek().is_none() {
            return;
        }
        self.key("headers");
        let mut before: &[u8] = b"[[";
        for header in headers {
            self.out.buffer().extend_from_slice(before);
            before = b", [";
            write_text_or_base64(&header.name, self.out);
            self.out.buffer().extend_from_slice(b", ");
            match header.value {
                None => self.out.buffer().extend_from_slice(b"null"),
                Some(value) => write_text_or_base64(value, self.out),
            }
            self.out.buffer().push(b']');
            self.out.spill();
        }
        self.out.buffer().push(b']');
    }

    /// Keys are our own, and have nothing that must be escaped.
    fn key(&mut self, key: &str) {
        let out = self.out.buffer();
        out.extend_from_slice(if self.is_first { b"\"" } else { b", \"" });
        self.is_first = false;
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\": ");
    }
}

fn write_text_or_base64(bytes: &[u8], out: &mut impl Sink) {
    match std::str::from_utf8(bytes) {
        Ok(text) => write_text(text, out),
        Err(_) => {
            out.buffer().extend_from_slice(br#"{"base64": ""#);
            write_base64(bytes, out);
            out.buffer().extend_from_slice(br#""}"#);
        }
    }
}

/// How a byte is written in a text.
const fn kind_of(byte: u8) -> u8 {
    match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        b' '..=b'~' => PLAIN,
        _ => LONG,
    }
}

/// As it is.
const PLAIN: u8 = 0;
/// By numbers, or it is a part of a character that is not ASCII. What is neither of the two is written as a backslash
/// and the letter that stands for it.
const LONG: u8 = 1;

const KINDS: [u8; 256] = {
    let mut kinds = [PLAIN; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = kind_of(byte as u8);
        byte += 1;
    }
    kinds
};

/// In runs of this many bytes, through a buffer on the stack: most of what is archived are JSON documents, in which
/// every few bytes there is something to escape.
const RUN: usize = 64;

fn write_text(text: &str, out: &mut impl Sink) {
    out.buffer().push(b'"');
    let mut rest = text;
    while rest.len() > PART_BYTES {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(PART_BYTES));
        write_characters(part, out.buffer());
        out.spill();
        rest = behind;
    }
    write_characters(rest, out.buffer());
    out.buffer().push(b'"');
}

fn write_characters(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut buffer = [0; 2 * RUN];
    let mut at = 0;
    while at < bytes.len() {
        let run = &bytes[at..bytes.len().min(at + RUN)];
        let (taken, written) = write_run(run, &mut buffer);
        out.extend_from_slice(&buffer[..written]);
        at += taken;
        if taken < run.len()
            && let Some(character) = text[at..].chars().next()
        {
            write_escaped(character, out);
            at += character.len_utf8();
        }
    }
}

/// Writes what needs no numbers; says how many bytes that were, and how many they have become.
fn write_run(run: &[u8], buffer: &mut [u8; 2 * RUN]) -> (usize, usize) {
    let mut written = 0;
    for (index, &byte) in run.iter().enumerate() {
        match KINDS[usize::from(byte)] {
            PLAIN => {
                buffer[written] = byte;
                written += 1;
            }
            LONG => return (index, written),
            letter => {
                buffer[written] = b'\\';
                buffer[written + 1] = letter;
                written += 2;
            }
        }
    }
    (run.len(), written)
}

/// A character by its number, beyond the basic plane as two.
fn write_escaped(character: char, out: &mut Vec<u8>) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(b"\\u");
        out.extend((0..4).rev().map(|digit| hex_digit((*unit >> (4 * digit)) as u8 & 0xf)));
    }
}

/// A number in decimal digits, with zeros in front up to a width.
fn write_number(value: i64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut rest = value.unsigned_abs();
    let mut at = digits.len();
    while rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
}

/// The digit, in lower case, of a number below 16.
pub(super) fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Standard base64 with padding.
fn write_base64(bytes: &[u8], out: &mut impl Sink) {
    for (index, part) in bytes.chunks(PART_BYTES).enumerate() {
        if index > 0 {
            out.spill();
        }
        write_base64_part(part, out.buffer());
    }
}

/// Only the last part is of another length than a multiple of three.
fn write_base64_part(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            // One byte fills two digits, two fill three, three fill four.
            let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 0x3f];
            out.push(if place <= group.len() { digit } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn text(text: &str) -> String {
        let mut out = Vec::new();
        write_text(text, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn texts_are_written_as_python_writes_them() {
        // Printed by Python 3.11: json.dumps("...").
        assert_eq!(text("a/b <&> 'x'"), r#""a/b <&> 'x'""#);
        assert_eq!(text("\"\\\n\r\t\u{8}\u{c}"), r#""\"\\\n\r\t\b\f""#);
        assert_eq!(text("\0\u{1f}\u{7f}\u{80}"), r#""\u0000\u001f\u007f\u0080""#);
        assert_eq!(text("é→\u{2028}🎉."), r#""\u00e9\u2192\u2028\ud83c\udf89.""#);
        assert_eq!(text(""), r#""""#);
    }

    #[test]
    fn texts_of_every_length_and_mixture_are_escaped_alike() {
        // Through the runs of the writer and their ends, against the plainest way to say it.
        let plainest = |text: &str| {
            let escaped = text.chars().map(|character| match character {
                '"' | '\\' => format!("\\{character}"),
                '\n' => "\\n".to_owned(),
                ' '..='~' => character.to_string(),
                _ => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        };
        const CHARACTERS: [char; 8] = ['a', '"', '\\', '\n', '\u{1}', 'é', '→', '🎉'];
        for length in 0..200 {
            for step in 1..CHARACTERS.len() {
                let mixed: String =
                    (0..length).map(|index| if index % 9 == 0 { CHARACTERS[index * step % 8] } else { 'b' }).collect();
                assert_eq!(text(&mixed), plainest(&mixed));
                let dense: String = (0..length).map(|index| CHARACTERS[index * step % 8]).collect();
                assert_eq!(text(&dense), plainest(&dense));
            }
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, -1, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_number(number, 1, &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), number.to_string());
        }
        let mut out = Vec::new();
        write_number(1_234, 20, &mut out);
        assert_eq!(out, b"00000000000000001234");
    }

    #[test]
    fn base64_pads() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"\xff", "/w=="),
            (b"\xff\xfe", "//4="),
            (b"\xff\xfe\xfd", "//79"),
            (b"Many hands", "TWFueSBoYW5kcw=="),
        ] {
            let mut out = Vec::new();
            write_base64(bytes, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn headers_keep_order_duplicates_nulls_and_bytes() {
        let header = |name: &'static [u8], value| DecodedHeader { name: Cow::Borrowed(name), value };
        let mut out = Vec::new();
        let mut line = JsonLine::begin(&mut out);
        line.headers([]);
        line.headers([
            header(b"b", Some(b"1")),
            header(b"a", None),
            header(b"b", Some(b"\xff")),
            header(b"\xfe", Some(b"")),
        ]);
        line.bytes("key", "key_base64", Some(b"\xff"));
        line.bytes("value", "value_base64", None);
        line.end();
        let expected = concat!(
            r#"{"headers": [["b", "1"], ["a", null], ["b", {"base64": "/w=="}], [{"base64": "/g=="}, ""]], "#,
            r#""key_base64": "/w==", "value": null}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
    }
}
