//! RFC 6455's own examples, each rule broken once, and messages cut everywhere.

use proptest::prelude::*;

use super::{
    CloseCode, Decision, HEAD_BYTES_MAX, Handshake, Item, Opcode, Receiver, Response, Role, UpgradeRequest,
    Violation, binary, read_request, read_response, write_binary, write_close, write_masked, write_ping,
    write_pong,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: center\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-TXID: 7f\r\n\
    X-Network-Interface: wifi\r\nVersion: 2026.8\r\nUser-Agent: car/1\r\n\r\n";

/// What a receiver says of a buffer, owned.
#[derive(Debug, PartialEq, Clone)]
enum Seen {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    TooLarge,
}

/// Feeds bytes in pieces, as a socket would give them, and collects what comes out.
fn receive(receiver: &mut Receiver, bytes: &[u8], piece: usize) -> Result<Vec<Seen>, Violation> {
    let (mut seen, mut buffer) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            let present = buffer.len();
            let step = receiver.next(&mut buffer)?;
            let consumed = step.consumed;
            match step.item {
                Item::Incomplete { needed_bytes } => {
                    assert_eq!(consumed, 0);
                    assert!(needed_bytes > present, "an incomplete frame needs more than is there");
                    break;
                }
                Item::Progress => assert!(consumed > 0),
                Item::Message(bytes) => seen.push(Seen::Message(bytes.to_vec())),
                Item::Ping(bytes) => seen.push(Seen::Ping(bytes.to_vec())),
                Item::Pong(bytes) => seen.push(Seen::Pong(bytes.to_vec())),
                Item::Close { code } => seen.push(Seen::Close(code)),
                Item::TooLarge => seen.push(Seen::TooLarge),
            }
            buffer.drain(..consumed);
        }
    }
    Ok(seen)
}

/// A frame with any header bits, masked when `key` is there.
fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    match key {
        Some(key) => write_masked(Opcode::Binary, payload, key, &mut out),
        None => write_binary(payload, &mut out),
    }
    out[0] = first;
    out
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Some([0x37, 0xfa, 0x21, 0x3d]))
}

fn server(bytes: &[u8]) -> Result<Vec<Seen>, Violation> {
    let whole = receive(&mut Receiver::new(Role::Server, 1_000), bytes, bytes.len());
    let single = receive(&mut Receiver::new(Role::Server, 1_000), bytes, 1);
    assert_eq!(whole, single, "how the bytes come makes no difference");
    whole
}

#[test]
fn the_standards_example_of_a_handshake_is_answered_as_it_says() {
    let Handshake::Complete { head_bytes, decision } = read_request(REQUEST.as_bytes()) else {
        panic!("the request is whole")
    };
    assert_eq!(head_bytes, REQUEST.len());
    let mut response = Vec::new();
    decision.write_response(&mut response);
    let response = String::from_utf8(response).expect("ASCII");
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\n"));
    let Decision::Upgrade(upgrade) = decision else { panic!("an upgrade") };
    let said = [&upgrade.transaction, &upgrade.network_interface, &upgrade.version, &upgrade.user_agent];
    assert_eq!(said.map(|text| text.as_deref()), [Some("7f"), Some("wifi"), Some("2026.8"), Some("car/1")]);
    let nonce = *b"the sample nonce";
    assert_eq!(
        read_response(response.as_bytes(), nonce),
        Response::Upgraded { head_bytes: response.len() },
        "the client takes the server's answer"
    );
    assert_eq!(
        read_response(response.as_bytes(), [0; 16]),
        Response::Refused { status: 0 },
        "another's answer"
    );
    for end in 0..response.len() {
        assert_eq!(read_response(&response.as_bytes()[..end], nonce), Response::Incomplete);
    }
}

#[test]
fn every_prefix_of_a_request_is_incomplete() {
    for end in 0..REQUEST.len() {
        assert_eq!(read_request(&REQUEST.as_bytes()[..end]), Handshake::Incomplete, "{end}");
    }
}

#[test]
fn the_clients_request_is_taken() {
    let mut head = Vec::new();
    let headers = [("X-TXID", "1")];
    UpgradeRequest { host: "center:443", path: "/", key: [7; 16], headers: &headers }.write(&mut head);
    head.extend_from_slice(b"frames");
    let Handshake::Complete { head_bytes, decision: Decision::Upgrade(upgrade) } = read_request(&head) else {
        panic!("an upgrade")
    };
    assert_eq!(&head[head_bytes..], b"frames");
    assert_eq!(upgrade.transaction.as_deref(), Some("1"));
}

fn status_of(request: &str) -> u16 {
    match read_request(request.as_bytes()) {
        Handshake::Complete { decision: Decision::Refuse { status, .. }, .. } => status,
        Handshake::Complete { decision: Decision::Status, .. } => 200,
        Handshake::Complete { decision: Decision::Upgrade(_), .. } => 101,
        Handshake::Incomplete => 0,
    }
}

