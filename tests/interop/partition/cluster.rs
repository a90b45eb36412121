//! A cluster in a world of its own, and whether there can be one.

use super::world::World;
use crate::live::skip::{lacks_reference, skip};
use crate::live::{Agent, Lab, Member, Recorder, Spec, arg, await_members};

/// How often a node tries to reach one that has failed; 30 unless set.
const RECONNECT_SECONDS: u32 = 5;

/// Agents on hosts of their own that know each other, each with a handler that records.
pub struct Cluster {
    pub nodes: Vec<Agent>,
    pub recorders: Vec<Recorder>,
    // Behind the nodes, which end first.
    lab: Lab,
    pub world: World,
}

impl Cluster {
    /// Starts the cast and waits until they agree.
    pub fn start(name: &str, cast: &str) -> Cluster {
        let world = World::new(cast.len()).expect("a world");
        let lab = Lab::new(name, cast);
        let recorders: Vec<Recorder> = (0..lab.size())
            .map(|index| Recorder::new(lab.path(), &format!("n{}", index + 1)))
            .collect();
        let profile =
            std::env::var("COTTAR_PARTITION_PROFILE").unwrap_or_else(|_| "local".to_owned());
        let settings = lab.path().join("settings.json");
        let text = format!("{{\"reconnect_interval\": \"{RECONNECT_SECONDS}s\"}}");
        std::fs::write(&settings, text).expect("a file");
        let mut nodes: Vec<Agent> = Vec::new();
        for (index, recorder) in recorders.iter().enumerate() {
            let spec = lab.spec(index).addresses(
                (World::ip(index), 7946).into(),
                ([127, 0, 0, 1], 7373).into(),
            );
            let spec = spec.wrapper(world.wrapper(index)).recorded(recorder).args([
                "-profile",
                &profile,
                "-config-file",
                arg(&settings),
            ]);
            // Each exchanges states with all before it: gossip alone may leave some out, until the next
            // exchange.
            nodes.push(lab.start(nodes.iter().fold(spec, Spec::join)));
        }
        let cluster = Cluster {
            nodes,
            recorders,
            lab,
            world,
        };
        cluster.await_all_alive(60.0);
        cluster
    }

    /// Who plays which node.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// All nodes, to be asked.
    pub fn all(&self) -> Vec<&Agent> {
        self.nodes.iter().collect()
    }

    /// Waits until everybody holds everybody alive.
    #[track_caller]
    pub fn await_all_alive(&self, seconds: f64) {
        let members: Vec<Member> = self.nodes.iter().map(Member::of).collect();
        await_members(&self.all(), &members, seconds);
    }
}

/// Whether this machine has no hosts for the test, which is then noted.
pub fn is_impossible(name: &str) -> bool {
    let obstacle = || World::new(1).err();
    lacks_reference(name)
        || obstacle().is_some_and(|why| {
            skip(name, &why);
            true
        })
}
