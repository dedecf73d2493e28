//! DUMP and RESTORE, and stored bytes that nobody ever wrote.

use anomaly_tests::{Server, args, bytes, call_many, error, int, text};

/// A sensor with everything a model can hold.
fn full() -> Server {
    let server = Server::start();
    let rule = [
        "max", "10", "zscore", "3", "rate", "100", "window", "8", "recent", "6", "repeat", "5",
    ];
    server.cmd(&[&["ANOMALY.CONFIG", "SET", "s"][..], &rule].concat());
    for i in 0..20i64 {
        server.cmd(&args!["ANOMALY.ADD", "s", i * 1000, (i % 5) as f64 / 3.0]);
    }
    server.cmd(&args!["ANOMALY.ADD", "s", 1000, 1]);
    server.cmd(&args!["ANOMALY.ADD", "s", 30_000, 90]);
    server.cmd(&["ANOMALY.ACK", "s", "BY", "olga"]);
    server
}

/// CRC-64 of Redis: the polynomial of Jones, reflected.
fn crc64(data: &[u8]) -> u64 {
    data.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x95ac_9329_ac4b_c9b5 * (crc & 1))
        })
    })
}

#[test]
fn a_restored_sensor_is_the_one_that_was_dumped() {
    let (one, other) = (full(), Server::start());
    for compression in ["yes", "no"] {
        one.cmd(&["CONFIG", "SET", "rdbcompression", compression]);
        let dump = bytes(&one.cmd(&["DUMP", "s"]));
        other.cmd(&args!["RESTORE", "elsewhere", 0, &dump, "REPLACE"]);
        assert_eq!(other.digest("elsewhere"), one.digest("s"));
    }
    assert_ne!(
        one.digest("s"),
        one.digest("other"),
        "a digest tells something"
    );
}

#[test]
fn a_restored_sensor_judges_on() {
    let (one, other) = (full(), full());
    other.cmd(&["DEL", "s"]);
    other.cmd(&args!["RESTORE", "s", 0, bytes(&one.cmd(&["DUMP", "s"]))]);
    for (at, value) in [
        (31_000, 1.0),
        (31_000, 2.0),
        (32_000, 0.5),
        (33_000, 0.4),
        (34_000, 30.0),
    ] {
        let add = args!["ANOMALY.ADD", "s", at, value, "EXPLAIN"];
        assert_eq!(one.cmd(&add), other.cmd(&add), "at {at}");
    }
    assert_eq!(one.digest("s"), other.digest("s"));
}

/// With the right check sum, so that the bytes get past the server to us: they are refused, or they are a model that can
/// be used, saved and freed.
#[test]
fn no_stored_bytes_end_the_server() {
    let server = full();
    server.cmd(&["CONFIG", "SET", "rdbcompression", "no"]);
    let dump = bytes(&server.cmd(&["DUMP", "s"]));
    let (stored, sum) = dump.split_at(dump.len() - 8);
    assert_eq!(sum, crc64(stored).to_le_bytes());
    let mut connection = server.conn();
    let (mut refused, mut taken) = (0, 0);
    for place in 0..stored.len() - 2 {
        for flip in [0x01, 0x80, 0xff] {
            let mut corrupt = stored.to_vec();
            corrupt[place] ^= flip;
            corrupt.extend(crc64(&corrupt).to_le_bytes());
            let replies = call_many(
                &mut connection,
                &[
                    args!["RESTORE", "corrupt", 0, &corrupt],
                    args!["ANOMALY.INFO", "corrupt"],
                    args!["ANOMALY.ADD", "corrupt", 40_000, 7],
                    args!["DEBUG", "DIGEST-VALUE", "corrupt"],
                    args!["COPY", "corrupt", "copy", "REPLACE"],
                    args!["DEL", "corrupt", "copy"],
                    args!["PING"],
                ],
            );
            match error(&replies[0]) {
                Some(why) => {
                    assert_eq!(why, "ERR Bad data format");
                    refused += 1;
                }
                None => taken += 1,
            }
            assert_eq!(text(&replies[6]), "PONG");
        }
    }
    assert!(
        refused > 100 && taken > 100,
        "{refused} refused, {taken} taken"
    );
    // Cut off by more than what follows it, which would be read in its place.
    for len in 10..stored.len() - 12 {
        let mut short = [&stored[..len], &stored[stored.len() - 2..]].concat();
        short.extend(crc64(&short).to_le_bytes());
        let restore = args!["RESTORE", "short", 0, short];
        assert_eq!(server.refuses(&restore), "ERR Bad data format");
    }
    assert_eq!(int(&server.cmd(&["EXISTS", "corrupt", "short"])), 0);
    assert!(
        !server.log().contains("panic"),
        "nothing panicked on the way"
    );
}

#[test]
fn a_model_in_a_damaged_load_command_is_refused() {
    let server = full();
    let refused = server.refuses(&["ANOMALY._LOAD", "s", "\u{1}garbage"]);
    assert!(refused.starts_with("ERR internal command"), "{refused}");
}
