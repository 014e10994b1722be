use super::*;
use crate::cli::Cli;
use clap::Parser;

/// A command line with everything that is required, and `more`.
fn parse(more: &[&str]) -> Result<DaemonConfig, ConfigErrors> {
    let store = std::env::temp_dir();
    let store = store.to_str().expect("UTF-8");
    let given = ["kafka-store", "--broker-list", "b:9092", "--topic", "t", "--group", "g", "--local-store", store];
    let cli = Cli::try_parse_from(given.iter().chain(more)).expect("the flags exist");
    DaemonConfig::parse(&cli.daemon)
}

fn lines(more: &[&str]) -> String {
    parse(more).expect_err("something is wrong").to_string()
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = parse(&[]).expect("valid");
    assert_eq!(config.brokers, "b:9092");
    assert_eq!(config.group, "g");
    assert_eq!(config.topics.to_strings(), ["t"]);
    assert_eq!(config.offset_reset, OffsetReset::Error);
    assert_eq!(config.boundary.segment_bytes.get(), 256_000_000);
    assert_eq!(config.boundary.segment_records, None);
    assert_eq!(config.boundary.segment_age_ms.get(), 3_600_000);
    assert_eq!(config.idle_seal, Duration::from_secs(4200));
    assert_eq!(config.seal_after, Duration::from_secs(14_400));
    assert_eq!(config.codec, Codec::default());
    assert_eq!(config.local_store, Some(std::env::temp_dir()));
    assert_eq!(config.kafka_properties, KafkaProperties::default());
    assert_eq!(config.until_end, None);
    assert_eq!(config.audit_log, None);
    assert_eq!(config.verbosity, Verbosity::Warning);
}

#[test]
fn what_is_written_stays_in_the_page_cache_if_it_is_read_once_more() {
    let spool = std::env::temp_dir();
    let spool = spool.to_str().expect("UTF-8");
    for (more, cache) in [
        (&[][..], PageCache::Released),
        (&["--spool-dir", spool], PageCache::Kept),
        (&["--gcloud-store-url", "gs://bucket"], PageCache::Kept),
        (&["--mysql-metadata-url", "mysql://me@db/k"], PageCache::Kept),
    ] {
        assert_eq!(parse(more).expect("valid").page_cache(), cache, "{more:?}");
    }
}

#[test]
fn spans_follow_the_age_unless_they_are_given() {
    let config = parse(&["--file-age-seconds", "60"]).expect("valid");
    assert_eq!([config.idle_seal.as_secs(), config.seal_after.as_secs()], [660, 240]);
    let config = parse(&["--idle-seal-seconds=5", "--seal-after-seconds=7", "--file-records=9"]).expect("valid");
    assert_eq!([config.idle_seal.as_secs(), config.seal_after.as_secs()], [5, 7]);
    assert_eq!(config.boundary.segment_records.map(NonZeroU64::get), Some(9));
    let config = parse(&["--file-age-seconds", "4294967295"]).expect("the longest age overflows nothing");
    assert_eq!(config.boundary.segment_age_ms.get(), 4_294_967_295_000);
}

#[test]
fn topics_are_sorted_and_folded() {
    let config = parse(&["--topic", "b,a", "--topic=t", "--topic", "a, c"]).expect("valid");
    let names = config.topics.to_strings();
    assert_eq!(names, ["a", "b", "c", "t"]);
}

#[test]
fn offset_resets_have_the_names_of_the_original() {
    for (text, expected) in [
        ("earliest", OffsetReset::Earliest),
        ("smallest", OffsetReset::Earliest),
        ("latest", OffsetReset::Latest),
        ("largest", OffsetReset::Latest),
        ("error", OffsetReset::Error),
    ] {
        assert_eq!(parse(&["--offset-reset", text]).expect("valid").offset_reset, expected);
    }
}

#[test]
fn codecs_have_avros_names_and_levels() {
    for (text, expected) in [
        ("deflate", Codec::Deflate { level: 1 }),
        ("deflate:12", Codec::Deflate { level: 12 }),
        ("zstandard", Codec::Zstandard { level: 1 }),
        ("zstandard:19", Codec::Zstandard { level: 19 }),
        ("zstd:3", Codec::Zstandard { level: 3 }),
        ("snappy", Codec::Snappy),
        ("null", Codec::Null),
    ] {
        assert_eq!(parse(&["--codec", text]).expect("valid").codec, expected);
    }
}

