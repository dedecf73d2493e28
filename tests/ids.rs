//! Names of episodes and alerts: nothing new ever looks like a repeat.

use std::collections::HashSet;

use anomaly_tests::{Server, args, list, text};

fn ids(server: &Server) -> Vec<String> {
    let alerts = server.stream("anomaly:alerts");
    let id = |fields: &[(String, String)]| {
        fields
            .iter()
            .find(|(name, _)| name == "id")
            .unwrap()
            .1
            .clone()
    };
    alerts.iter().map(|(_, fields)| id(fields)).collect()
}

/// The server's clock in milliseconds.
fn now(server: &Server) -> i64 {
    let time: Vec<i64> = list(&server.cmd(&["TIME"]))
        .iter()
        .map(|part| text(part).parse().unwrap())
        .collect();
    time[0] * 1000 + time[1] / 1000
}

#[test]
fn a_sensor_that_was_deleted_and_is_fed_the_same_again_gives_new_ids_here_and_on_a_replica() {
    let server = Server::start();
    let replica = Server::builder().replica_of(&server).start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    for life in 0..3 {
        // Born in another millisecond, as everything that really happens twice is.
        let before = now(&server);
        server.wait_until("a millisecond passes", || now(&server) > before);
        assert_eq!(
            text(&server.cmd(&args!["ANOMALY.ADD", "s", 1000, 15])),
            "warning"
        );
        server.replica_in_sync(&replica);
        assert_eq!(server.digest("s"), replica.digest("s"), "life {life}");
        server.cmd(&["DEL", "s"]);
    }
    let ids = ids(&server);
    assert_eq!(
        (ids.len(), ids.iter().collect::<HashSet<_>>().len()),
        (6, 6),
        "{ids:?}"
    );
}
