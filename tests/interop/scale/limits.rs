//! Every limit, reached and exceeded by one byte, with the reference's messages.

use crate::live::Finished;
use crate::live::{Agent, Kind, Lab, Member, Recorder, await_members, scenario};

/// Returns the greatest size in a range that a command accepts, by bisection.
fn greatest(mut taken: usize, mut refused: usize, ask: impl Fn(usize) -> Finished) -> usize {
    assert_eq!(ask(taken).code, 0, "{taken} bytes");
    assert_ne!(ask(refused).code, 0, "{refused} bytes");
    while refused - taken > 1 {
        let middle = (taken + refused) / 2;
        if ask(middle).code == 0 {
            taken = middle;
        } else {
            refused = middle;
        }
    }
    taken
}

fn pair(lab: &Lab, recorders: &[Recorder]) -> Vec<Agent> {
    let nodes = lab.start_all(|index, spec| spec.recorded(&recorders[index]));
    let all: Vec<&Agent> = nodes.iter().collect();
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&all, &members, 15.0);
    nodes
}

fn recorders(lab: &Lab) -> Vec<Recorder> {
    (0..lab.size())
        .map(|index| Recorder::new(lab.path(), &index.to_string()))
        .collect()
}

/// Returns the size of the payload that a handler reads, given the size that was sent.
fn given(size: usize) -> Vec<u8> {
    [vec![b'p'; size], vec![b'\n']].concat()
}

#[test]
fn tags_at_their_limit_and_over_it() {
    scenario("tag limit", &["SC"], |lab| {
        // The greatest size that the reference accepts at run time.
        let recorders = recorders(lab);
        let nodes = pair(lab, &recorders);
        let set = |node: &Agent, size: usize| {
            node.cli(&["tags", "-set", &format!("k={}", "v".repeat(size))])
        };
        let limits: Vec<usize> = nodes
            .iter()
            .map(|node| greatest(1, 600, |size| set(node, size)))
            .collect();
        assert_eq!(limits[0], limits[1], "the greatest tag at run time");
        let limit = limits[0];
        println!("a tag may have {limit} bytes");
        let over: Vec<Finished> = nodes.iter().map(|node| set(node, limit + 1)).collect();
        assert_eq!(
            (over[0].code, &over[0].stdout),
            (over[1].code, &over[1].stdout)
        );
        // A value at the limit reaches the other nodes unchanged.
        let tags = |size: usize| [("k".to_owned(), "v".repeat(size))].into();
        for node in &nodes {
            set(node, limit).success();
        }
        let members = nodes.iter().map(|node| Member {
            tags: tags(limit),
            ..Member::of(node)
        });
        let all: Vec<&Agent> = nodes.iter().collect();
        await_members(&all, &members.collect::<Vec<_>>(), 15.0);
        // The same limit applies at startup.
        for kind in [Kind::Cottar, Kind::Serf] {
            let spec = |size: usize| {
                let name = format!("{kind:?}-{size}").to_lowercase();
                let spec = crate::live::Spec::new(kind, &name);
                spec.tag("k", &"v".repeat(size))
            };
            let node = lab.start(spec(limit).join(&nodes[0]));
            assert!(node.members().unwrap().contains(&Member::of(&node)));
            let refused = lab.launch(spec(limit + 1));
            assert_eq!(refused.await_exit(10.0).code(), Some(1));
            let error = "==> Failed to start the Serf agent: Error creating Serf: Encoded length of tags exceeds limit of 512 bytes\n";
            assert!(refused.log().contains(error), "{}", refused.log());
        }
    });
}

#[test]
fn events_at_their_limit_and_over_it() {
    scenario("event limit", &["SC"], |lab| {
        let recorders = recorders(lab);
        let nodes = pair(lab, &recorders);
        let fire = |node: &Agent, name: &str, size: usize| {
            node.cli(&["event", "-coalesce=false", name, &"p".repeat(size)])
        };
        let limits: Vec<usize> = nodes
            .iter()
            .map(|node| greatest(1, 600, |size| fire(node, "size", size)))
            .collect();
        assert_eq!(limits[0], limits[1], "the greatest event");
        println!("an event called `size` may have {} bytes", limits[0]);
        for size in limits[0]..520 {
            let [theirs, ours] = [0, 1].map(|index| fire(&nodes[index], "size", size));
            assert_eq!(
                (theirs.code, &theirs.stdout),
                (ours.code, &ours.stdout),
                "{size} bytes"
            );
            assert_eq!(ours.code == 0, size == limits[0], "{size} bytes");
        }
        for (index, node) in nodes.iter().enumerate() {
            let name = format!("big{index}");
            let size = greatest(1, 600, |size| fire(node, &name, size));
            for recorder in &recorders {
                recorder.await_records(1, 15.0, |record| {
                    record.var("SERF_USER_EVENT") == name && record.stdin == given(size)
                });
            }
        }
    });
}

#[test]
fn an_event_that_no_limit_allows_is_refused_alike() {
    scenario("huge event", &["SC"], |lab| {
        let nodes = lab.start_all(|_, spec| spec);
        let refused = nodes
            .iter()
            .map(|node| node.cli(&["event", "x", &"p".repeat(10_000)]));
        let refused: Vec<Finished> = refused.collect();
        assert_eq!(
            (refused[0].code, &refused[0].stdout),
            (refused[1].code, &refused[1].stdout)
        );
        assert_eq!(refused[0].code, 1);
    });
}

#[test]
fn queries_at_their_limit_and_over_it() {
    scenario("query limit", &["SC"], |lab| {
        let recorders = recorders(lab);
        let nodes = pair(lab, &recorders);
        let ask = |node: &Agent, name: &str, size: usize| {
            node.cli(&["query", "-timeout=1ms", name, &"p".repeat(size)])
        };
        // The random id may be one or two bytes shorter than usual.
        let limits: Vec<usize> = nodes
            .iter()
            .map(|node| greatest(1, 1100, |size| ask(node, "size", size)))
            .collect();
        println!("a query called `size` may have {limits:?} bytes");
        assert!(limits[0].abs_diff(limits[1]) <= 2, "{limits:?}");
        for size in [limits[0].max(limits[1]) + 8, 1100, 5000] {
            let [theirs, ours] = [0, 1].map(|index| ask(&nodes[index], "size", size));
            assert_eq!(
                (theirs.code, &theirs.stdout),
                (ours.code, &ours.stdout),
                "{size} bytes"
            );
            assert_eq!(ours.code, 1);
        }
        for (index, node) in nodes.iter().enumerate() {
            let name = format!("big{index}");
            let size = limits[index] - 8;
            let asked = node.cli(&[
                "query",
                "-timeout=3s",
                "-format=json",
                &name,
                &"p".repeat(size),
            ]);
            let json: serde_json::Value = serde_json::from_str(&asked.success().stdout).unwrap();
            assert_eq!(json["Acks"].as_array().unwrap().len(), 2, "{json}");
            for recorder in &recorders {
                recorder.await_records(1, 15.0, |record| {
                    record.var("SERF_QUERY_NAME") == name && record.stdin == given(size)
                });
            }
        }
    });
}
