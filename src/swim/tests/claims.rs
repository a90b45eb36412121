//! Claims about members that live: who is told of them, and who gets the refutation.

use super::*;

#[test]
fn who_pings_and_is_not_held_alive_is_told_so() {
    let mut script = Script::new();
    script.meet([2, 3]);
    let answer = |script: &mut Script| {
        script.take_datagrams();
        script.hear(2, &[ping_from(2, 7)]);
        let mut datagrams = script.take_datagrams();
        assert_eq!(datagrams.len(), 1);
        let (to, mut messages) = datagrams.remove(0);
        assert_eq!(to, addr(2));
        assert_eq!(messages[0], ack(7, None));
        (messages.len() > 1).then(|| messages.swap_remove(1))
    };
    // The first message after the ack, if it is one about the sender.
    let told = |script: &mut Script| answer(script).filter(|m| !matches!(m, Message::Alive(_)));
    assert_eq!(told(&mut script), None);
    let by = |accuser: NodeName, incarnation| dead(peer(2), incarnation, accuser);
    script.hear(3, &[suspect(peer(2), 1, 3)]);
    let accusation = Message::Suspect(Suspect {
        incarnation: 1,
        node: peer(2),
        from: Some(name("local")),
    });
    assert_eq!(told(&mut script), Some(accusation));
    script.hear(3, &[by(peer(3), 2)]);
    assert_eq!(told(&mut script), Some(by(name("local"), 2)));
    script.hear(3, &[Message::Alive(alive(2, 3)), by(peer(2), 3)]);
    assert_eq!(told(&mut script), Some(by(peer(2), 3)));
    script.hear(2, &[Message::Alive(alive(2, 4))]);
    assert_eq!(told(&mut script), None);
}

#[test]
fn who_makes_a_false_claim_gets_the_refutation() {
    let mut script = Script::new();
    script.meet([2, 3]);
    for (host, claim) in [
        (2, suspect(name("local"), 1, 2)),
        (3, dead(name("local"), 2, name("local"))),
    ] {
        script.take_datagrams();
        script.hear(host, &[claim.clone(), claim]);
        let datagrams = script.take_datagrams();
        let answers: Vec<_> = datagrams
            .iter()
            .filter(|(to, _)| *to == addr(host))
            .collect();
        let [(_, messages)] = &answers[..] else {
            panic!("{datagrams:?}")
        };
        let Message::Alive(alive) = &messages[0] else {
            panic!("{messages:?}")
        };
        assert_eq!(alive.node, name("local"));
        assert_eq!(alive.incarnation, script.swim.local().incarnation);
    }
    // Strangers get none, since anybody can name any address as the sender.
    script.hear(9, &[suspect(name("local"), u32::MAX / 2, 2)]);
    assert!(script.take_datagrams().iter().all(|(to, _)| *to != addr(9)));
}