#[test]
fn requests_that_are_no_upgrade_get_the_right_status() {
    assert_eq!(status_of("GET /status HTTP/1.1\r\nHost: c\r\n\r\n"), 200);
    assert_eq!(status_of("GET /status?x HTTP/1.1\r\n\r\n"), 200);
    assert_eq!(status_of("GET /other HTTP/1.1\r\n\r\n"), 426);
    assert_eq!(status_of("GET /status HTTP/1.0\r\n\r\n"), 505);
    assert_eq!(status_of("POST /status HTTP/1.1\r\n\r\n"), 405);
    assert_eq!(status_of("GET / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"), 400);
    assert_eq!(status_of("\u{16}\u{3}\u{1}\u{0}"), 400);
    assert_eq!(status_of(&REQUEST.replace("Version: 13", "Version: 8")), 426);
    assert_eq!(status_of(&REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl")), 400);
    assert_eq!(status_of(&REQUEST.replace("X-TXID", "Sec-WebSocket-Key")), 400);
    assert_eq!(status_of(&REQUEST.replace("Upgrade: websocket", "Upgrade: h2c")), 426);
    assert_eq!(status_of(REQUEST), 101);
}

#[test]
fn a_head_is_bounded_in_size_and_headers_and_values() {
    let large = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(HEAD_BYTES_MAX));
    assert_eq!(status_of(&large), 431);
    assert_eq!(status_of(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65))), 431);
    let long = REQUEST.replace("car/1", &format!("car\t{}", "x".repeat(500)));
    let Handshake::Complete { decision: Decision::Upgrade(upgrade), .. } = read_request(long.as_bytes())
    else {
        panic!("an upgrade")
    };
    let agent = upgrade.user_agent.expect("it is there");
    assert_eq!(agent.len(), 64);
    assert!(agent.starts_with("car?x"), "what isn't printable is replaced");
}

#[test]
fn status_answers_its_text_and_closes() {
    let mut response = Vec::new();
    Decision::Status.write_response(&mut response);
    let response = String::from_utf8(response).expect("ASCII");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(response.contains("Content-Length: 7\r\n") && response.contains("Connection: close\r\n"));
    assert!(response.ends_with("\r\n\r\nmtls ok"));
}

#[test]
fn the_standards_masked_example_is_unmasked() {
    // Section 5.7: a single-frame masked message "Hello", here as binary.
    let bytes = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(server(&bytes), Ok(vec![Seen::Message(b"Hello".to_vec())]));
    assert_eq!(masked(0x82, b"Hello"), bytes);
}

#[test]
fn a_single_frame_is_borrowed_from_the_buffer() {
    let mut bytes = masked(0x82, b"Hello");
    let range = bytes.as_ptr_range();
    let mut receiver = Receiver::new(Role::Server, 100);
    let step = receiver.next(&mut bytes).expect("a message");
    let Item::Message(message) = step.item else { panic!("a message") };
    assert!(range.contains(&message.as_ptr()));
}

#[test]
fn parts_are_put_together_and_control_frames_stand_between_them() {
    let mut bytes = masked(0x02, b"Hel");
    bytes.extend(masked(0x89, b"are you there"));
    bytes.extend(masked(0x00, b""));
    bytes.extend(masked(0x8a, b""));
    bytes.extend(masked(0x80, b"lo"));
    bytes.extend(masked(0x82, b"next"));
    let expected = [
        Seen::Ping(b"are you there".to_vec()),
        Seen::Pong(Vec::new()),
        Seen::Message(b"Hello".to_vec()),
        Seen::Message(b"next".to_vec()),
    ];
    assert_eq!(server(&bytes), Ok(expected.to_vec()));
}

#[test]
fn what_is_too_large_is_skipped_and_the_connection_goes_on() {
    let mut bytes = masked(0x82, &[1; 1_001]);
    bytes.extend(masked(0x82, &[2; 1_000]));
    bytes.extend(masked(0x02, &[3; 600]));
    bytes.extend(masked(0x00, &[4; 600]));
    bytes.extend(masked(0x89, b"p"));
    bytes.extend(masked(0x00, b""));
    bytes.extend(masked(0x80, &[5; 1]));
    bytes.extend(masked(0x82, b"after"));
    let expected = [
        Seen::TooLarge,
        Seen::Message(vec![2; 1_000]),
        Seen::Ping(b"p".to_vec()),
        Seen::TooLarge,
        Seen::Message(b"after".to_vec()),
    ];
    assert_eq!(server(&bytes), Ok(expected.to_vec()));
}

#[test]
fn a_lying_length_takes_no_memory() {
    let mut bytes = vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    bytes.extend([0; 5_000]);
    let mut receiver = Receiver::new(Role::Server, 1_000);
    assert_eq!(receive(&mut receiver, &bytes, 100), Ok(Vec::new()));
}