#[test]
fn until_end_may_have_a_timeout() {
    let stall_timeout = Duration::from_secs(600);
    assert_eq!(parse(&["--until-end"]).expect("valid").until_end, Some(UntilEnd { timeout: None, stall_timeout }));
    let timeout = Some(Duration::from_secs(300));
    assert_eq!(
        parse(&["--until-end", "--timeout=5m"]).expect("valid").until_end,
        Some(UntilEnd { timeout, stall_timeout })
    );
    let stall_timeout = Duration::from_secs(30);
    let config = parse(&["--until-end", "--stall-timeout=30s"]).expect("valid");
    assert_eq!(config.until_end, Some(UntilEnd { timeout: None, stall_timeout }));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(25), "below the 30 s of Kubernetes");
}

#[test]
fn an_audit_log_has_a_size_and_keeps_everything() {
    let path = PathBuf::from("/var/log/a");
    let settings = |more: &[&str]| parse(&[&["--audit-log=/var/log/a"], more].concat()).expect("valid").audit_log;
    let size = NonZeroU64::new(100_000_000).expect("not zero");
    assert_eq!(settings(&[]), Some(AuditFileSettings { path: path.clone(), size, keep: None }));
    let (size, keep) = (NonZeroU64::new(1024).expect("not zero"), NonZeroU64::new(3));
    let given = settings(&["--audit-log-size=1Ki", "--audit-log-keep=3"]);
    assert_eq!(given, Some(AuditFileSettings { path, size, keep }));
    let told = lines(&["--audit-log-size=1Ki", "--audit-log-keep=0"]);
    for line in [
        "error: --audit-log-size is only for --audit-log: give both, or neither",
        "error: --audit-log-keep is only for --audit-log: give both, or neither",
        "error: --audit-log-keep \"0\" must be a whole number, at least 1",
    ] {
        assert!(told.lines().any(|other| other == line), "{told}");
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let told = lines(&[
        "--topic=^a(.*",
        "--topic=a,,b",
        "--topic=a/b",
        "--offset-reset=first",
        "--file-size=512B",
        "--file-records=0",
        "--file-age-seconds=1.5",
        "--idle-seal-seconds=0",
        "--seal-after-seconds=x",
        "--codec=zip",
        "--timeout=never",
        "-Xgroup.id=g",
    ]);
    let expected = [
        "error: --topic: \"^a(.*\" is no pattern: error: unclosed group",
        "error: --topic: \"a,,b\" names an empty topic",
        "error: --topic: \"a/b\" is not a Kafka topic name",
        "error: --offset-reset \"first\" is none of earliest, latest, error",
        "error: --file-size \"512B\" has no known unit",
        "error: --file-records \"0\" must be a whole number, at least 1",
        "error: --file-age-seconds \"1.5\" must be a whole number of seconds",
        "error: --idle-seal-seconds \"0\" must be at least one second",
        "error: --seal-after-seconds \"x\" must be a whole number of seconds",
        "error: --codec \"zip\" is no codec",
        "error: --timeout \"never\" is not a time",
        "error: --timeout is only for --until-end",
        "error: -X group.id is refused: use --group",
        "",
        "For more information",
    ];
    assert_eq!(told.lines().count(), expected.len(), "{told}");
    for (line, start) in told.lines().zip(expected) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn a_missing_store_is_not_wrong_usage() {
    assert!(parse(&["--until-end"]).expect("valid").local_store.is_some_and(|path| path.is_dir()));
    let cli =
        Cli::try_parse_from(["kafka-store", "--broker-list=b", "--topic=t", "--group=g"]).expect("the flags exist");
    let errors = DaemonConfig::parse(&cli.daemon).expect_err("no store");
    assert_eq!(errors.to_string(), "Error: At least one output store is required.\n");
    assert_eq!(errors.exit_code(), ExitCode::CannotRun);
}

#[test]
fn debug_shows_no_secret() {
    let more = ["-Xsasl.password=hunter2", "-X", "client.id=me"];
    let config = format!("{:?}", parse(&more).expect("valid"));
    assert!(config.contains("\"sasl.password\": \"<redacted>\""), "{config}");
    assert!(config.contains("\"client.id\": \"me\""), "{config}");
    let args = ["kafka-store", "-Xsasl.password=hunter2", "--mysql-metadata-url=mysql://u:hunter2@h/d"];
    let cli = Cli::try_parse_from(args).expect("the flags exist");
    assert!(!format!("{config} {cli:?}").contains("hunter2"));
}
