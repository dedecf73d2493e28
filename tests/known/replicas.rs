//! Servers whose data is another's from one moment to the next.

use super::*;

fn synced(master: &Server, replica: &Server) {
    master.replica_in_sync(replica);
    assert_same(&replica.picture(), &master.picture());
}

fn resyncs(master: &Server) -> i64 {
    master.info("stats")["sync_full"].parse().unwrap()
}

fn follow(replica: &Server, master: &Server) {
    replica.cmd(&args!["REPLICAOF", "127.0.0.1", master.port()]);
}

/// A replica that has readings of its own and goes back to its master has all its models replaced.
#[test]
fn after_a_full_synchronisation_readings_go_to_the_models_that_came() {
    for load in ["disabled", "on-empty-db", "swapdb"] {
        for lazy in ["no", "yes"] {
            let master = ready(unarchived());
            let replica = unarchived()
                .config(format!("repl-diskless-load {load}"))
                .config(format!("replica-lazy-flush {lazy}"))
                .replica_of(&master)
                .start();
            master.replica_in_sync(&replica);
            let keys: Vec<String> = (0..20).map(|_| name("s")).collect();
            let more = |server: &Server| {
                for key in &keys {
                    server.cmd(&add(key));
                }
            };
            for key in &keys {
                know(&master, key);
            }
            synced(&master, &replica);
            for turn in 0..3 {
                replica.cmd(&["REPLICAOF", "NO", "ONE"]);
                // Both are known on both, and not the same any more.
                keys.iter().for_each(|key| know(&replica, key));
                more(&replica);
                more(&master);
                let expected: Vec<_> = keys.iter().map(|key| readings(&master, key)).collect();
                let before = resyncs(&master);
                follow(&replica, &master);
                master.wait_until("it is synchronised", || resyncs(&master) > before);
                synced(&master, &replica);
                more(&master);
                synced(&master, &replica);
                for (key, before) in keys.iter().zip(expected) {
                    assert_eq!(readings(&replica, key), before + 1, "{load} {lazy} {turn}");
                }
            }
        }
    }
}

/// A replica that takes writes of its own.
#[test]
fn readings_of_a_writable_replica_s_own_go_to_the_models_that_are_there() {
    for load in ["disabled", "swapdb"] {
        let master = ready(unarchived());
        let replica = unarchived()
            .config(format!("repl-diskless-load {load}"))
            .config("replica-read-only no")
            .replica_of(&master)
            .start();
        master.replica_in_sync(&replica);
        let (both, own) = (&name("both"), &name("own"));
        know(&master, both);
        master.replica_in_sync(&replica);
        know(&replica, both);
        know(&replica, own);
        master.cmd(&["DEL", both]);
        master.replica_in_sync(&replica);
        replica.cmd(&add(both));
        assert_eq!(readings(&replica, both), 1);
        know(&master, both);
        let expected = readings(&master, both);
        master.replica_in_sync(&replica);
        let before = resyncs(&master);
        know(&replica, own);
        master.cmd(&["DEBUG", "CHANGE-REPL-ID"]);
        master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
        master.wait_until("it is synchronised", || resyncs(&master) > before);
        synced(&master, &replica);
        replica.cmd(&add(both));
        assert_eq!(readings(&replica, both), expected + 1, "{load}");
        replica.cmd(&add(own));
        assert_eq!(readings(&replica, own), 1, "{load}");
    }
}

#[test]
fn a_sensor_that_was_sent_to_another_server_begins_anew_and_comes_back_as_it_went() {
    let here = ready(unarchived());
    let there = ready(unarchived());
    let key = &name("s");
    let send = |from: &Server, to: &Server| {
        let words = args!["MIGRATE", "127.0.0.1", to.port(), key, 0, 5000, "REPLACE"];
        assert_eq!(text(&from.cmd(&words)), "OK");
    };
    for given in Given::ALL {
        know(&here, key);
        know(&there, key);
        let before = readings(&here, key);
        send(&here, &there);
        for server in [&here, &there] {
            call_many(&mut server.conn(), &[given.of(key)]);
        }
        assert_eq!(
            (readings(&here, key), readings(&there, key)),
            (1, before + 1)
        );
        know(&here, key);
        know(&there, key);
        let before = readings(&there, key);
        send(&there, &here);
        for server in [&here, &there] {
            call_many(&mut server.conn(), &[given.of(key)]);
        }
        assert_eq!(
            (readings(&here, key), readings(&there, key)),
            (before + 1, 1)
        );
    }
}