#[test]
fn each_broken_rule_closes_with_its_code() {
    let text = masked(0x81, b"text");
    let cases = [
        (text.clone(), Violation::Text, CloseCode::Unsupported),
        (frame(0x82, b"x", None), Violation::Mask, CloseCode::Protocol),
        (masked(0xc2, b"x"), Violation::Reserved, CloseCode::Protocol),
        (masked(0x83, b"x"), Violation::Reserved, CloseCode::Protocol),
        (masked(0x8b, b"x"), Violation::Reserved, CloseCode::Protocol),
        (masked(0x09, b"x"), Violation::Control, CloseCode::Protocol),
        (masked(0x89, &[0; 126]), Violation::Control, CloseCode::Protocol),
        (masked(0x80, b"x"), Violation::Fragment, CloseCode::Protocol),
        ([masked(0x02, b"x"), masked(0x82, b"y")].concat(), Violation::Fragment, CloseCode::Protocol),
        (vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0], Violation::Length, CloseCode::Protocol),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], Violation::Length, CloseCode::Protocol),
        (vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Violation::Length, CloseCode::Protocol),
        (masked(0x88, b"x"), Violation::Close, CloseCode::Protocol),
        (masked(0x88, &1005_u16.to_be_bytes()), Violation::Close, CloseCode::Protocol),
        (masked(0x88, &[0x03, 0xe8, 0xff]), Violation::CloseReason, CloseCode::InvalidData),
        (
            [masked(0x02, b""), masked(0x00, b"").repeat(5_000)].concat(),
            Violation::TooManyFragments,
            CloseCode::Policy,
        ),
    ];
    for (bytes, violation, code) in cases {
        assert_eq!(server(&bytes), Err(violation));
        assert_eq!(violation.close_code(), code);
    }
    assert_eq!(receive(&mut Receiver::new(Role::Client, 100), &text, 99), Err(Violation::Mask));
}

#[test]
fn a_close_frame_carries_its_code_and_a_reason_that_fits() {
    let mut out = Vec::new();
    write_close(CloseCode::Policy, &"é".repeat(100), &mut out);
    assert_eq!(out.len(), 2 + 2 + 122, "cut at a character's boundary");
    let mut client = Receiver::new(Role::Client, 100);
    assert_eq!(receive(&mut client, &out, 7), Ok(vec![Seen::Close(Some(1008))]));
    assert_eq!(server(&masked(0x88, b"")), Ok(vec![Seen::Close(None)]));
}

#[test]
fn pings_and_pongs_reach_the_other_side() {
    let mut out = Vec::new();
    write_ping(b"a", &mut out);
    write_pong(&[9; 125], &mut out);
    let mut client = Receiver::new(Role::Client, 100);
    let expected = vec![Seen::Ping(b"a".to_vec()), Seen::Pong(vec![9; 125])];
    assert_eq!(receive(&mut client, &out, 1), Ok(expected));
}

proptest! {
    #[test]
    fn what_one_side_writes_the_other_reads(
        length in prop_oneof![0_usize..300, 65_500_usize..65_600],
        key: [u8; 4],
        piece in 1_usize..4_000,
        parts in 1_usize..6,
    ) {
        let payload: Vec<u8> = (0..length).map(|index| (index * 31) as u8).collect();
        let mut from_server = Vec::new();
        binary(&mut from_server, |out| out.extend_from_slice(&payload));
        let mut plain = Vec::new();
        write_binary(&payload, &mut plain);
        prop_assert_eq!(&from_server, &plain);
        let mut client = Receiver::new(Role::Client, 100_000);
        prop_assert_eq!(receive(&mut client, &from_server, piece), Ok(vec![Seen::Message(payload.clone())]));

        let chunks: Vec<&[u8]> = payload.chunks(length.div_ceil(parts).max(1)).collect();
        let mut from_client = Vec::new();
        if chunks.is_empty() {
            from_client = frame(0x82, b"", Some(key));
        }
        for (index, chunk) in chunks.iter().enumerate() {
            let last = if index + 1 == chunks.len() { 0x80 } else { 0 };
            from_client.extend(frame(last | if index == 0 { 2 } else { 0 }, chunk, Some(key)));
        }
        let mut server = Receiver::new(Role::Server, 100_000);
        prop_assert_eq!(receive(&mut server, &from_client, piece), Ok(vec![Seen::Message(payload)]));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_however_they_come(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        piece in 1_usize..50,
    ) {
        let whole = receive(&mut Receiver::new(Role::Server, 64), &bytes, bytes.len());
        let pieces = receive(&mut Receiver::new(Role::Server, 64), &bytes, piece);
        prop_assert_eq!(whole, pieces);
        let _ = read_request(&bytes);
        let _ = read_response(&bytes, [0; 16]);
    }
}
