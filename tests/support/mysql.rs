//! A real MySQL-compatible server: databases of their own, and servers of their own for tests that kill them.

use super::broker::unique;
use super::ports::free_port;
use mysql::prelude::{FromRow, Queryable};
use mysql::{Conn, Opts, OptsBuilder, Params};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server of this test run: `mysql://user:password@host:port/`.
pub(crate) fn server() -> String {
    std::env::var("KAFKA_STORE_TEST_MYSQL").expect(
        "KAFKA_STORE_TEST_MYSQL is not set: run tests/run, or eval \"$(tests/services start)\" before cargo test",
    )
}

/// A database that is dropped when the test is over.
pub(crate) struct Database {
    server: String,
    pub(crate) name: String,
}

impl Database {
    /// An empty one on the server of this test run.
    pub(crate) fn new(label: &str) -> Database {
        Database::on(&server(), label)
    }

    /// An empty one on another server.
    pub(crate) fn on(server: &str, label: &str) -> Database {
        let name = unique(label).replace(['-', '.'], "_");
        connect(server, None).query_drop(format!("CREATE DATABASE {name}")).expect("a database is made");
        Database { server: server.to_owned(), name }
    }

    /// The same on another server, which is the replica of this one's.
    pub(crate) fn on_replica(&self, server: &str) -> Database {
        Database { server: server.to_owned(), name: self.name.clone() }
    }

    /// With the schema of this version.
    pub(crate) fn with_schema(label: &str) -> Database {
        let database = Database::new(label);
        database.init();
        database
    }

    /// `kafka-store index init`.
    pub(crate) fn init(&self) {
        let (code, told) = command(&["index", "init", "--mysql-metadata-url", &self.url()]);
        assert_eq!(code, Some(0), "{told}");
    }

    /// With the original tool's table, as its dump has it.
    pub(crate) fn of_the_original(label: &str) -> Database {
        let database = Database::new(label);
        let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mysql/dump.sql");
        let dump = std::fs::read_to_string(dump).expect("the dump is there");
        let mut connection = database.connect();
        // No text in it has a semicolon.
        for statement in dump.split(";\n").map(without_comments).filter(|statement| !statement.trim().is_empty()) {
            connection.query_drop(&statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        database
    }

    /// What `--mysql-metadata-url` takes.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.server, self.name)
    }

    pub(crate) fn connect(&self) -> Conn {
        connect(&self.server, Some(&self.name))
    }

    /// `None` while the server is away.
    pub(crate) fn try_connect(&self) -> Option<Conn> {
        Conn::new(opts(&self.server, Some(&self.name))).ok()
    }

    /// All rows of a query.
    #[track_caller]
    pub(crate) fn query<T: FromRow>(&self, query: &str) -> Vec<T> {
        self.connect().query(query).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    #[track_caller]
    pub(crate) fn execute(&self, statement: &str) {
        self.connect().exec_drop(statement, Params::Empty).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// Lines that begin a comment go; what the server executes in spite of one stays.
fn without_comments(statement: &str) -> String {
    let lines = statement.lines().filter(|line| !line.starts_with("--") && !line.starts_with("/*M!"));
    lines.collect::<Vec<_>>().join("\n")
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that was killed has taken it along.
        if let Ok(mut connection) = Conn::new(opts(&self.server, None)) {
            let _ = connection.query_drop(format!("DROP DATABASE IF EXISTS {}", self.name));
        }
    }
}

fn opts(server: &str, database: Option<&str>) -> Opts {
    let opts = OptsBuilder::from_opts(Opts::from_url(server).expect("a URL of a server"));
    opts.db_name(database).prefer_socket(false).into()
}

fn connect(server: &str, database: Option<&str>) -> Conn {
    Conn::new(opts(server, database)).unwrap_or_else(|error| panic!("the MySQL server of the tests: {error}"))
}

/// Runs `kafka-store` and waits: exit code, and what it said.
pub(crate) fn command(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kafka-store")).args(args).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// A MariaDB server of the test's own, on loopback. It ends with the test.
pub(crate) struct Server {
    directory: tempfile::TempDir,
    port: u16,
    flags: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// One that is running, with more flags.
    pub(crate) fn start(flags: &[String]) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Servers that share a directory for temporary tables remove each other's at their start; this one, too, is one.
        let tables = directory.path().join("tmp");
        std::fs::create_dir_all(&tables).expect("created");
        let installed = Command::new(program("mariadb-install-db"))
            .env("TMPDIR", &tables)
            // By force: it need not look up the host's own name.
            .args(["--no-defaults", "--force", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg(format!("--user={}", user()))
            .arg(format!("--datadir={}", directory.path().join("data").display()))
            .output()
            .expect("mariadb-install-db starts");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let mut server = Server { directory, port: free_port(), flags: flags.to_vec(), process: None };
        server.run();
        server
    }

    /// Starts it (again), at the same address, and waits until it answers.
    pub(crate) fn run(&mut self) {
        self.spawn();
        let deadline = Instant::now() + PATIENCE;
        while Conn::new(opts(&self.url(), None)).is_err() {
            assert!(Instant::now() < deadline, "the server does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it, and does not wait.
    pub(crate) fn spawn(&mut self) {
        let path = |name: &str| self.directory.path().join(name);
        let log = File::options().create(true).append(true).open(path("log")).expect("a log");
        let child = Command::new(program("mariadbd"))
            .arg("--no-defaults")
            .arg(format!("--user={}", user()))
            .arg(format!("--datadir={}", path("data").display()))
            .arg(format!("--socket={}", path("sock").display()))
            .arg(format!("--pid-file={}", path("pid").display()))
            .arg(format!("--tmpdir={}", path("tmp").display()))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mariadbd starts");
        self.process = Some(child);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
    }

    /// `mysql://root@127.0.0.1:port/`.
    pub(crate) fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As root, without a database.
    pub(crate) fn connect(&self) -> Conn {
        connect(&self.url(), None)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Debian has the server outside of a user's PATH.
fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let found = path.split(':').map(|directory| Path::new(directory).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {name}: apt-get install mariadb-server-core"))
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
