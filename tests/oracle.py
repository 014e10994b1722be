#!/usr/bin/env python3
"""An independent witness of what an archive holds: it reads the files with fastavro, and shares no code with kafka-store.

    oracle.py dump DIR    one JSON line for each record, in the order of topic, partition, offset
    oracle.py check DIR   whether the files of each partition form a chain; prints the counts

DIR is an archive: DIR/<topic>/<partition, 6 digits>/<first offset, 20 digits>. What lies under `~kafka-store` is
not looked at. Files of the original kafka-store (three fields, no offsets) are read too: there a record's offset
is the file's first one plus its index.

Both exit with 1 and one line on standard error at the first thing that is wrong, also at a file or directory whose
name has no meaning: whoever compares two archives must not overlook one.
"""

import base64
import json
import os
import re
import sys

import fastavro

OWN_DIRECTORY = "~kafka-store"
ORIGINAL_FIELDS = ["timestamp", "key", "value"]
OWN_FIELDS = ORIGINAL_FIELDS + ["offset", "timestamp_type", "headers"]
TIMESTAMP_TYPES = {"NOT_AVAILABLE", "CREATE_TIME", "LOG_APPEND_TIME"}


class Violation(Exception):
    """Something in the archive that must not be."""


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in COMMANDS:
        print("usage: oracle.py dump|check DIR", file=sys.stderr)
        return 2
    command, root = arguments
    try:
        COMMANDS[command](root)
    except Violation as violation:
        sys.stdout.flush()
        print(f"oracle: {violation}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def dump(root):
    for topic, partition, files in partitions(root):
        for start, path in files:
            for offset, record in records(path, start):
                line = {
                    "topic": topic,
                    "partition": int(partition.partition("~")[0]),
                    "lineage": int(partition.partition("~")[2] or 1),
                    "file": os.path.basename(path),
                    "offset": offset,
                    "timestamp": record["timestamp"],
                    "timestamp_type": record.get("timestamp_type"),
                    "key_b64": base64_or_none(record["key"]),
                    "value_b64": base64_or_none(record["value"]),
                    "headers": headers_of(record),
                }
                print(json.dumps(line))


def check(root):
    topics, partition_count, file_count, record_count = set(), 0, 0, 0
    for topic, _, files in partitions(root):
        topics.add(topic)
        partition_count += 1
        expected_start = None  # the first file of a chain may start anywhere
        for start, path in files:
            if expected_start is not None and start != expected_start:
                kind = "a hole" if start > expected_start else "an overlap"
                raise Violation(f"{path}: {kind}: the file before it ends at {expected_start - 1}")
            last = None
            for offset, _ in records(path, start):
                if offset < start:
                    raise Violation(f"{path}: offset {offset} lies before the file's start")
                if last is not None and offset <= last:
                    raise Violation(f"{path}: offset {offset} follows offset {last}")
                last = offset
                record_count += 1
            if last is None:
                raise Violation(f"{path}: no record")
            expected_start = last + 1
            file_count += 1
    print(f"{len(topics)} topics, {partition_count} partitions, {file_count} files, {record_count} records")


COMMANDS = {"dump": dump, "check": check}


def partitions(root):
    """Yields (topic, partition, [(start, path), …]), sorted; partitions without a file are left out."""
    for topic in listing(root):
        if topic == OWN_DIRECTORY:
            continue
        topic_directory = os.path.join(root, topic)
        if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic) or topic in (".", ".."):
            raise Violation(f"{topic_directory}: not a topic's name")
        for partition in listing(topic_directory):
            partition_directory = os.path.join(topic_directory, partition)
            if not re.fullmatch(r"[0-9]{6}(~[1-9][0-9]*)?", partition):
                raise Violation(f"{partition_directory}: not a partition's name (six digits, and ~2 for a later lineage)")
            files = []
            for name in listing(partition_directory):
                path = os.path.join(partition_directory, name)
                if not re.fullmatch(r"[0-9]{20}", name) or not os.path.isfile(path):
                    raise Violation(f"{path}: not a file named by an offset (twenty digits)")
                files.append((int(name), path))
            if files:
                yield topic, partition, files


def listing(directory):
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        raise Violation(f"{directory}: {error.strerror}") from error


def records(path, start):
    """Yields (offset, record) for every record of one file, after a look at its header."""
    try:
        with open(path, "rb") as file:
            reader = fastavro.reader(file)
            fields = check_header(path, reader)
            for index, record in enumerate(reader):
                if fields == ORIGINAL_FIELDS:
                    yield start + index, record
                    continue
                if record["timestamp_type"] not in TIMESTAMP_TYPES:
                    raise Violation(f"{path}: timestamp type {record['timestamp_type']!r}")
                yield record["offset"], record
            if file.read(1):
                raise Violation(f"{path}: bytes after the last block")
    except Violation:
        raise
    except Exception as error:  # whatever fastavro raises at a damaged file
        raise Violation(f"{path}: not a whole Avro file: {type(error).__name__}: {error}") from error


def check_header(path, reader):
    """Returns the field names, after reading every entry of the header's metadata."""
    for key, value in reader.metadata.items():
        if not isinstance(key, str) or not key or not isinstance(value, str):
            raise Violation(f"{path}: header entry {key!r} is not text")
    schema = json.loads(reader.metadata["avro.schema"])
    if schema.get("type") != "record" or schema.get("name") != "message":
        raise Violation(f"{path}: not a file of records named message")
    fields = [field["name"] for field in schema["fields"]]
    if fields not in (ORIGINAL_FIELDS, OWN_FIELDS):
        raise Violation(f"{path}: unknown fields {fields}")
    return fields


def headers_of(record):
    if "headers" not in record:
        return None
    return [
        [header["key"], base64_or_none(header["value"]), base64_or_none(header["raw_key"])]
        for header in record["headers"]
    ]


def base64_or_none(value):
    return None if value is None else base64.b64encode(value).decode("ascii")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
