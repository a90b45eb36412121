//! A cluster on simulated hosts, and whether this machine can run one.

use super::world::World;
use crate::live::skip::{lacks_reference, skip};
use crate::live::{Agent, Lab, Member, Recorder, Spec, arg, await_members};

/// Seconds between attempts to reconnect to a failed node; the default is 30.
const RECONNECT_SECONDS: u32 = 5;

/// Agents on separate hosts that know each other, each with a recording handler.
pub struct Cluster {
    pub nodes: Vec<Agent>,
    pub recorders: Vec<Recorder>,
    // After the nodes, so that they are dropped first.
    lab: Lab,
    pub world: World,
}

impl Cluster {
    /// Starts the cast and waits until all member lists agree.
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
            // Each joins all nodes before it: gossip alone may miss some, until the next push/pull.
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

    /// Returns which program plays which node.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Returns all nodes.
    pub fn all(&self) -> Vec<&Agent> {
        self.nodes.iter().collect()
    }

    /// Waits until every node lists every node as alive.
    #[track_caller]
    pub fn await_all_alive(&self, seconds: f64) {
        let members: Vec<Member> = self.nodes.iter().map(Member::of).collect();
        await_members(&self.all(), &members, seconds);
    }
}

/// Returns whether this machine cannot create hosts for the test; if so, prints why.
pub fn is_impossible(name: &str) -> bool {
    let obstacle = || World::new(1).err();
    lacks_reference(name)
        || obstacle().is_some_and(|why| {
            skip(name, &why);
            true
        })
}
