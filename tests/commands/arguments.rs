//! The command line of the built binary: what it answers, where, and with which exit code.
//!
//! Needs nothing but the binary: every case here ends before Kafka is asked.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// A directory that can be a store.
fn store() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn kafka_store<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ran {
    ran(Command::new(env!("CARGO_BIN_EXE_kafka-store")).args(args))
}

/// A command line that lacks nothing, and `more`.
fn complete<'a>(store: &'a tempfile::TempDir, more: &[&'a str]) -> Vec<&'a str> {
    let store = store.path().to_str().expect("UTF-8");
    let mut args = vec!["--broker-list", "127.0.0.1:1", "--topic", "t", "--group", "g", "--local-store", store];
    args.extend(more);
    args
}

fn ran(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Exit code 2 and, alone on stderr beside the hint, this line.
    #[track_caller]
    fn is_refused_by(&self, line: &str) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let told: Vec<_> = self.stderr.lines().filter(|line| line.starts_with("error")).collect();
        assert_eq!(told, [line], "{}", self.stderr);
        assert!(self.stderr.contains("For more information, try '"), "{}", self.stderr);
    }
}

#[test]
fn help_goes_to_stdout_and_explains() {
    for flag in ["--help", "-h"] {
        let help = kafka_store([flag]);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        for text in [
            "Usage: kafka-store --broker-list BROKERS --topic TOPIC --group GROUP --local-store DIR [OPTIONS]\n",
            "       kafka-store <COMMAND>\n",
            "Kafka:\n",
            "Where a file ends:\n",
            "Store:\n",
            "Running:\n",
            "[default: 256M]",
            "[default: 3600]",
            "[default: error]",
            "zstandard[:1 to 19], snappy,",
            "before compression (it counted compressed",
            "Examples:\n",
            "Exit codes:\n   0  done;",
        ] {
            assert!(help.stdout.contains(text), "{flag}: {text:?} is not in:\n{}", help.stdout);
        }
    }
}

#[test]
fn version_is_the_packages() {
    for flag in ["--version", "-V"] {
        let version = kafka_store([flag]);
        assert_eq!(version.stdout, concat!("kafka-store ", env!("CARGO_PKG_VERSION"), "\n"));
        assert_eq!(version.code, Some(0));
    }
}

#[test]
fn nothing_given_names_everything_that_is_required() {
    let none = kafka_store([""; 0]);
    assert_eq!(none.code, Some(2));
    assert_eq!(
        none.stderr,
        "error: --broker-list is required: the brokers to ask first, host:port,…\n\
         error: --topic is required: the topic to archive; repeat it, or write a,b, for several\n\
         error: --group is required: the consumer group that keeps the position\n\
         Error: At least one output store is required.\n\
         \n\
         For more information, try 'kafka-store --help'. To see it work without Kafka: kafka-store demo\n"
    );
}

#[test]
fn no_store_is_the_originals_line_and_exit_code() {
    for args in [
        ["--broker-list", "b", "--topic", "t", "--group", "g"].as_slice(),
        &["--broker-list=b", "--topic=t", "--group=g", "--offset-reset=earliest", "-v"],
    ] {
        let refused = kafka_store(args);
        assert_eq!(refused.stderr, "Error: At least one output store is required.\n");
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    }
}

#[test]
fn an_unusable_store_is_refused_before_anything_else_happens() {
    let store = store();
    let file = store.path().join("file");
    std::fs::write(&file, "").expect("writable");
    let missing = store.path().join("missing");
    for (path, text) in [(&missing, "there is no such directory; create it first"), (&file, "is not a directory")] {
        let path = path.to_str().expect("UTF-8");
        let refused = kafka_store(["--broker-list=b", "--topic=t", "--group=g", "--local-store", path]);
        assert_eq!(refused.code, Some(1));
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        assert!(refused.stderr.starts_with(&format!("error: --local-store {path}")), "{}", refused.stderr);
        assert!(refused.stderr.contains(text), "{}", refused.stderr);
    }
    let args = complete(&store, &["--spool-dir", missing.to_str().expect("UTF-8")]);
    let refused = kafka_store(args);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.starts_with(&format!("error: --spool-dir {}: there is no", missing.display())),
        "{refused:?}"
    );
    assert!(!missing.exists(), "a store is never created");
}

