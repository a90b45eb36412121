//! Key commands and the answers to key queries.

use super::by_hand::query_by_hand;
use super::harness::{Net, config};
use crate::serf::events::Source;
use crate::serf::*;
use crate::time::Duration;
use crate::wire::Key;
use crate::wire::serf::{KeyRequest, QueryMessage};

const SECOND: Duration = Duration::from_secs(1);
/// Default query timeout in a cluster of fewer than ten nodes.
const QUERY_TIMEOUT: Duration = Duration::from_millis(3200);

fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).unwrap()
}

fn raw(byte: u8) -> RawKey {
    RawKey(vec![byte; 16])
}

fn encrypted(count: u16, keys: &[Key], keyring_file: bool) -> Net {
    let mut net = Net::new(0);
    for n in 1..=count {
        let mut config = config(n);
        config.keyring_file = keyring_file;
        net.add_with(config, keys);
        if n > 1 {
            net.join(n, 1);
        }
    }
    net.run_until("all know all", SECOND * 10, |net| {
        (1..=count).all(|n| net.alive_in(n) == usize::from(count))
    });
    net
}

fn run(net: &mut Net, command: Command) -> (KeyReport, Duration) {
    match net.command_to_end(1, command) {
        (CommandResult::Keys(report), time) => (*report, time),
        (other, _) => panic!("{other:?}"),
    }
}

fn ring(net: &mut Net, n: u16) -> Vec<Key> {
    let swim = &mut net.host(n).serf.swim;
    let ring = swim.envelope_mut().keyring.as_ref();
    ring.map_or_else(Vec::new, |ring| ring.keys().to_vec())
}

fn message<'r>(report: &'r KeyReport, node: &str) -> &'r str {
    let name = NodeName::new(node.as_bytes()).unwrap();
    std::str::from_utf8(report.messages.get(&name).unwrap()).unwrap()
}

#[test]
fn a_key_is_rotated_through_the_cluster() {
    let mut net = encrypted(3, &[key(1)], false);
    let steps: [(Command, &[Key]); 3] = [
        (Command::InstallKey(raw(2)), &[key(1), key(2)]),
        (Command::UseKey(raw(2)), &[key(2), key(1)]),
        (Command::RemoveKey(raw(1)), &[key(2)]),
    ];
    for (command, expected) in steps {
        let (report, time) = run(&mut net, command);
        assert_eq!(report.error, None, "{:?}", report.messages);
        assert_eq!(
            (report.num_nodes, report.num_resp, report.num_err),
            (3, 3, 0)
        );
        assert!(report.messages.is_empty() && report.keys.is_empty());
        assert!(time < SECOND, "it waits for no deadline");
        for n in 1..=3 {
            assert_eq!(ring(&mut net, n), expected);
            assert!(net.host(n).keyrings.is_empty(), "no file is kept");
        }
    }
    let (report, time) = run(&mut net, Command::ListKeys);
    assert!(report.error.is_none() && time < SECOND);
    let listed: Vec<_> = report.keys.values().copied().collect();
    assert_eq!(listed, [3]);
    assert_eq!(report.keys, report.primary_keys);
    assert_eq!(
        report.keys.keys().next().unwrap(),
        b"AgICAgICAgICAgICAgICAg=="
    );
    net.run_for(SECOND * 30);
    assert_eq!(net.alive_in(1), 3);
}

#[test]
fn each_refusal_has_the_reference_s_words() {
    let mut net = encrypted(1, &[key(1)], true);
    for (command, expected) in [
        (
            Command::InstallKey(RawKey(vec![1; 15])),
            "key size must be 16, 24 or 32 bytes",
        ),
        (
            Command::InstallKey(RawKey(Vec::new())),
            "key size must be 16, 24 or 32 bytes",
        ),
        (
            Command::UseKey(raw(9)),
            "Requested key is not in the keyring",
        ),
        (
            Command::RemoveKey(raw(1)),
            "Removing the primary key is not allowed",
        ),
    ] {
        let (report, _) = run(&mut net, command);
        assert_eq!(report.error.as_deref(), Some("1/1 nodes reported failure"));
        assert_eq!(message(&report, "n1"), expected);
        assert_eq!((report.num_resp, report.num_err), (1, 1));
    }
    assert!(net.host(1).keyrings.is_empty(), "nothing has changed");
    let mut plain = Net::new(1);
    for (command, expected) in [
        (
            Command::InstallKey(raw(1)),
            "No keyring to modify (encryption not enabled)",
        ),
        (
            Command::UseKey(raw(1)),
            "No keyring to modify (encryption not enabled)",
        ),
        (
            Command::RemoveKey(raw(1)),
            "No keyring to modify (encryption not enabled)",
        ),
        (
            Command::ListKeys,
            "Keyring is empty (encryption not enabled)",
        ),
    ] {
        let (report, _) = run(&mut plain, command);
        assert_eq!(report.error.as_deref(), Some("1/1 nodes reported failure"));
        assert_eq!(message(&report, "n1"), expected);
    }
}

#[test]
fn old_protocols_have_no_key_queries() {
    let mut net = Net::new(0);
    let mut old = config(1);
    old.protocol = 3;
    net.add(old);
    let (report, _) = run(&mut net, Command::ListKeys);
    let expected = KeyReport {
        error: Some("Feature not supported".to_owned()),
        ..KeyReport::default()
    };
    assert_eq!(report, expected);
}

