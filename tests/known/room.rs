//! What it takes to find models.

use super::*;

fn held(server: &Server) -> i64 {
    server.info("anomaly")["anomaly_bytes"].parse().unwrap()
}

fn madd(server: &Server, keys: impl Iterator<Item = usize>) {
    let mut madd = args!["ANOMALY.MADD"];
    keys.for_each(|key| madd.extend(args![format!("s:{key}"), next(), 7]));
    server.cmd(&madd);
}

#[test]
fn what_is_known_takes_a_ninth_at_most_and_is_given_back_with_the_sensors() {
    const SENSORS: usize = 20_000;
    let server = ready(unarchived());
    madd(&server, 0..1);
    let before = held(&server);
    // Models alone: a sensor whose key was opened, but could be nowhere noted.
    let policy = ["maxmemory-policy", "allkeys-lru"];
    server.cmd(&[&["CONFIG", "SET", "maxmemory", "100gb"][..], &policy].concat());
    madd(&server, 1..SENSORS);
    let models = held(&server) - before;
    server.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    // It grows in steps, and at last has moved over what it held.
    for _ in 0..3 {
        madd(&server, 0..SENSORS);
    }
    let known = held(&server) - before - models;
    assert!(known > models / 20, "{known} of {models}");
    assert!(known <= models / 8, "{known} of {models}");
    assert!(known <= 32 * SENSORS as i64, "{known}");
    let mut del = args!["DEL"];
    (0..SENSORS).for_each(|key| del.extend(args![format!("s:{key}")]));
    for some in del[1..].chunks(1000) {
        server.cmd(&[&del[..1], some].concat());
    }
    server.wait_until("the memory is given back", || held(&server) <= before);
}
