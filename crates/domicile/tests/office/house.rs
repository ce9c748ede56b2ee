//! A center of its own for a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_domicile");
/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A center's folder, served or not.
pub(crate) struct House {
    pub folder: tempfile::TempDir,
    /// The token that `init` printed.
    pub first: String,
    settings: Vec<(&'static str, String)>,
    running: Option<(Child, SocketAddr)>,
}

/// What an HTTPS request was answered.
pub(crate) struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl House {
    /// Makes a center.
    pub(crate) fn new(country: &str, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Vec::new();
        let mut house = Self { folder, first: String::new(), settings, running: None };
        let made = house.run(&["init", "--country", country, "--center", name]);
        assert!(made.status.success(), "{}", said(&made));
        house.first = last_line(&made);
        house
    }

    /// Makes a center of China and serves it.
    pub(crate) fn serving() -> Self {
        let mut house = Self::new("CN", "shanghai-1");
        house.serve();
        house
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("center")
    }

    /// A setting for the commands that follow, by its name in the environment.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    /// A file beside the center's folder.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }

    /// Runs a command on the center's folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must fail, and gives what it said.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--dir").arg(self.path());
        for listener in ["TESLA", "GBT32960", "GBT32960_TLS", "HTTP", "POSTGRES"] {
            command.env(format!("DOMICILE_{listener}_LISTEN"), "127.0.0.1:0");
        }
        command.env("DOMICILE_LAKE_MEMORY_BYTES_MAX", "134217728").envs(self.settings.iter().cloned());
        command
    }

    /// Serves the center until it is ready.
    pub(crate) fn serve(&mut self) {
        let mut child = self.spawn();
        let mut address = None;
        for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
            let line = line.expect("a line");
            if let Some(of_http) = line.strip_prefix("http on ") {
                address = Some(of_http.parse().expect("an address"));
            }
            if line == "ready" {
                let begun = Instant::now();
                while !self.path().join("run/domicile.sock").exists() {
                    assert!(begun.elapsed() < PATIENCE, "the socket never came");
                    std::thread::sleep(Duration::from_millis(5));
                }
                self.running = Some((child, address.expect("it listens for HTTPS")));
                return;
            }
        }
        let _either_way = child.wait();
        let log = std::fs::read_to_string(self.path().join("serve.log")).unwrap_or_default();
        panic!("the center never got ready:\n{log}");
    }

    /// Starts `serve` and waits for nothing.
    pub(crate) fn spawn(&self) -> Child {
        let log = std::fs::File::create(self.path().join("serve.log")).expect("a log");
        self.command(&["serve"]).stdout(Stdio::piped()).stderr(log).spawn().expect("the program runs")
    }

    /// Ends the serving program in good order.
    pub(crate) fn stop(&mut self) {
        let (mut child, _) = self.running.take().expect("it runs");
        let sent = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        assert!(child.wait().expect("it ends").success());
    }

    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.ask("GET", path, token, "application/json", b"")
    }

    /// Asks over HTTPS; the server's certificate is checked.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        kind: &str,
        body: &[u8],
    ) -> Answer {
        let authority = std::fs::read(self.path().join("pki/server-ca.pem")).expect("the authority");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority).expect("PEM")).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let address = self.running.as_ref().expect("it runs").1;
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let mut stream = StreamOwned::new(connection, stream);
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}Content-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("asked");
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head, body: body.to_owned() }
    }

    /// Makes a token and gives its secret.
    pub(crate) fn token(&self, role: &str, name: &str) -> String {
        last_line(&self.run(&["token", "create", "--role", role, "--name", name]))
    }

    /// Every file below the center's folder.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        walk(&self.path())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let Some((mut child, _)) = self.running.take() else { return };
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path().join("serve.log")).unwrap_or_default();
            eprintln!("the center's log:\n{log}");
        }
        let _it_may_have_ended = child.kill();
        let _either_way = child.wait();
    }
}

pub(crate) fn said(output: &Output) -> String {
    [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat()
}

pub(crate) fn last_line(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

/// Repeats a look until it gives what is waited for.
pub(crate) fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < PATIENCE, "{what}: never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}
