//! Access rights: who may do what with which sensors.

use anomaly_tests::{Server, call, field, int, try_call};

#[test]
fn there_is_a_category_of_our_own_by_which_rights_are_given() {
    let server = Server::start();
    server.cmd(&[
        "ACL",
        "SETUSER",
        "sensor",
        "on",
        "nopass",
        "+@anomaly",
        "+auth",
        "~sensor:*",
    ]);
    let mut user = server.conn();
    call(&mut user, &["AUTH", "sensor", "any"]);
    for allowed in [
        &["ANOMALY.ADD", "sensor:1", "1000", "1"][..],
        &[
            "ANOMALY.MADD",
            "sensor:1",
            "2000",
            "1",
            "sensor:2",
            "1",
            "1",
        ],
        &["ANOMALY.CONFIG", "SET", "*", "max", "5"],
        &["ANOMALY.INFO", "sensor:1"],
        &["ANOMALY.ALERTS"],
    ] {
        assert!(try_call(&mut user, allowed).is_ok(), "{allowed:?}");
    }
    for refused in [
        &["ANOMALY.ADD", "other", "1000", "1"][..],
        &["ANOMALY.MADD", "sensor:1", "3000", "1", "other", "1", "1"],
        &["ANOMALY.INFO", "other"],
        &["ANOMALY.CONFIG", "RESOLVE", "other"],
        &["ANOMALY._APPLY", "1", "sensor:1", "4000", "1", "1"],
        &["ANOMALY._LOAD", "sensor:1", "x"],
        &["GET", "sensor:1"],
        &["TS.GET", "ts:{sensor:1}"],
    ] {
        let why = try_call(&mut user, refused).expect_err("no right to it");
        assert!(why.starts_with("NOPERM "), "{refused:?}: {why}");
    }
    let info = server.cmd(&["ANOMALY.INFO", "sensor:1"]);
    assert_eq!(
        int(&field(&info, "readings")),
        2,
        "a refused MADD added nothing"
    );
    assert_eq!(
        int(&server.cmd(&["EXISTS", "ts:{sensor:1}"])),
        1,
        "the series needs no right of the user's"
    );
}

#[test]
fn readers_may_read_and_not_write() {
    let server = Server::start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    server.cmd(&[
        "ACL", "SETUSER", "reader", "on", "nopass", "+@read", "+auth", "~*",
    ]);
    let mut user = server.conn();
    call(&mut user, &["AUTH", "reader", "any"]);
    for allowed in [
        &["ANOMALY.INFO", "s"][..],
        &["ANOMALY.ALERTS"],
        &["ANOMALY.CONFIG", "LIST"],
    ] {
        assert!(try_call(&mut user, allowed).is_ok(), "{allowed:?}");
    }
    for refused in [
        &["ANOMALY.ADD", "s", "2000", "1"][..],
        &["ANOMALY.RESET", "s"],
        &["ANOMALY.CONFIG", "DEL", "*"],
    ] {
        assert!(
            try_call(&mut user, refused).is_err_and(|why| why.starts_with("NOPERM ")),
            "{refused:?}"
        );
    }
}
