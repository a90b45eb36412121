//! The snapshot.

use cottar::serf::snapshot::{Remark, Snapshot};

use super::input;
use crate::supply::peak_bytes;

/// The input is a byte for whether a leave is ignored, then a file.
pub fn check(input: &[u8]) {
    let Some((&rejoin, file)) = input.split_first() else {
        return;
    };
    let rejoin = rejoin & 1 == 1;
    let (peak, (snapshot, remarks)) = peak_bytes(|| Snapshot::decode(file, rejoin));
    let budget = 8192 + 200 * file.len();
    assert!(peak < budget, "{peak} of {budget} bytes held");
    for remark in &remarks {
        assert!(!remark.to_string().contains('\n'), "{remark}");
    }
    // A compacted file gives the same state, without remarks.
    let (mut compacted, mut followed) = (Vec::new(), Snapshot::default());
    for line in snapshot.lines() {
        line.encode(&mut compacted);
        followed.follow(&line);
    }
    assert_eq!(Snapshot::decode(&compacted, rejoin), (snapshot, Vec::new()));
    let (read, _) = Snapshot::decode(&compacted, rejoin);
    assert_eq!(read, followed);
    torn(file, &remarks, rejoin);
}

/// A torn line at the end must not count.
fn torn(file: &[u8], remarks: &[Remark], rejoin: bool) {
    if let Some((Remark::TornTail(bytes), others)) = remarks.split_last() {
        let whole = &file[..file.len() - bytes];
        let (_, remarks) = Snapshot::decode(whole, rejoin);
        assert_eq!(remarks, others);
    }
}

/// Returns files as the reference and cottar write them.
pub fn corpus() -> Vec<Vec<u8>> {
    let reference = "alive: n1 127.0.0.1:7946\nclock: 5\nevent-clock: 3\nquery-clock: 2\n\
         coordinate: {\"Vec\":[0,0],\"Error\":1.5}\nalive: a b [::1]:7946\nnot-alive: n1\nleave\n";
    let ours = "alive: n2 10.0.0.2:7946\nclock: 17\nevent-clock: 9\nquery-clock: 1\n\
         # cottar-failed n3 10.0.0.3:7946\n# cottar-member 3\n# cottar-seen 7 00000000deadbeef\n\
         # cottar-seen 9 0123456789abcdef\n";
    let odd = "alive: \nclock: x\r\n#\nnonsense\nnot-alive: n2\nalive: n4 10.0.0.4:79";
    [reference, ours, odd]
        .iter()
        .flat_map(|file| [input(0, file.as_bytes()), input(1, file.as_bytes())])
        .collect()
}
