//! The WebSocket codec against Python's `websockets` over a real socket: the upgrade, messages of every length of header, parts, a
//! ping, messages that are too large, a close from each side.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wire::websocket::{
    CloseCode, Decision, Handshake, Item, Receiver, Role, binary, read_request, write_binary, write_close,
    write_pong,
};

const LIMIT: usize = 400_000;

/// The Python that has the packages of `tests/python/requirements.txt`; says so where there is none.
fn python() -> Option<PathBuf> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    #[expect(clippy::disallowed_methods, reason = "a test asks which Python to run")]
    let given = std::env::var_os("DOMICILE_PYTHON").map(PathBuf::from);
    let python = given.or_else(|| Some(repository.join(".venv/bin/python")).filter(|python| python.exists()));
    let Some(python) = python else {
        println!("skipped: neither DOMICILE_PYTHON nor .venv/bin/python");
        return None;
    };
    let imports = Command::new(&python).args(["-c", "import websockets"]).output();
    if !imports.expect("Python runs").status.success() {
        println!("skipped: that Python lacks websockets (pip install -r tests/python/requirements.txt)");
        return None;
    }
    Some(python)
}

/// The next connection; fails when the peer has ended without one.
fn accept(listener: &TcpListener, child: &mut Child) -> TcpStream {
    listener.set_nonblocking(true).expect("a listener");
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).expect("a stream");
            return stream;
        }
        assert!(
            child.try_wait().expect("a child").is_none(),
            "the peer ended too early; run it by hand to see why"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a connection sent until its end.
#[derive(Default, Debug, PartialEq)]
struct Counts {
    messages: usize,
    too_large: usize,
    pings: usize,
}

/// Answers the upgrade, then echoes every message until the other side closes or breaks a rule.
fn echo(mut stream: TcpStream) -> Counts {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let (mut buffer, mut piece, mut out) = (Vec::new(), [0; 4_096], Vec::new());
    let mut receiver: Option<Receiver> = None;
    let mut counts = Counts::default();
    loop {
        let length = stream.read(&mut piece).expect("the peer goes on");
        if length == 0 {
            return counts;
        }
        buffer.extend_from_slice(&piece[..length]);
        if receiver.is_none() {
            let Handshake::Complete { head_bytes, decision } = read_request(&buffer) else { continue };
            assert!(matches!(decision, Decision::Upgrade(_)));
            decision.write_response(&mut out);
            buffer.drain(..head_bytes);
            receiver = Some(Receiver::new(Role::Server, LIMIT));
        }
        let receiver = receiver.as_mut().expect("the connection is upgraded");
        let is_over = hear(receiver, &mut buffer, &mut out, &mut counts);
        stream.write_all(&out).expect("the peer reads");
        out.clear();
        if is_over {
            return counts;
        }
    }
}

/// Takes what is whole; `true` when the connection is over.
fn hear(receiver: &mut Receiver, buffer: &mut Vec<u8>, out: &mut Vec<u8>, counts: &mut Counts) -> bool {
    let mut used = 0;
    loop {
        let step = match receiver.next(&mut buffer[used..]) {
            Ok(step) => step,
            Err(violation) => {
                write_close(violation.close_code(), &violation.to_string(), out);
                return true;
            }
        };
        used += step.consumed;
        match step.item {
            Item::Incomplete { .. } => break,
            Item::Progress | Item::Pong(_) => {}
            Item::Message(message) => {
                counts.messages += 1;
                binary(out, |out| out.extend_from_slice(message));
            }
            Item::Ping(payload) => {
                counts.pings += 1;
                write_pong(payload, out);
            }
            Item::TooLarge => {
                counts.too_large += 1;
                write_binary(b"too large", out);
            }
            Item::Close { code } => {
                assert_eq!(code, Some(1000));
                write_close(CloseCode::Normal, "", out);
                return true;
            }
        }
    }
    buffer.drain(..used);
    false
}

#[test]
fn another_implementations_client_is_answered_as_it_expects() {
    let Some(python) = python() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/websocket_peer.py");
    let mut child = Command::new(python)
        .arg(script)
        .args([port.to_string(), LIMIT.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("Python runs");
    let first = echo(accept(&listener, &mut child));
    let second = echo(accept(&listener, &mut child));
    let output = child.wait_with_output().expect("the peer ends");
    assert!(output.status.success(), "the peer was not answered as it expects");
    assert_eq!(output.stdout, b"ok\n");
    assert_eq!(first, Counts { messages: 8 + 1 + 1, too_large: 2, pings: 1 });
    assert_eq!(second, Counts::default());
}
