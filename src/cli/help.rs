//! The parts of `--help` that clap does not make by itself.

use std::fmt::Write;

use crate::exit::ExitCode;

/// The ways to call the program.
pub(super) const USAGE: &str = "\
kafka-store --broker-list BROKERS --topic TOPIC --group GROUP --local-store DIR [OPTIONS]
       kafka-store --broker-list BROKERS --topic TOPIC --group GROUP --gcloud-store-url gs://BUCKET[/PREFIX] [OPTIONS]
       kafka-store <COMMAND>";

/// What stands below the flags.
pub(super) fn after_help() -> String {
    let mut text = String::from(BELOW_THE_FLAGS);
    for code in ExitCode::ALL {
        let _ = writeln!(text, "{:>4}  {}", code.number(), code.description());
    }
    text
}

const BELOW_THE_FLAGS: &str = "\
Each flag can be set by a variable of the environment, too: KAFKA_STORE_FILE_SIZE
for --file-size, KAFKA_STORE_X for -X (one key=value a line). The command line wins.

Sizes: 64M and 64MB are 64,000,000 bytes, 64Mi and 64MiB are 67,108,864, a plain
number counts bytes; upper and lower case are the same, decimals are allowed.

Other than in the Python tool kafka-store 0.1.4, by design:
  --file-size    counts record bytes before compression (it counted compressed
                 bytes), and is 256M (it was 64M): the same records then end in
                 the same files, whatever the codec
  --topic        may name several
  quiet topics   end their file after --idle-seal-seconds by the clock (it waited
                 for the age and 8 hours)
  files          also have offset, timestamp type and headers of each record

Examples:
  Archive two topics, in files of up to half an hour:
    kafka-store --broker-list kafka:9092 --topic orders,payments --group archive \\
      --offset-reset earliest --file-age-seconds 1800 --local-store /srv/archive
  Archive what is there now, and end (for cron):
    kafka-store --broker-list kafka:9092 --topic orders --group archive \\
      --local-store /srv/archive --until-end --timeout 30m
  Archive to a bucket, with a mirror in a directory:
    kafka-store --broker-list kafka:9092 --topic orders --group archive \\
      --gcloud-store-url gs://my-bucket/archive --local-store /srv/archive
  With TLS on both sides:
    kafka-store --broker-list kafka:9093 --topic orders --group archive \\
      --local-store /srv/archive -X security.protocol=SSL -X ssl.ca.location=ca.pem \\
      -X ssl.certificate.location=me.pem -X ssl.key.location=me.key

Exit codes:
";
