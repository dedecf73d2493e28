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

/// Sensors that between them have everything a model can hold, as they are dumped, without the check sum.
fn payloads(server: &Server) -> Vec<Vec<u8>> {
    server.cmd(&["CONFIG", "SET", "rdbcompression", "no"]);
    for (key, rule) in [
        ("m", "mad 3 ewma 3 cusum 4 stuck 60000 window 5"),
        ("a", "auto on warmup 2 season 20000 nodata 600000"),
    ] {
        let words: Vec<&str> = rule.split(' ').collect();
        server.cmd(&[&["ANOMALY.CONFIG", "SET", key], &words[..]].concat());
        for i in 0..30i64 {
            server.cmd(&args!["ANOMALY.ADD", key, i * 1000, (i % 7) as f64 / 3.0]);
        }
    }
    let payload = |key: &&str| {
        let dump = bytes(&server.cmd(&["DUMP", key]));
        let (stored, sum) = dump.split_at(dump.len() - 8);
        assert_eq!(sum, crc64(stored).to_le_bytes());
        stored.to_vec()
    };
    ["s", "m", "a"].iter().map(payload).collect()
}

/// With the right check sum, so that the bytes get past the server to us.
fn summed(mut stored: Vec<u8>) -> Vec<u8> {
    stored.extend(crc64(&stored).to_le_bytes());
    stored
}

/// Restores each of these, uses what was taken, and deletes it; how many were refused, and how many taken.
fn attack(server: &Server, payloads: &[Vec<u8>], flips: &[u8]) -> (u32, u32) {
    let mut connection = server.conn();
    let (mut refused, mut taken) = (0, 0);
    for stored in payloads {
        for place in 0..stored.len() - 2 {
            for flip in flips {
                let mut corrupt = stored.clone();
                corrupt[place] ^= flip;
                let replies = call_many(
                    &mut connection,
                    &[
                        args!["RESTORE", "corrupt", 0, summed(corrupt)],
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
    }
    (refused, taken)
}

/// Bytes of the module's when there is no key.
fn bytes_of_nothing(server: &Server) -> String {
    server.cmd(&["FLUSHALL", "SYNC"]);
    server.wait_until("all is freed", || {
        server.info("anomaly")["anomaly_sensors"] == "0"
    });
    // What FLUSHALL leaves to a thread of ours.
    let (mut bytes, mut same) = (String::new(), 0);
    server.wait_until("nothing is freed any more", || {
        let now = server.info("anomaly")["anomaly_bytes"].clone();
        same = if now == bytes { same + 1 } else { 0 };
        bytes = now;
        same > 20
    });
    bytes
}

/// They are refused, or they are a model that can be used, saved and freed; and nothing of either stays behind.
#[test]
fn no_flipped_bit_of_a_stored_model_ends_the_server_or_leaks() {
    let server = full();
    let payloads = payloads(&server);
    attack(&server, &payloads, &[0xff]);
    let before = bytes_of_nothing(&server);
    let every_bit: Vec<u8> = (0..8).map(|bit| 1 << bit).collect();
    let (refused, taken) = attack(&server, &payloads, &every_bit);
    assert!(
        refused > 1000 && taken > 1000,
        "{refused} refused, {taken} taken"
    );
    assert_eq!(bytes_of_nothing(&server), before);
    assert!(
        !server.log().contains("panic"),
        "nothing panicked on the way"
    );
}

#[test]
fn no_truncated_model_is_taken_wherever_it_is_cut() {
    let server = full();
    for stored in payloads(&server) {
        let (body, version) = stored.split_at(stored.len() - 2);
        // Cut off by more than what follows it, which would be read in its place.
        for len in 10..body.len() - 10 {
            let short = summed([&body[..len], version].concat());
            let restore = args!["RESTORE", "short", 0, short];
            assert_eq!(server.refuses(&restore), "ERR Bad data format");
        }
        // The type, nine bytes of its id, that a string follows, its length in two bytes; at last that nothing follows.
        let (head, rest) = body.split_at(11);
        let length = usize::from(u16::from_be_bytes([rest[0] & 0x3f, rest[1]]));
        assert_eq!((rest[0] & 0xc0, rest.len()), (0x40, 2 + length + 1));
        let (model, end) = rest[2..].split_at(length);
        let cut = |model: &[u8]| {
            let length = (model.len() as u16 | 0x4000).to_be_bytes();
            summed([head, &length, model, end, version].concat())
        };
        for len in 0..length {
            let restore = args!["RESTORE", "short", 0, cut(&model[..len])];
            assert_eq!(server.refuses(&restore), "ERR Bad data format", "{len}");
        }
        server.cmd(&args!["RESTORE", "whole", 0, cut(model), "REPLACE"]);
    }
    assert_eq!(int(&server.cmd(&["EXISTS", "short"])), 0);
    assert!(!server.log().contains("panic"), "{}", server.log());
}

#[test]
fn a_model_in_a_damaged_load_command_is_refused() {
    let server = full();
    let refused = server.refuses(&["ANOMALY._LOAD", "s", "\u{1}garbage"]);
    assert!(refused.starts_with("ERR internal command"), "{refused}");
}
