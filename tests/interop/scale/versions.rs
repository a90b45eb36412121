//! Protocol numbers, names, address families.

use crate::live::{
    Agent, Kind, Member, Recorder, await_members, eventually, free_at, lacks, scenario,
};
use std::net::{Ipv6Addr, TcpListener};

fn protocol_number(member: Member, spoken: u64) -> Member {
    Member {
        protocol: [2, 5, spoken],
        ..member
    }
}

#[test]
fn protocol_versions_two_to_five_interoperate() {
    // Each number once for each kind, and each kind once as the first node.
    scenario("protocols", &["SCSCSCSC", "CSCSCSCS"], |lab| {
        let number = |index: usize| 2 + index as u64 / 2;
        let recorder = Recorder::new(lab.path(), "n2");
        let nodes = lab.start_all(|index, spec| {
            let spec = spec.args(["-protocol".to_owned(), number(index).to_string()]);
            let spec = spec.tag("role", &format!("r{index}"));
            if index == 1 {
                spec.recorded(&recorder)
            } else {
                spec
            }
        });
        let all: Vec<&Agent> = nodes.iter().collect();
        let expected: Vec<Member> = (0..nodes.len())
            .map(|index| protocol_number(Member::of(&nodes[index]), number(index)))
            .collect();
        await_members(&all, &expected, 15.0);
        // Events reach the nodes of every protocol number.
        nodes[7].event("across", "all numbers");
        let records =
            recorder.await_records(1, 10.0, |record| record.var("SERF_USER_EVENT") == "across");
        assert_eq!(records[0].stdin, b"all numbers\n");
        // Queries need protocol 4: a node with a lower number refuses with the same message.
        for (index, node) in nodes.iter().enumerate() {
            let asked = node.cli(&["query", "-timeout=500ms", "hello"]);
            let (kind, number) = (node.spec.kind, number(index));
            assert_eq!(
                asked.code != 0,
                number < 4,
                "{kind:?} with {number}: {asked:?}"
            );
        }
        let refusal = |index: usize| nodes[index].cli(&["query", "hello"]).stdout;
        assert_eq!(refusal(0), refusal(1));
        assert_eq!(refusal(2), refusal(3));
    });
}

#[test]
fn protocol_two_carries_only_the_role() {
    scenario("protocol 2", &["SC", "CS"], |lab| {
        let nodes = lab.start_all(|_, spec| {
            spec.args(["-protocol=2"])
                .tag("role", "web")
                .tag("rack", "7")
        });
        let seen_by = |viewer: usize, of: usize| {
            eventually(10.0, "the other's tags", || {
                let members = nodes[viewer].members()?;
                let name = &nodes[of].spec.name;
                let member = members.into_iter().find(|member| member.name == *name);
                member
                    .map(|member| member.tags)
                    .ok_or_else(|| "not there yet".into())
            })
        };
        let role = [("role".to_owned(), "web".to_owned())].into();
        assert_eq!(seen_by(0, 1), role);
        assert_eq!(seen_by(1, 0), role);
        let own = [seen_by(0, 0), seen_by(1, 1)];
        assert_eq!(own[0], own[1], "what they say of themselves");
    });
}

#[test]
fn names_up_to_their_limit() {
    scenario("long names", &["SCSC", "CSCS"], |lab| {
        let shared = "n".repeat(253);
        let names = [
            "a".repeat(255),
            "b".repeat(255),
            format!("{shared}{}", 1),
            // Names are measured in bytes, not characters, and may contain any characters.
            format!("{} ünï/=,\"", "ü".repeat(120)),
        ];
        let nodes = lab.start_all(|index, spec| spec.name(&names[index]));
        let all: Vec<&Agent> = nodes.iter().collect();
        let members: Vec<Member> = nodes.iter().map(Member::of).collect();
        await_members(&all, &members, 15.0);
        // Each node answers when it is selected by name.
        for node in &nodes {
            let asked = nodes[0].cli(&[
                "query",
                "-timeout=2s",
                "-format=json",
                "-node",
                &node.spec.name,
                "x",
            ]);
            let json: serde_json::Value = serde_json::from_str(&asked.success().stdout).unwrap();
            assert_eq!(json["Acks"], serde_json::json!([node.spec.name]));
        }
    });
    // Cottar refuses longer names, which it would refuse from other nodes, too; the reference has no limit.
    let refused = |name: &str| {
        let mut command = std::process::Command::new(Kind::Cottar.program());
        command.args([
            "agent",
            "-bind=127.0.0.1:0",
            "-rpc-addr=127.0.0.1:0",
            "-node",
            name,
        ]);
        let ended = crate::live::run(&mut command, std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(ended.code, 1, "{ended:?}");
        ended.stdout
    };
    for name in ["x".repeat(256), "a\nb".to_owned()] {
        let said = refused(&name);
        assert!(said.to_lowercase().contains("name"), "{said}");
    }
}

#[test]
fn a_cluster_on_ipv6() {
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if lacks("IPv6", "IPv6 on this machine", has_ipv6) {
        return;
    }
    scenario("IPv6", &["SCSC", "CSCS"], |lab| {
        let recorder = Recorder::new(lab.path(), "n4");
        let mut nodes = lab.start_all(|index, spec| {
            let [gossip, rpc] = [(); 2].map(|()| free_at(Ipv6Addr::LOCALHOST.into()));
            let spec = spec.addresses(gossip, rpc);
            if index == 3 {
                spec.recorded(&recorder)
            } else {
                spec
            }
        });
        let all: Vec<&Agent> = nodes.iter().collect();
        let members: Vec<Member> = nodes.iter().map(Member::of).collect();
        // Both kinds print the address in brackets.
        await_members(&all, &members, 15.0);
        nodes[0].event("six", "over IPv6");
        recorder.await_records(1, 10.0, |record| record.var("SERF_USER_EVENT") == "six");
        let asked = nodes[1].cli(&[
            "query",
            "-timeout=2s",
            "-relay-factor=2",
            "-format=json",
            "x",
        ]);
        let json: serde_json::Value = serde_json::from_str(&asked.success().stdout).unwrap();
        assert_eq!(json["Acks"].as_array().unwrap().len(), 4, "{json}");
        let join = recorder.of("member-join");
        let lines: String = join
            .iter()
            .map(|r| String::from_utf8_lossy(&r.stdin).into_owned())
            .collect();
        assert!(lines.contains("n4\t::1\t"), "{lines}");
        // A crash is detected and reported as with IPv4.
        let victim = nodes.pop().unwrap();
        victim.crash();
        let left: Vec<&Agent> = nodes.iter().collect();
        crate::live::await_status(&left, "n4", "failed", 45.0);
        let back = victim.restart(&nodes[0]);
        let all: Vec<&Agent> = nodes.iter().chain([&back]).collect();
        await_members(&all, &members, 15.0);
    });
}