#[test]
fn each_wrong_value_gets_one_line() {
    let store = store();
    let not_a_size = "is not a size: write 64M for 64,000,000 bytes, 64Mi for 67,108,864, or a plain number of bytes";
    let not_a_codec = "is no codec: write deflate or deflate:LEVEL (1, fastest, to 12, smallest), zstandard or \
                       zstandard:LEVEL (1 to 19), snappy, or null";
    let bare_b = "has no known unit: a plain number already counts bytes, without the B";
    for (flag, value, line) in [
        ("--file-size", "64X", not_a_size),
        ("--file-size", "", not_a_size),
        ("--file-size", "nan", not_a_size),
        ("--file-size", "512B", bare_b),
        ("--file-size", "10b", bare_b),
        ("--file-size", "0", "must be more than zero"),
        ("--file-size", "-5", "must be more than zero"),
        ("--file-size", "1e400", "is too large"),
        ("--memory-limit", "64X", not_a_size),
        ("--spool-limit", "64X", not_a_size),
        (
            "--spool-limit",
            "1023M",
            "is too small: 4 files of --file-size (256000000 bytes) are stored at a time, so give at least 1024000000, or \
             a smaller --file-size or --upload-pool-size",
        ),
        (
            "--memory-limit",
            "63M",
            "is too small: at least 64M, so that one batch of a producer, up to 1 MB, can be unpacked in it",
        ),
        ("--file-records", "0", "must be a whole number, at least 1"),
        ("--file-records", "-1", "must be a whole number, at least 1"),
        ("--file-age-seconds", "1.5", "must be a whole number of seconds"),
        ("--file-age-seconds", "1h", "must be a whole number of seconds"),
        ("--file-age-seconds", "-1", "must be at least one second"),
        ("--idle-seal-seconds", "0", "must be at least one second"),
        ("--seal-after-seconds", "99999999999", "is too long: at most 4294967295 seconds"),
        ("--offset-reset", "first", "is none of earliest, latest, error (or smallest, largest)"),
        ("--codec", "zip", not_a_codec),
        ("--codec", "deflate:13", not_a_codec),
        ("--codec", "zstandard:20", not_a_codec),
        ("--codec", "zstd:-1", not_a_codec),
        ("--codec", "snappy:1", not_a_codec),
        ("--codec", "null:1", not_a_codec),
    ] {
        kafka_store(complete(&store, &[flag, value])).is_refused_by(&format!("error: {flag} {value:?} {line}"));
    }
    for (args, line) in [
        (["--until-end", "--timeout=soon"].as_slice(), "--timeout \"soon\" is not a time: write 30 or 30s, 5m, 1h"),
        (&["--timeout", "30s"], "--timeout is only for --until-end: give both, or neither"),
        (&["--topic", "^a(.*"], "--topic: \"^a(.*\" is no pattern: error: unclosed group"),
        (&["--topic", "a,,b"], "--topic: \"a,,b\" names an empty topic"),
        (&["-X", "debug"], "-X takes key=value: one that was given has no key or no ="),
        (&["-X", "debgu=all"], "-X debgu is refused by librdkafka: No such configuration property: \"debgu\""),
    ] {
        kafka_store(complete(&store, args)).is_refused_by(&format!("error: {line}"));
    }
    kafka_store(["--broker-list=", "--topic=t", "--group=g", "--local-store=/"])
        .is_refused_by("error: --broker-list is empty: name the brokers to ask first, host:port,…");
}

