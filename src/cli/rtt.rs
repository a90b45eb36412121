//! `rtt`: estimates the round trip time between two nodes (agent spec 3.8).

use std::io::Write;

use super::command::flags::Flags;
use super::common::{bytes, connect, failed, tell};
use super::failure::{Failure, Outcome};
use crate::go;
use crate::json::Json;
use crate::serf::coordinates::distance;

pub(super) fn rtt(flags: &Flags, out: &mut dyn Write) -> Outcome {
    if !(1..=2).contains(&flags.arguments().len()) {
        let words = "One or two node names must be specified";
        return Err(Failure::Usage(words.to_owned()));
    }
    let mut client = connect(flags)?;
    let mut names: Vec<Vec<u8>> = flags.arguments().iter().map(|name| bytes(name)).collect();
    if names.len() == 1 {
        let stats = client.stats().map_err(failed("Error querying agent"))?;
        let own = stats
            .get(&b"agent"[..])
            .and_then(|agent| agent.get(&b"name"[..]));
        let own = own.ok_or_else(|| {
            Failure::Message("Error querying agent: it does not report its name".to_owned())
        })?;
        names.push(own.clone());
    }
    let mut places = Vec::new();
    for name in &names {
        let place = client
            .coordinate(name)
            .map_err(failed("Error getting coordinates"))?;
        places.push(place.ok_or_else(|| {
            let quoted = go::quote(name);
            Failure::Message(format!("Could not find a coordinate for node {quoted}"))
        })?);
    }
    if let ([one, other], [place, other_place]) = (&*names, &*places) {
        let millis = distance(place, other_place).as_nanos() as f64 / 1e6;
        let millis = format!("{millis:.3}");
        let text = [
            b"Estimated ",
            &**one,
            b" <-> ",
            other,
            b" rtt: ",
            millis.as_bytes(),
            b" ms",
        ];
        let json = vec![
            ("nodes", Json::texts(&names)),
            ("rtt_ms", Json::Decimal(millis.clone())),
        ];
        tell(flags, &text.concat(), json, out)?;
    }
    Ok(())
}
