//! Replays recordings of the reference's command line with its agent: our program must send the same requests
//! to the recorded agent and print the same output.

use std::net::SocketAddr;
use std::sync::mpsc;

use crate::mock::{Connection, header, listen};
use crate::rpc_vectors;
use crate::run::{cottar, finish};

/// Timeout for a frame of the client, which may have ended, to reach the simulated agent.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

struct Recording {
    line: String,
    status: i32,
    stdout: String,
    frames: Vec<(bool, Vec<u8>)>,
}

fn recordings(version: &str) -> Vec<Recording> {
    rpc_vectors::recorded(version, 16)
        .iter()
        .map(|recording| Recording {
            line: recording["argv"].as_str().unwrap().to_owned(),
            status: recording["exit"].as_i64().unwrap() as i32,
            stdout: recording["stdout"].as_str().unwrap().to_owned(),
            frames: rpc_vectors::frames(recording),
        })
        .collect()
}

/// Simulates the recorded agent and returns what the client sent, split as in the recording.
///
/// `refuses`: first, a command of cottar connects and is refused by closing the connection, as the reference
/// does.
fn player(frames: Vec<(bool, Vec<u8>)>, refuses: bool) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let (said, heard) = mpsc::channel();
    let refuses = std::sync::atomic::AtomicBool::new(refuses);
    let address = listen(move |mut client| {
        if refuses.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return refuse(&frames, &mut client);
        }
        for (from_client, bytes) in &frames {
            if *from_client {
                let mut got = vec![0; bytes.len()];
                if std::io::Read::read_exact(&mut client.stream, &mut got).is_err() {
                    return;
                }
                said.send(got).unwrap();
            } else {
                client.send(bytes);
            }
        }
    });
    (address, heard)
}

/// Plays the recording up to the client's last request, which gets an error as an unknown request.
fn refuse(frames: &[(bool, Vec<u8>)], client: &mut Connection) {
    let last = frames.iter().rposition(|(from_client, _)| *from_client);
    let mut answers = 0;
    for (from_client, bytes) in &frames[..last.unwrap()] {
        if *from_client {
            let mut got = vec![0; bytes.len()];
            std::io::Read::read_exact(&mut client.stream, &mut got).unwrap();
        } else {
            client.send(bytes);
            answers += 1;
        }
    }
    let own = client.value().unwrap();
    assert!(own.windows(12).any(|window| window == b"cottar-event"));
    let seq = header(answers + 1).pop().unwrap();
    let why = b"\x82\xa5Error\xb3Unsupported command\xa3Seq".as_slice();
    client.send(&[why, &[seq]].concat());
}

/// Without tags to filter by, one command of the reference sends nil, another an empty map.
fn settled(said: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let nil = b"\xaaFilterTags\xc0";
    let settle = |mut bytes: Vec<u8>| {
        if let Some(at) = bytes.windows(nil.len()).position(|window| window == nil) {
            bytes[at + nil.len() - 1] = 0x80;
        }
        bytes
    };
    said.into_iter().map(settle).collect()
}

fn replay(version: &str) {
    let mut played = 0;
    for recording in recordings(version) {
        let words: Vec<_> = recording.line.split(' ').collect();
        let client_said: Vec<_> = recording
            .frames
            .iter()
            .filter(|(client, _)| *client)
            .map(|(_, bytes)| bytes.clone())
            .collect();
        let (address, heard) = player(recording.frames, words[0] == "event");
        let child = cottar(&words)
            .env("SERF_RPC_ADDR", address.to_string())
            .env("SERF_RPC_AUTH", "s3")
            .spawn()
            .unwrap();
        let got = finish(child);
        // The newer client encodes some integers wider than necessary; values with more than one map are not
        // sorted.
        if version == "cli_0_9_4" {
            // The client may not wait for an answer to the last frame.
            let frames = client_said.iter();
            let said = frames.map_while(|_| heard.recv_timeout(PATIENCE).ok());
            let said = settled(said.collect());
            let client_said = settled(client_said);
            assert_eq!(said, client_said, "{}", recording.line);
        }
        assert_eq!(got.text(), recording.stdout, "{}", recording.line);
        assert_eq!(got.status, Some(recording.status), "{}", recording.line);
        assert_eq!(got.stderr, "", "{}", recording.line);
        played += 1;
    }
    assert_eq!(played, 16);
}

#[test]
fn recorded_with_the_deployed_version() {
    replay("cli_0_9_4");
}

#[test]
fn recorded_with_the_newer_version() {
    replay("cli_0_10_2_dev");
}
