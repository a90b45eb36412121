//! RPC, as the agent reads requests and clients read replies.

use cottar::rpc::cluster::{KeyReply, decode_coordinate};
use cottar::rpc::handlers::{decode_handlers, write_handlers};
use cottar::rpc::queue::*;
use cottar::rpc::record::{EventRecord, decode_line};
use cottar::rpc::reply::*;
use cottar::rpc::request::Body;
use cottar::rpc::runs::{decode_runs, write_runs};
use cottar::rpc::{Header, REQUEST_BYTES_MAX, Request};
use cottar::wire::msgpack::{Boundary, Dialect, Writer};

use super::{FIXED_BYTES, input};
use crate::supply::peak_bytes;
use crate::supply::rpc_vectors::{frames, recorded};

/// The input is a byte for the reading side, then the bytes from the other side.
pub fn check(input: &[u8]) {
    let Some((&side, bytes)) = input.split_first() else {
        return;
    };
    let (peak, ()) = peak_bytes(|| match side & 1 {
        0 => requests(bytes),
        _ => replies(bytes),
    });
    let budget = FIXED_BYTES + 200 * bytes.len();
    assert!(peak < budget, "{peak} of {budget} bytes held");
}

/// Returns the next value, if it is complete.
fn value<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = Boundary::default().find(rest, REQUEST_BYTES_MAX).ok()??;
    let (value, after) = rest.split_at(size);
    *rest = after;
    Some(value)
}

/// Returns the next request. The inner `None`: the request is refused or unknown.
fn request(rest: &mut &[u8]) -> Option<Option<(u64, Request)>> {
    let header = Header::decode(value(rest)?).ok()?;
    let body = match header.body() {
        Body::Absent => &[],
        Body::Present => value(rest)?,
        Body::Unknown => return None,
    };
    let request = Request::decode(&header.command, body).ok().flatten();
    Some(request.map(|request| (header.seq, request)))
}

fn requests(mut bytes: &[u8]) {
    while let Some(found) = request(&mut bytes) {
        let Some((seq, found)) = found else { continue };
        let encoded = found.encode(seq);
        let mut rest = &encoded[..];
        assert_eq!(request(&mut rest), Some(Some((seq, found))));
        assert!(rest.is_empty());
    }
}

fn replies(mut bytes: &[u8]) {
    while let Some(value) = value(&mut bytes) {
        reply(value);
    }
}

fn reply(value: &[u8]) {
    let _ = ReplyHeader::decode(value);
    let _ = (Record::decode(value), EventRecord::decode(value));
    let _ = (decode_members(value), decode_joined(value));
    let _ = (KeyReply::decode(value), decode_coordinate(value));
    let _ = decode_line(value);
    macro_rules! comes_back {
        ($decode:ident $pattern:pat => $write:expr) => {
            if let Ok(decoded) = $decode(value) {
                let mut writer = Writer::new(Dialect::Rpc);
                let $pattern = &decoded;
                $write(&mut writer);
                assert_eq!($decode(&writer.into_bytes()), Ok(decoded));
            }
        };
    }
    comes_back!(decode_stats stats => |w: &mut _| write_stats(w, stats));
    comes_back!(decode_queue (entries, more) => |w: &mut _| write_queue(w, entries, *more));
    comes_back!(decode_dropped count => |w: &mut _| write_dropped(w, *count));
    comes_back!(decode_fired fired => |w: &mut _| write_fired(w, fired));
    comes_back!(decode_runs runs => |w: &mut _| write_runs(w, runs));
    comes_back!(decode_handlers handlers => |w: &mut _| write_handlers(w, handlers));
}

/// Returns recorded exchanges between clients and agents.
pub fn corpus() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (client, count) in [("driver_0_9_4", 37), ("cli_0_9_4", 16)] {
        for conversation in recorded(client, count) {
            for (is_client, bytes) in frames(&conversation) {
                inputs.push(input(u8::from(!is_client), &bytes));
            }
        }
    }
    inputs.extend(own_requests());
    let entry = QueueEntry {
        event: b"user".to_vec(),
        members: vec![b"n1".to_vec()],
        ..QueueEntry::default()
    };
    let mut writer = Writer::new(Dialect::Rpc);
    write_queue(&mut writer, &[entry], 3);
    write_dropped(&mut writer, 2);
    write_fired(&mut writer, &Fired::default());
    write_runs(&mut writer, &[Default::default()]);
    write_handlers(&mut writer, &[Default::default()]);
    inputs.push(input(1, &writer.into_bytes()));
    inputs
}

/// Returns the requests that the reference does not know.
fn own_requests() -> Vec<Vec<u8>> {
    let words = [
        ("cottar-event", "Name"),
        ("cottar-stream", "Type"),
        ("cottar-handler-drop", "Target"),
        ("cottar-handler-pause", "Name"),
        ("cottar-handler-resume", "Name"),
        ("cottar-handler-run", "Name"),
        ("cottar-handler-sync", "Name"),
    ];
    let request = |(command, key): (&str, &str)| {
        let mut writer = Writer::new(Dialect::Rpc);
        writer.map(2).key("Command").text(command);
        writer.key("Seq").uint(9);
        let words = u8::from(command == "cottar-handler-run");
        writer.map(1 + 2 * usize::from(words)).key(key).text("x");
        if words == 1 {
            writer.key("Event").array(2).text("user").text("deploy");
            writer.key("LTime").uint(7);
        }
        input(0, &writer.into_bytes())
    };
    words.map(request).into()
}
