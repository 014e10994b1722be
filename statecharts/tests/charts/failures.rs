//! Goal: `docs/failures.md` says what the table says. Method: it is made of it, and `UPDATE_DIAGRAMS=1` rewrites it.

use crate::snapshot;
use kafka_store_statecharts::failure;

const ABOUT: &str = "\
# Failures

Everything outside of the daemon that can fail, and what follows. The daemon runs on this table (`statecharts/src/failure/table.rs`); a test
compares the two, and `UPDATE_DIAGRAMS=1 cargo test -p kafka-store-statecharts` writes this document.

*Retried*: the call is made again for as long as it takes, after 100 ms at first and then later and later, up to 30 s, and not by all
partitions at the same moment. Nothing has to be done once the other side is back. The log names class, reason, attempt and next try;
`kafka_store_failures_total{of,class}` counts; `/readyz` answers 503 and says why.

*Freezes*: somebody has to act, and the log says what to do. The partition stops, all others go on, and `--until-end` ends with exit code 3.
The partition is looked at again after 30 s, then later and later up to `--reexamine-after`, at once on SIGHUP, and at each assignment; it
goes on by itself when it can.

A sign that is not in the table is retried (class `other`): trying again loses nothing. An error of librdkafka's own (its name begins with
`_`) that is not in the table freezes: going on might skip records.

At the start, a daemon whose group was started before waits in the same way for what is retried, before it joins the group. A first start
ends with exit code 1 where brokers or index do not answer, since a flag may be wrong; so does `--until-end`, and whatever freezes.

A sync (fsync) that fails is none of these: it ends the process with exit code 71, since the kernel reports it only once.
";

#[test]
fn the_document_is_what_the_table_says() {
    let text = format!("{ABOUT}\n{}", failure::table());
    snapshot::compare(&snapshot::path("../docs/failures.md"), &text, "UPDATE_DIAGRAMS");
}