#[test]
fn a_silent_node_is_waited_for_until_the_default_timeout() {
    let mut net = encrypted(3, &[key(1)], false);
    net.host(3).cut = true;
    let (report, time) = run(&mut net, Command::InstallKey(raw(2)));
    assert_eq!(report.error.as_deref(), Some("2/3 nodes reported success"));
    assert_eq!((report.num_resp, report.num_err), (2, 0));
    assert_eq!(time, QUERY_TIMEOUT);
}

#[test]
fn a_ring_of_forty_keys_is_listed_as_captured() {
    let keys: Vec<Key> = (0..40).map(|n| Key::new(&[n; 32]).unwrap()).collect();
    let mut net = Net::new(0);
    let mut alpha = config(1);
    alpha.name = NodeName::new(b"alpha").unwrap();
    net.add_with(alpha, &keys);
    let (report, _) = run(&mut net, Command::ListKeys);
    assert_eq!(report.error, None);
    assert_eq!(
        (report.num_resp, report.num_err, report.keys.len()),
        (1, 0, 17)
    );
    let remark = "truncated key list response, showing first 17 of 40 keys";
    assert_eq!(message(&report, "alpha"), remark);
    // The captured query had a one-byte time and id.
    let query = QueryMessage {
        ltime: LamportTime(54),
        id: 5,
        ..key_query("_serf_list-keys", KeyRequest { key: None }.encode())
    };
    let before = net.host(1).sent.len();
    ask_by_hand(&mut net, query);
    let sealed = net.host(1).sent.len() - before;
    // Version, nonce and tag of the encryption, and the type byte of user messages.
    assert_eq!(sealed - 1 - 12 - 16 - 1, 984);
}

/// Passes a query to the node as if it had been received and decrypted.
fn ask_by_hand(net: &mut Net, query: QueryMessage) {
    let now = net.now;
    net.host(1)
        .serf
        .handle_query(query, Source::Gossip(None), now);
    net.input(1, Input::Timeout);
}

/// Makes a key query from an address without a node.
fn key_query(name: &str, payload: Vec<u8>) -> QueryMessage {
    QueryMessage {
        timeout_nanos: 3_200_000_000,
        payload: Some(payload),
        ..query_by_hand(name, 7)
    }
}

#[test]
fn what_is_no_request_is_answered_and_changes_nothing() {
    let mut net = encrypted(1, &[key(1)], true);
    let good = KeyRequest {
        key: Some(vec![2; 16]),
    }
    .encode();
    let mut id = 0;
    for name in [
        "install-key",
        "use-key",
        "remove-key",
        "list-keys",
        "bogus-key",
    ] {
        for payload in [
            None,
            Some(&b""[..]),
            Some(b"\x07"),
            Some(b"\x08\x80"),
            Some(&good[1..]),
        ] {
            id += 1;
            let query = QueryMessage {
                id,
                payload: payload.map(Into::into),
                ..key_query(&format!("_serf_{name}"), Vec::new())
            };
            let before = net.host(1).sent.len();
            ask_by_hand(&mut net, query);
            let answered = net.host(1).sent.len() > before;
            assert_eq!(answered, name != "bogus-key", "{name} {payload:?}");
            assert_eq!(ring(&mut net, 1), [key(1)]);
        }
    }
}

#[test]
fn the_answer_waits_for_the_keyring_file() {
    let mut net = encrypted(2, &[key(1)], true);
    let id = net.command(1, Command::InstallKey(raw(2)));
    net.run_for(SECOND);
    assert!(!net.host(1).results.contains_key(&id));
    for (n, result) in [(1, Ok(())), (2, Err("disk full".to_owned()))] {
        let keyrings = std::mem::take(&mut net.host(n).keyrings);
        let (change, keys) = keyrings.first().cloned().unwrap();
        assert_eq!((keyrings.len(), &keys[..]), (1, &[key(1), key(2)][..]));
        net.input(
            n,
            Input::KeyringWritten {
                change,
                result: result.clone(),
            },
        );
        // Reported twice, but answered once.
        net.input(n, Input::KeyringWritten { change, result });
        net.run_for(Duration::from_millis(10));
    }
    let Some(CommandResult::Keys(report)) = net.host(1).results.remove(&id) else {
        panic!("not ended");
    };
    assert_eq!(report.error.as_deref(), Some("1/2 nodes reported failure"));
    assert_eq!(
        message(&report, "n2"),
        "Failed to write keyring file: disk full"
    );
    // The ring in memory is changed in any case.
    assert_eq!(ring(&mut net, 2), [key(1), key(2)]);
    assert_eq!(net.serf(1).counters().duplicate_responses, 0);
}

#[test]
fn an_answer_that_comes_too_late_is_not_sent() {
    let mut net = encrypted(1, &[key(1)], true);
    let (report, time) = run(&mut net, Command::InstallKey(raw(2)));
    assert_eq!(report.error.as_deref(), Some("0/1 nodes reported success"));
    assert_eq!(time, QUERY_TIMEOUT);
    net.run_for(SECOND);
    let (change, _) = net.host(1).keyrings.remove(0);
    net.input(
        1,
        Input::KeyringWritten {
            change,
            result: Ok(()),
        },
    );
    assert_eq!(net.serf(1).counters().late_responses, 0);
}

#[test]
fn a_ring_does_not_grow_without_end() {
    let mut net = encrypted(1, &[key(1)], false);
    for n in 0..400_u16 {
        let mut bytes = [3; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        let (report, _) = run(&mut net, Command::InstallKey(RawKey(bytes.to_vec())));
        assert_eq!(report.error.is_none(), n < 255, "{n}");
    }
    assert_eq!(ring(&mut net, 1).len(), 256);
    // A key that is already present may be installed again.
    let (report, _) = run(&mut net, Command::InstallKey(raw(1)));
    assert_eq!(report.error, None);
}
