//! The program against what may befall it: killed between reading and acknowledging, its server gone, its stream trimmed,
//! its output closed.

use anomaly_tests::{Args, Dir, Server, Stop, args, call_many, int, list, text, wait_until};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// The program, killed when dropped.
struct Program {
    child: Child,
    errors: PathBuf,
}

impl Program {
    /// `anomaly WORDS…`, its standard output to `out`.
    fn start(server: &Server, dir: &Dir, words: &[&str], out: impl Into<Stdio>) -> Self {
        let errors = dir.join("errors");
        let log = File::options().create(true).append(true).open(&errors);
        let child = server
            .anomaly()
            .args(words)
            .stdout(out)
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    /// Waits for its end; its exit code.
    fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the program has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let done = std::process::Command::new("/bin/sh")
            .args(["-c", &kill])
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(aof: bool) -> Server {
    let builder = Server::builder();
    let server = if aof {
        builder.aof().start()
    } else {
        builder.start()
    };
    rules(&server);
    server
}

fn rules(server: &Server) {
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
}

/// So many alerts of a sensor, the first at so many seconds.
fn raise(server: &Server, sensor: &str, from: usize, alerts: usize) {
    let adds: Vec<Args> = (from..from + alerts)
        .map(|at| {
            args![
                "ANOMALY.ADD",
                sensor,
                1000 * (at + 1),
                if at % 2 == 0 { 50 } else { 5 }
            ]
        })
        .collect();
    call_many(&mut server.conn(), &adds);
}

fn written(server: &Server) -> BTreeSet<String> {
    let all = server.stream("anomaly:alerts");
    all.into_iter()
        .map(|(_, fields)| fields[2].1.clone())
        .collect()
}

/// The ids of whole lines of JSON, in order.
fn ids(lines: &str) -> Vec<String> {
    let id = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(json["id"].as_str()?.to_owned())
    };
    lines.lines().filter_map(id).collect()
}

/// What is under way: read by the group and not acknowledged.
fn pending(server: &Server) -> usize {
    let summary = server.try_cmd(&["XPENDING", "anomaly:alerts", "anomaly"]);
    summary.map_or(0, |summary| int(&list(&summary)[0]) as usize)
}

const FOLLOW: [&str; 3] = ["alerts", "--format", "json"];

/// A consumer whose output nobody reads: it comes to stand with a full pipe, between reading an alert and acknowledging it.
fn stuck(server: &Server, dir: &Dir) -> Program {
    let program = Program::start(server, dir, &FOLLOW, Stdio::piped());
    let (mut before, mut same) = (0, 0);
    server.wait_until("it can write no more", || {
        let now = pending(server);
        same = if now > 0 && now == before {
            same + 1
        } else {
            0
        };
        before = now;
        same > 60
    });
    program
}

#[test]
fn a_consumer_killed_between_reading_and_acknowledging_shows_it_again() {
    let (server, dir) = (server(false), Dir::new());
    raise(&server, "s", 0, 1000);
    let mut program = stuck(&server, &dir);
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let mut first = String::new();
    let mut pipe = program.child.stdout.take().unwrap();
    pipe.read_to_string(&mut first).unwrap();
    let first = ids(&first);
    let left = pending(&server);
    assert!(
        left > 0 && first.len() + left <= 1001,
        "{} {left}",
        first.len()
    );
    // The same name again, so what was under way comes first.
    let again = server
        .anomaly()
        .args(FOLLOW)
        .arg("--once")
        .output()
        .unwrap();
    let again = ids(&String::from_utf8(again.stdout).unwrap());
    assert_eq!(pending(&server), 0);
    let twice = first.iter().filter(|id| again.contains(id)).count();
    assert!(twice <= 1, "{twice} were shown twice");
    let all: BTreeSet<String> = first.iter().chain(&again).cloned().collect();
    assert_eq!((all.len(), all), (1000, written(&server)));
}

#[test]
fn a_server_that_goes_away_is_waited_for_and_followed_on_when_it_is_back_full_or_empty() {
    let (mut server, dir) = (server(true), Dir::new());
    let out = dir.join("out");
    let mut program = Program::start(&server, &dir, &FOLLOW, File::create(&out).unwrap());
    let shown = || ids(&fs::read_to_string(&out).unwrap());
    raise(&server, "s", 0, 20);
    wait_until("all are shown", || shown().len() == 20);
    for round in 1..=2 {
        server.stop(Stop::Kill9);
        wait_until("it says so", || {
            program.said().matches("lost Redis").count() == round
        });
        server.start_again();
        raise(&server, "s", 20 * round, 20);
        wait_until("those that came meanwhile are shown", || {
            shown().len() == 20 * (round + 1)
        });
        assert_eq!(program.said().matches("is back").count(), round);
    }
    let unique: BTreeSet<String> = shown().into_iter().collect();
    assert_eq!((unique.len(), unique), (60, written(&server)));
    // Without its data: a new stream, whose alerts are news.
    server.stop(Stop::Kill9);
    fs::remove_dir_all(server.dir().join("appendonlydir")).unwrap();
    server.start_again();
    rules(&server);
    raise(&server, "s", 100, 20);
    wait_until("all of the new server are shown", || shown().len() == 80);
    let unique: BTreeSet<String> = shown().into_iter().skip(60).collect();
    assert_eq!(unique, written(&server));
    assert!(!program.said().contains("trimmed"), "{}", program.said());
    program.signal("TERM");
    assert_eq!(program.ends(), Some(0));
}

#[test]
fn a_slow_consumer_says_how_many_were_trimmed_before_it_came_to_them() {
    let (server, dir) = (server(false), Dir::new());
    raise(&server, "s", 0, 1500);
    let mut program = stuck(&server, &dir);
    // 20 are left of those that it has yet to read.
    server.cmd(&["XTRIM", "anomaly:alerts", "MAXLEN", "20"]);
    raise(&server, "s", 1500, 10);
    let newest = {
        let all = server.stream("anomaly:alerts");
        all.last().unwrap().1[2].1.clone()
    };
    let mut shown = Vec::new();
    for line in BufReader::new(program.child.stdout.take().unwrap()).lines() {
        shown.extend(ids(&line.unwrap()));
        if shown.last() == Some(&newest) {
            break;
        }
    }
    server.wait_until("all is acknowledged", || pending(&server) == 0);
    let missed = 1510 - shown.len();
    assert!(missed > 100, "{missed}");
    let said = |n: usize| format!("anomaly: {n} alerts were trimmed from anomaly:alerts before");
    assert!(program.said().contains(&said(missed)), "{}", program.said());
    program.signal("TERM");
    program.ends();
    let total = format!("anomaly: {missed} alerts in all were trimmed");
    assert!(program.said().contains(&total), "{}", program.said());
    // While it is away, too; and told of once.
    raise(&server, "s", 1510, 50);
    server.cmd(&["XTRIM", "anomaly:alerts", "MAXLEN", "5"]);
    for (shows, misses) in [(5, true), (0, false)] {
        let run = server
            .anomaly()
            .args(FOLLOW)
            .arg("--once")
            .output()
            .unwrap();
        assert_eq!(ids(&String::from_utf8(run.stdout).unwrap()).len(), shows);
        let told = String::from_utf8(run.stderr).unwrap();
        assert_eq!(told.contains(&said(45)), misses, "{told}");
        assert_eq!(told.contains("trimmed"), misses, "{told}");
    }
}

#[test]
fn a_group_that_is_new_has_missed_nothing() {
    let server = server(false);
    raise(&server, "s", 0, 50);
    server.cmd(&["XTRIM", "anomaly:alerts", "MAXLEN", "10"]);
    for group in ["anomaly", "other"] {
        let run = server
            .anomaly()
            .args(FOLLOW)
            .args(["--once", "--group", group])
            .output();
        let run = run.unwrap();
        assert_eq!(ids(&String::from_utf8(run.stdout).unwrap()).len(), 10);
        assert_eq!(String::from_utf8(run.stderr).unwrap(), "");
    }
}

#[test]
fn a_consumer_whose_output_is_closed_ends_and_the_next_one_goes_on() {
    let (server, dir) = (server(false), Dir::new());
    raise(&server, "s", 0, 2000);
    let mut program = Program::start(&server, &dir, &FOLLOW, Stdio::piped());
    let mut first = String::new();
    let mut out = BufReader::new(program.child.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    drop(out);
    assert_eq!(
        program.ends(),
        Some(0),
        "as for `| head -1`: {}",
        program.said()
    );
    let rest = server
        .anomaly()
        .args(FOLLOW)
        .arg("--once")
        .output()
        .unwrap();
    let rest = ids(&String::from_utf8(rest.stdout).unwrap());
    let mut all: BTreeSet<String> = rest.iter().cloned().collect();
    // Those that were in the pipe are lost to a reader who went; the one that could not be written is shown.
    assert!(rest.len() < 2000);
    all.extend(ids(&first));
    let newest: Vec<String> = server
        .stream("anomaly:alerts")
        .into_iter()
        .map(|(_, fields)| fields[2].1.clone())
        .collect();
    let begin = newest
        .iter()
        .position(|id| Some(id) == rest.first())
        .unwrap();
    assert_eq!(
        rest,
        newest[begin..],
        "everything from the first that was not written on"
    );
}

/// Starts `anomaly WORDS…`, takes the server away once readings come, and gives exit code, output and errors.
fn bereft(words: &[&str], how: &str) -> (Option<i32>, String, String) {
    let (server, dir) = (Server::start(), Dir::new());
    server.cmd(&["ANOMALY.WATCH", "SET", "raw_sensor_data"]);
    let rows: String = (0..20_000)
        .map(|i| format!("{},{i}.5\n", 1_700_000_000 + i))
        .collect();
    let csv = dir.join("pump.csv");
    fs::write(&csv, format!("time,value\n{rows}")).unwrap();
    let csv = csv.to_str().unwrap().to_owned();
    let words: Vec<&str> = words
        .iter()
        .map(|word| if *word == "FILE" { &csv } else { *word })
        .collect();
    let out = dir.join("out");
    let mut program = Program::start(&server, &dir, &words, File::create(&out).unwrap());
    server.wait_until("readings come", || {
        server.info("anomaly")["anomaly_readings"]
            .parse::<u64>()
            .unwrap()
            > 10
    });
    server.signal(how);
    let code = program.ends();
    (code, fs::read_to_string(&out).unwrap(), program.said())
}

#[test]
fn load_and_replay_end_with_a_message_when_the_server_goes_away() {
    for words in [
        &[
            "load", "--rate", "max", "--count", "9999999", "--via", "add",
        ][..],
        &[
            "load", "--rate", "max", "--count", "9999999", "--via", "madd",
        ],
        &["load", "--rate", "20", "--via", "xadd"],
        &["replay", "FILE", "--speed", "20x", "--via", "add"],
        &[
            "replay",
            "FILE",
            "--speed",
            "20x",
            "--via",
            "madd",
            "--pipeline",
            "1",
        ],
        &["replay", "FILE", "--speed", "20x", "--via", "xadd"],
    ] {
        let (code, out, said) = bereft(words, "KILL");
        assert_eq!(code, Some(1), "{words:?}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("anomaly: the server went away: "),
            "{words:?}: {said}"
        );
        // What was sent stands, and is reported.
        assert!(out.contains("readings"), "{words:?}: {out}");
    }
}

#[test]
fn a_server_that_hangs_is_given_up_after_half_a_minute() {
    let (code, _, said) = bereft(&["load", "--rate", "20", "--via", "madd"], "STOP");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the server went away: "), "{said}");
}

#[test]
fn a_consumer_of_a_whole_server_tells_its_text_on_one_line_whatever_is_in_it() {
    let server = server(false);
    let nasty = "s\n\u{1b}[2J\r  id=forged";
    server.cmd(&args!["ANOMALY.ADD", nasty, 1000, 50]);
    for format in ["text", "json"] {
        let words = ["alerts", "--once", "--group", format, "--format", format];
        let out = server.anomaly().args(words).output().unwrap().stdout;
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 1, "{out:?}");
        assert!(!out.trim_end().chars().any(char::is_control), "{out:?}");
    }
    assert_eq!(text(&server.cmd(&["TYPE", nasty])), "anomaly-m");
}