#[test]
fn what_is_wrong_with_a_bucket_is_told_before_it_is_asked() {
    let with =
        |flag: &str| kafka_store(["--broker-list=b", "--topic=t", "--group=g", "--gcloud-store-url=gs://bucket", flag]);
    let url = "error: --gcloud-store-url \"gs://B\" must name a bucket: 3 or more of a-z, 0-9, - _ and .";
    kafka_store(["--broker-list=b", "--topic=t", "--group=g", "--gcloud-store-url=gs://B"]).is_refused_by(url);
    with("--gcs-endpoint=localhost:80")
        .is_refused_by("error: --gcs-endpoint \"localhost:80\" must be http://HOST:PORT or https://HOST");
    with("--gcs-chunk-size=16M").is_refused_by(
        "error: --gcs-chunk-size \"16M\" is no multiple of 256Ki (262144 bytes), as the service wants it: 16Mi is one",
    );
    with("--upload-pool-size=0").is_refused_by("error: --upload-pool-size \"0\" must be a whole number from 1 to 256");
    let store = store();
    kafka_store(complete(&store, &["--gcs-storage-class=COLDLINE"]))
        .is_refused_by("error: --gcs-storage-class is only for --gcloud-store-url: give both, or neither");
}

#[test]
fn properties_that_the_archive_depends_on_are_refused_with_a_reason() {
    let store = store();
    for (key, reason) in [
        ("bootstrap.servers", "--broker-list"),
        ("metadata.broker.list", "--broker-list"),
        ("group.id", "--group"),
        ("auto.offset.reset", "--offset-reset"),
        ("enable.auto.commit", "committed only after the file is stored"),
        ("auto.commit.enable", "committed only after the file is stored"),
        ("auto.commit.interval.ms", "committed only after the file is stored"),
        ("enable.auto.offset.store", "committed only after the file is stored"),
        ("offset.store.method", "committed only after the file is stored"),
        ("offset.store.path", "committed only after the file is stored"),
        ("offset.store.sync.interval.ms", "committed only after the file is stored"),
        ("isolation.level", "committed records"),
        ("enable.partition.eof", "caught up"),
        ("check.crcs", "always on"),
        ("allow.auto.create.topics", "always off"),
        ("statistics.interval.ms", "the daemon sets it"),
        ("topic.blacklist", "name the topics"),
        ("queued.max.messages.kbytes", "budget of memory"),
        ("queued.min.messages", "--memory-limit"),
        ("message.max.bytes", "--memory-limit"),
        ("fetch.max.bytes", "budget of memory"),
        ("fetch.message.max.bytes", "budget of memory"),
        ("max.partition.fetch.bytes", "budget of memory"),
        ("fetch.queue.backoff.ms", "budget of memory"),
        ("receive.message.max.bytes", "budget of memory"),
    ] {
        let refused = kafka_store(complete(&store, &["-X", &format!("{key}=1")]));
        assert_eq!(refused.code, Some(2), "{key}");
        let line = refused.stderr.lines().next().unwrap_or_default();
        assert!(line.starts_with(&format!("error: -X {key} is refused: ")), "{line}");
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn a_secret_is_never_echoed() {
    let store = store();
    for wrong in ["-Xsasl.password:hunter2", "-Xsasl.passwrod=hunter2", "--mysql-metadata-url=mysql://u:hunter2@h"] {
        let refused = kafka_store(complete(&store, &[wrong]));
        assert_eq!(refused.code, Some(2));
        assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    }
}

#[test]
fn a_stderr_that_takes_nothing_changes_no_exit_code() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux");
    for (args, code) in [(["--group=g"].as_slice(), 2), (&["--no-such-flag"], 2), (&["--help"], 0)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        let status = command.args(args).stdout(full()).stderr(full()).status().expect("the binary runs");
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn an_unknown_flag_gets_a_suggestion() {
    let store = store();
    let refused = kafka_store(complete(&store, &["--file-sise", "64M"]));
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("unexpected argument '--file-sise' found"), "{}", refused.stderr);
    assert!(refused.stderr.contains("'--file-size'"), "{}", refused.stderr);
    let refused = kafka_store(["reed"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("read"), "{}", refused.stderr);
}

/// The value is wrong on purpose: its line shows that the prefix was understood.
#[test]
fn values_come_after_a_space_or_an_equals_sign_and_prefixes_are_flags() {
    let store = store();
    for args in [["--file-size=512B"].as_slice(), &["--file-size", "512B"], &["--file-si=512B"], &["--file-si", "512B"]]
    {
        kafka_store(complete(&store, args)).is_refused_by(
            "error: --file-size \"512B\" has no known unit: a plain number already counts bytes, without the B",
        );
    }
    let refused = kafka_store(complete(&store, &["--file", "64M"]));
    assert_eq!(refused.code, Some(2), "not unique: {refused:?}");
    let whole =
        kafka_store(["--b=b", "--t", "t", "--gr=g", "--o", "earliest", "--file-si", "64M", "--file-a", "60", "--verb"]);
    assert_eq!(whole.stderr, "Error: At least one output store is required.\n");
}

#[test]
fn a_command_needs_none_of_the_daemons_flags_and_takes_none() {
    for command in ["read", "demo"] {
        let help = kafka_store([command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        assert!(help.stdout.contains(&format!("Usage: kafka-store {command}")), "{}", help.stdout);
        let mixed = kafka_store(["--group", "g", command]);
        assert_eq!(mixed.code, Some(2), "{mixed:?}");
    }
}

#[test]
fn a_variable_stands_for_a_flag_and_the_command_line_wins() {
    let store = store();
    let run = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        command.args(args).env("KAFKA_STORE_LOCAL_STORE", store.path());
        let output = command.envs(variables.iter().copied()).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let needed = [("KAFKA_STORE_BROKER_LIST", "b"), ("KAFKA_STORE_TOPIC", "t"), ("KAFKA_STORE_GROUP", "g")];
    let with = |more: &[(&'static str, &'static str)]| [&needed, more].concat();
    let (code, told) = run(&with(&[("KAFKA_STORE_FILE_SIZE", "512B")]), &[]);
    assert_eq!(code, Some(2));
    assert!(told.starts_with("error: --file-size \"512B\""), "{told}");
    let (_, told) = run(&with(&[("KAFKA_STORE_FILE_SIZE", "512B")]), &["--file-size=7B"]);
    assert!(told.starts_with("error: --file-size \"7B\""), "{told}");
    let (_, told) = run(&with(&[("KAFKA_STORE_X", "group.id=a\n\ncheck.crcs=false\n")]), &[]);
    assert!(told.contains("-X group.id is refused") && told.contains("-X check.crcs is refused"), "{told}");
    let (_, told) = run(&with(&[("KAFKA_STORE_TIMEOUT", "5m"), ("KAFKA_STORE_UNTIL_END", "no")]), &[]);
    assert!(told.starts_with("error: --timeout is only for --until-end"), "{told}");
    let (_, told) = run(&with(&[("KAFKA_STORE_CODEC", "zip")]), &["plan"]);
    assert!(told.starts_with("error: --codec \"zip\""), "{told}");
}

#[test]
fn an_index_is_named_as_in_the_original_or_refused_in_one_line() {
    let store = store();
    for (flag, line) in [
        ("--mysql-metadata-url=db/k", "is not of the form mysql://[user[:password]@]host[:port]/database"),
        ("--my=mysql://db", "names no database: mysql://[user[:password]@]host[:port]/database"),
        ("--mysql-m=mysql://db:port/k", "has a port that is none: mysql://[user[:password]@]host[:port]/database"),
    ] {
        kafka_store(complete(&store, &[flag])).is_refused_by(&format!("error: --mysql-metadata-url {line}"));
    }
    kafka_store(complete(&store, &["--mysql-tls=verify"]))
        .is_refused_by("error: --mysql-tls is only for --mysql-metadata-url: give both, or neither");
    for command in ["init", "migrate", "status"] {
        let told = kafka_store(["index", command]);
        assert_eq!(told.code, Some(2), "{}", told.stderr);
        assert!(told.stderr.contains("--mysql-metadata-url (or KAFKA_STORE_MYSQL_METADATA_URL)"), "{}", told.stderr);
    }
    let told = kafka_store(["find", "orders", "--offset=1"]);
    assert_eq!(told.code, Some(2), "{}", told.stderr);
    assert!(told.stderr.contains("name an index to ask (--mysql-metadata-url) or an archive"), "{}", told.stderr);
    // Nobody listens there: the variable was read, and is not shown with its password.
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
    command.args(["index", "status"]).env("KAFKA_STORE_MYSQL_METADATA_URL", "mysql://me:hunter2@127.0.0.1:1/k");
    let told = ran(command.env("KAFKA_STORE_MYSQL_PASSWORD", "hunter3"));
    assert_eq!(told.code, Some(1), "{}", told.stderr);
    assert!(told.stderr.contains("127.0.0.1:1") && !told.stderr.contains("hunter"), "{}", told.stderr);
}

#[test]
fn the_environment_of_one_command_breaks_no_other() {
    let junk = [
        "BROKER_LIST",
        "TOPIC",
        "GROUP",
        "FILE_SIZE",
        "TIMEOUT",
        "CODEC",
        "LOCAL_STORE",
        "UNTIL_END",
        "VERBOSE",
        "MYSQL_METADATA_URL",
        "MYSQL_TLS",
    ]
    .map(|name| (format!("KAFKA_STORE_{name}"), "^no use\n"));
    for args in
        [["read", "--help"].as_slice(), &["demo", "--help"], &["--help"], &["--version"], &["read", "no such path"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        let with_junk = ran(command.args(args).envs(junk.clone()));
        let without = kafka_store(args);
        assert_eq!(
            (with_junk.code, with_junk.stdout, with_junk.stderr),
            (without.code, without.stdout, without.stderr)
        );
    }
}

#[test]
fn a_panic_on_any_thread_ends_the_process_with_its_exit_code() {
    const PANICS: &str = "KAFKA_STORE_TEST_PANICS";
    // More than are written while the panic is on its way.
    const LINES: usize = 3000;
    if std::env::var_os(PANICS).is_some() {
        kafka_store::exit::install_panic_hook();
        let (log, _flushed_at_the_end) = kafka_store::logging::start(kafka_store::logging::Verbosity::Info);
        for number in 1..=LINES {
            slog::info!(log, "a line before"; "number" => number);
        }
        let _ = std::thread::spawn(|| panic!("on purpose: {}", 1)).join();
        unreachable!("the hook ends the process");
    }
    let this = std::env::current_exe().expect("known");
    let name = "arguments::a_panic_on_any_thread_ends_the_process_with_its_exit_code";
    let panicked = ran(Command::new(this).args(["--exact", name, "--nocapture"]).env(PANICS, "1"));
    assert_eq!(panicked.code, Some(70), "{panicked:?}");
    let lines: Vec<_> = panicked.stderr.lines().collect();
    let (logged, reported) = lines.split_at_checked(LINES).expect("no line is lost");
    for (number, line) in (1..).zip(logged) {
        assert!(line.ends_with(&format!("Z INFO a line before, number: {number}")), "plain, in order: {line}");
    }
    let [what, .., advice] = reported else { panic!("two lines or more: {reported:?}") };
    assert!(what.starts_with("kafka-store: internal error at tests/commands/arguments.rs:"), "{what}");
    assert!(what.ends_with(": on purpose: 1"), "{what}");
    assert!(advice.starts_with("this is a bug in kafka-store"), "{advice}");
}
