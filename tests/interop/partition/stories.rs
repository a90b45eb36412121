//! Six nodes, three on either side of a partition; after healing, all must have the same state.

use super::cluster::{Cluster, is_impossible};
use super::world::{Fate, World};
use crate::live::{Agent, Kind, Member, Recorder, await_members, eventually};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const HERE: [usize; 3] = [0, 1, 2];
const THERE: [usize; 3] = [3, 4, 5];
/// Names of the events fired during the partition, by the firing node. The sides fire different numbers of
/// events, so that their clocks cannot agree by chance.
const EVENTS: [(usize, &str); 4] = [(0, "here"), (3, "there"), (4, "there-too"), (5, "again")];
/// Until the failures of three nodes are detected, one after the other, with few nodes left to confirm them.
const DETECTION: f64 = 60.0;
/// Until an attempt to reconnect (gossip spec 5.14) reaches the other side and gossip spreads the result.
const HEALING: f64 = 60.0;
/// Until push/pulls have spread what only they spread: a few rounds of the slower profile.
const SPREADING: f64 = 150.0;
/// The longest suspicion timeout for six nodes: three probe intervals, six times over (gossip spec 4.7).
const DOUBT: Duration = Duration::from_secs(18 + 2);
/// Duration of the random packet loss.
const LOSSY: Duration = Duration::from_secs(15);

#[test]
fn a_cut_both_ways_heals() {
    play("cut both ways", |world| {
        for (near, far) in [(HERE, THERE), (THERE, HERE)] {
            for host in near {
                world.cut(host, &far, Fate::Dropped);
            }
        }
    });
}

#[test]
fn a_cut_one_way_heals() {
    play("cut one way", |world| {
        for host in HERE {
            world.cut(host, &THERE, Fate::Dropped);
        }
    });
}

#[test]
fn heavy_loss_leaves_no_trace() {
    play("heavy loss", |world| {
        for host in 0..6 {
            let others: Vec<usize> = (0..6).filter(|other| *other != host).collect();
            world.cut(host, &others, Fate::Lost(30));
        }
    });
}

/// How often each node's handler ran for each event.
type Seen = Vec<BTreeMap<String, usize>>;

/// Runs the scenario with a mixed cluster, and with the reference alone, to know what the protocol itself may
/// lose.
fn play(name: &str, cut: impl Fn(&World) + Sync) {
    if is_impossible(name) {
        return;
    }
    let [mixed, theirs] = std::thread::scope(|scope| {
        ["CSCSCS", "SSSSSS"]
            .map(|cast| {
                let cut = &cut;
                scope.spawn(move || story(name, cast, cut))
            })
            .map(|thread| thread.join())
    });
    let mixed = mixed.expect("the mixed cluster");
    let theirs = theirs.expect("the reference alone");
    assert_eq!(mixed, theirs, "{name}: events seen by each node");
}

fn story(name: &str, cast: &str, cut: &impl Fn(&World)) -> Seen {
    let started = Instant::now();
    let cluster = Cluster::start(name, cast);
    println!(
        "{name} {cast}: together {:.1?} after the start",
        started.elapsed()
    );
    let (nodes, world) = (&cluster.nodes, &cluster.world);

    let lossy = name.contains("loss");
    let began = Instant::now();
    cut(world);
    if !lossy {
        for (near, far) in [(HERE, THERE), (THERE, HERE)] {
            await_split(nodes, &near, &far);
        }
        println!("{name} {cast}: split {:.1?} after the cut", began.elapsed());
    }
    for (node, event) in EVENTS {
        nodes[node].event(event, "sent during the cut");
    }
    if lossy {
        // Here the passing of time is itself the condition.
        std::thread::sleep(LOSSY.saturating_sub(began.elapsed()));
    }
    world.heal();
    let healed = Instant::now();
    cluster.await_all_alive(HEALING);
    println!(
        "{name} {cast}: one list {:.1?} after healing",
        healed.elapsed()
    );
    await_equal_clocks(&cluster.all());
    println!(
        "{name} {cast}: one time {:.1?} after healing",
        healed.elapsed()
    );
    let seen = await_events(&cluster.recorders);
    println!(
        "{name} {cast}: all events {:.1?} after healing",
        healed.elapsed()
    );
    // A suspicion from the partition may still expire: a live node is then considered failed, and returns.
    // Once no such suspicion is left, all lists agree and stay so.
    std::thread::sleep(DOUBT.saturating_sub(healed.elapsed()));
    cluster.await_all_alive(HEALING);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_secs(1));
        cluster.await_all_alive(0.0);
    }
    seen
}

/// Waits until each node of one side lists its own side as alive and the other as failed.
fn await_split(nodes: &[Agent], near: &[usize], far: &[usize]) {
    let viewers: Vec<&Agent> = near.iter().map(|index| &nodes[*index]).collect();
    let of = |side: &[usize], status: &'static str| -> Vec<Member> {
        side.iter()
            .map(|index| Member::with_status(&nodes[*index], status))
            .collect()
    };
    let expected = [of(near, "alive"), of(far, "failed")].concat();
    await_members(&viewers, &expected, DETECTION);
}

/// Waits until all three clocks agree on all nodes.
fn await_equal_clocks(nodes: &[&Agent]) {
    eventually(SPREADING, "clocks that agree", || {
        let times: Vec<Vec<String>> = nodes.iter().map(|node| times(node)).collect();
        if times.iter().all(|each| *each == times[0]) {
            Ok(())
        } else {
            Err(format!("{times:?}"))
        }
    });
}

fn times(node: &Agent) -> Vec<String> {
    let info = node.ask(Kind::Serf, &["info", "-format=json"]).success();
    let info: serde_json::Value = serde_json::from_str(&info.stdout).expect("JSON");
    ["member_time", "event_time", "query_time"]
        .map(|clock| format!("{clock}={}", info["serf"][clock].as_str().expect("a clock")))
        .to_vec()
}

/// Waits until every node has run every event, and returns how often.
fn await_events(recorders: &[Recorder]) -> Seen {
    let count = || -> Seen {
        let of = |recorder: &Recorder| {
            let mut seen = BTreeMap::new();
            for record in recorder.of("user") {
                *seen
                    .entry(record.var("SERF_USER_EVENT").to_owned())
                    .or_default() += 1;
            }
            seen
        };
        recorders.iter().map(of).collect()
    };
    eventually(SPREADING, "all events everywhere", || {
        let seen = count();
        if seen.iter().all(|each| each.len() == EVENTS.len()) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
    count()
}
