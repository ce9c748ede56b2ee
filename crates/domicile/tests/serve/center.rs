//! A center of its own for a test: the real program, in a folder of its own, on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_domicile");

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Center {
    pub folder: tempfile::TempDir,
    child: Child,
    listening: Vec<(String, SocketAddr)>,
    /// Settings by their names in the environment.
    settings: Vec<(&'static str, &'static str)>,
}

/// A vehicle's certificate and key, and what it verifies the center with; PEM each.
pub(crate) struct Papers {
    pub certificate: String,
    pub key: String,
    pub server_ca: String,
}

impl Center {
    /// Makes a center of China and serves it.
    pub(crate) fn start(settings: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new(PROGRAM)
            .args(["init", "--country", "CN", "--center", "shanghai-1", "--dir"])
            .arg(folder.path().join("center"))
            .output()
            .expect("the program runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (child, listening) = serve(&folder.path().join("center"), settings);
        Self { folder, child, listening, settings: settings.to_vec() }
    }

    /// Serves a center's folder that was made by other means; it lies as `center` in `folder`.
    #[cfg(feature = "lake")]
    pub(crate) fn of(folder: tempfile::TempDir, settings: &[(&'static str, &'static str)]) -> Self {
        let (child, listening) = serve(&folder.path().join("center"), settings);
        Self { folder, child, listening, settings: settings.to_vec() }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("center")
    }

    /// Where a listener is reached.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.listening.iter().find(|(known, _)| known == name).expect("it is listened on").1
    }

    /// Registers a vehicle.
    pub(crate) fn add(&self, vin: &str, country: &str) {
        let (status, answer) =
            self.call("POST", "/api/vehicles", Some(&json!({ "vin": vin, "country": country })));
        assert!(status < 300, "{status} {answer}");
    }

    /// A registered vehicle's certificate.
    pub(crate) fn papers(&self, vin: &str) -> Papers {
        let (status, answer) = self.call("POST", &format!("/api/vehicles/{vin}/certificate"), None);
        assert!(status < 300, "{status} {answer}");
        let text = |name: &str| answer[name].as_str().expect("a PEM text").to_owned();
        Papers { certificate: text("certificate"), key: text("key"), server_ca: text("server_ca") }
    }

    pub(crate) fn revoke(&self, vin: &str) {
        let why = json!({ "why": "a test" });
        let (status, answer) = self.call("POST", &format!("/api/vehicles/{vin}/revoke"), Some(&why));
        assert!(status < 300, "{status} {answer}");
    }

    pub(crate) fn status(&self) -> Value {
        self.call("GET", "/status", None).1
    }

    pub(crate) fn metrics(&self) -> String {
        String::from_utf8(self.ask("GET", "/metrics", None).1).expect("metrics are text")
    }

    /// A counter's value; 0 where it isn't there yet.
    pub(crate) fn counter(&self, line: &str) -> f64 {
        let text = self.metrics();
        let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// What is known of a vehicle, registered or not.
    pub(crate) fn show(&self, vin: &str) -> Value {
        self.call("GET", &format!("/api/vehicles/{vin}"), None).1
    }

    /// Calls the center over its socket.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (status, body) = self.ask(method, path, body);
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Vec<u8>) {
        self.ask_accepting("*/*", method, path, body)
    }

    /// As [`Center::ask`], for an answer of some content type.
    pub(crate) fn ask_accepting(
        &self,
        accept: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(self.path().join("run/domicile.sock")).expect("the socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: center\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Accept: {accept}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("asked");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = &answer[end..];
        (status, if head.contains("chunked") { unchunk(body) } else { body.to_vec() })
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for the program's end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(40), "the program doesn't end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Serves the folder again, after the program has ended.
    pub(crate) fn serve_again(&mut self) {
        (self.child, self.listening) = serve(&self.path(), &self.settings);
    }

    #[cfg(feature = "lake")]
    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
        self.end();
    }
}

impl Drop for Center {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path().join("serve.log")).unwrap_or_default();
            eprintln!("the center's log:\n{log}");
        }
        let _it_may_have_ended = self.child.kill();
        let _either_way = self.child.wait();
    }
}

#[expect(clippy::zombie_processes, reason = "`Center` waits for it when it goes")]
fn serve(folder: &Path, settings: &[(&str, &str)]) -> (Child, Vec<(String, SocketAddr)>) {
    let log = std::fs::File::create(folder.join("serve.log")).expect("a log");
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--log", "debug", "--dir"])
        .arg(folder)
        .env("DOMICILE_TESLA_LISTEN", "127.0.0.1:0")
        .env("DOMICILE_GBT32960_LISTEN", "127.0.0.1:0")
        .env("DOMICILE_GBT32960_TLS_LISTEN", "127.0.0.1:0")
        .env("DOMICILE_HTTP_LISTEN", "127.0.0.1:0")
        .env("DOMICILE_POSTGRES_LISTEN", "127.0.0.1:0")
        .env("DOMICILE_LAKE_MEMORY_BYTES_MAX", "134217728")
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the program runs");
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut listening = Vec::new();
    for line in out.lines() {
        let line = line.expect("a line");
        if line == "ready" {
            let begun = Instant::now();
            while UnixStream::connect(folder.join("run/domicile.sock")).is_err() {
                assert!(begun.elapsed() < PATIENCE, "the socket never came");
                std::thread::sleep(Duration::from_millis(5));
            }
            return (child, listening);
        }
        if let Some((name, address)) = line.split_once(" on ") {
            listening.push((name.to_owned(), address.parse().expect("an address")));
        }
    }
    let log = std::fs::read_to_string(folder.join("serve.log")).unwrap_or_default();
    panic!("the center never got ready:\n{log}");
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let Some(size @ 1..) = size else { break };
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
    whole
}

/// Repeats a look until it gives what is waited for.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}
