//! A producer that writes whatever bytes a test wants: header names that are not UTF-8, any timestamp.
//!
//! librdkafka's takes neither. One Produce request (version 3) with one uncompressed batch, as
//! <https://kafka.apache.org/documentation/#messageformat> describes it.

use super::records::Record;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Produces each record in a batch of its own, so that timestamps lie as far apart as they like.
pub(crate) fn produce(address: &str, topic: &str, partition: i32, records: &[Record]) {
    let mut connection = TcpStream::connect(address).expect("the broker listens");
    records.iter().for_each(|record| send(&mut connection, topic, partition, &batch(record)));
}

/// Produces a record whose bytes are not those that its checksum was made of. A real broker refuses it.
pub(crate) fn produce_damaged(address: &str, topic: &str, partition: i32, record: &Record) {
    let mut batch = batch(record);
    *batch.last_mut().expect("a batch has bytes") ^= 1;
    send(&mut TcpStream::connect(address).expect("the broker listens"), topic, partition, &batch);
}

/// The epoch of the leader that a group has committed with its offset, negative if none (OffsetFetch, version 5).
pub(crate) fn committed_leader_epoch(address: &str, group: &str, topic: &str, partition: i32) -> i32 {
    let mut body = head(9, 5);
    text(&mut body, group);
    body.extend(1_i32.to_be_bytes());
    text(&mut body, topic);
    body.extend(1_i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    let answer = ask(&mut TcpStream::connect(address).expect("the broker listens"), &body);
    // Correlation id, throttling, one topic's name, one partition's number and offset, and then the epoch.
    let at = 4 + 4 + 4 + 2 + topic.len() + 4 + 4 + 8;
    i32::from_be_bytes(answer[at..at + 4].try_into().expect("four bytes"))
}

fn send(connection: &mut TcpStream, topic: &str, partition: i32, batch: &[u8]) {
    let answer = ask(connection, &produce_request(topic, partition, batch));
    // Correlation id, one topic's name, one partition's number, and then the error's.
    let error_at = 4 + 4 + 2 + topic.len() + 4 + 4;
    let error = i16::from_be_bytes([answer[error_at], answer[error_at + 1]]);
    assert_eq!(error, 0, "the broker refused a batch");
}

fn ask(connection: &mut TcpStream, body: &[u8]) -> Vec<u8> {
    let mut request = length(body).to_be_bytes().to_vec();
    request.extend(body);
    connection.write_all(&request).expect("sent");
    let mut length = [0; 4];
    connection.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("positive")];
    connection.read_exact(&mut answer).expect("a whole answer");
    answer
}

fn head(api: i16, version: i16) -> Vec<u8> {
    let mut head = api.to_be_bytes().to_vec();
    head.extend(version.to_be_bytes());
    head.extend(7_i32.to_be_bytes()); // correlation id
    text(&mut head, "raw");
    head
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).expect("short").to_be_bytes());
    out.extend(text.as_bytes());
}

fn produce_request(topic: &str, partition: i32, batch: &[u8]) -> Vec<u8> {
    let mut body = head(0, 3);
    body.extend((-1_i16).to_be_bytes()); // no transaction
    body.extend((-1_i16).to_be_bytes()); // all replicas acknowledge
    body.extend(30_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    text(&mut body, topic);
    body.extend(1_i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    body.extend(length(batch).to_be_bytes());
    body.extend(batch);
    body
}

fn batch(record: &Record) -> Vec<u8> {
    let mut fields = vec![0]; // attributes
    varint(0, &mut fields); // timestamp, less the batch's
    varint(0, &mut fields); // offset, less the batch's
    nullable(record.key.as_deref(), &mut fields);
    nullable(record.value.as_deref(), &mut fields);
    varint(record.headers.len() as i64, &mut fields);
    for (name, value) in &record.headers {
        nullable(Some(name), &mut fields);
        nullable(value.as_deref(), &mut fields);
    }
    let mut checked = Vec::new();
    checked.extend(0_i16.to_be_bytes()); // no codec, CreateTime, no transaction
    checked.extend(0_i32.to_be_bytes()); // last offset, less the first
    checked.extend(record.timestamp.to_be_bytes()); // the first
    checked.extend(record.timestamp.to_be_bytes()); // the greatest
    checked.extend((-1_i64).to_be_bytes()); // no producer id
    checked.extend((-1_i16).to_be_bytes());
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(1_i32.to_be_bytes()); // records
    varint(fields.len() as i64, &mut checked);
    checked.extend(fields);
    let mut batch = 0_i64.to_be_bytes().to_vec(); // the broker gives the offset
    batch.extend((length(&checked) + 4 + 1 + 4).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes()); // leader epoch
    batch.push(2); // the format
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn length(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("less than 2 GiB")
}

fn nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => varint(-1, out),
        Some(bytes) => {
            varint(bytes.len() as i64, out);
            out.extend_from_slice(bytes);
        }
    }
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}
