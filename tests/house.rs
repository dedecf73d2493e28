//! The suite's own ground: servers that do not outlive their test, a set-up that is done once.

use anomaly_tests::{Dir, Server, Stop, args, bootstrap, text, wait_until};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, io};

fn bare() -> Server {
    Server::builder()
        .without_module()
        .without_timeseries()
        .start()
}

fn runs(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_dropped_server_is_gone_with_its_files() {
    let server = bare();
    let (pid, dir) = (server.pid(), server.dir().path().to_owned());
    assert_eq!(text(&server.cmd(&["PING"])), "PONG");
    assert!(runs(pid) && dir.exists());
    drop(server);
    assert!(!runs(pid) && !dir.exists());
}

#[test]
fn a_server_dies_with_a_killed_test_process() {
    let mut holder = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "house::holds_a_server",
            "--ignored",
            "--nocapture",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("server ")?.parse().ok());
    let pid: u32 = pid.expect("the other process tells its server");
    assert!(runs(pid));
    holder.kill().unwrap(); // SIGKILL: no destructor runs
    holder.wait().unwrap();
    wait_until("the server of the killed process is gone", || !runs(pid));
}

#[test]
#[ignore = "the other process of a_server_dies_with_a_killed_test_process"]
fn holds_a_server() {
    let server = bare();
    println!("\nserver {}", server.pid());
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_restarted_server_has_what_it_saved_and_no_more() {
    let mut server = bare();
    server.cmd(&args!["SET", "kept", 1]);
    server.restart(Stop::Save);
    assert_eq!(text(&server.cmd(&["GET", "kept"])), "1");
    server.cmd(&args!["SET", "lost", b"\xff\0".as_slice()]);
    server.restart(Stop::NoSave);
    assert_eq!(text(&server.cmd(&["EXISTS", "kept", "lost"])), "1");
    server.cmd(&["SET", "lost", "1"]);
    server.kill9();
    assert!(server.ended());
    server.start_again();
    assert_eq!(text(&server.cmd(&["EXISTS", "kept", "lost"])), "1");
}

#[test]
fn an_append_only_file_survives_a_kill() {
    let mut server = Server::builder()
        .without_module()
        .without_timeseries()
        .aof()
        .start();
    server.cmd(&["SET", "kept", "1"]);
    server.kill9();
    server.start_again();
    assert_eq!(text(&server.cmd(&["GET", "kept"])), "1");
}

#[test]
fn a_replica_in_sync_has_every_write() {
    let master = bare();
    let replica = Server::builder()
        .without_module()
        .without_timeseries()
        .replica_of(&master)
        .start();
    for i in 0..200 {
        master.cmd(&args!["RPUSH", "list", i]);
    }
    master.replica_in_sync(&replica);
    assert_eq!(text(&replica.cmd(&["LLEN", "list"])), "200");
    assert_eq!(master.digest("list"), replica.digest("list"));
}

#[test]
fn a_cluster_of_one_takes_writes() {
    let server = Server::builder()
        .without_module()
        .without_timeseries()
        .cluster()
        .start();
    server.cmd(&["SET", "a", "1"]);
    assert!(
        server
            .refuses(&["MSET", "a", "1", "b", "2"])
            .starts_with("CROSSSLOT ")
    );
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let refused = Server::builder()
        .without_module()
        .without_timeseries()
        .config("no-such-setting 1")
        .try_start();
    let refused = refused.expect_err("the setting does not exist");
    assert!(refused.log.contains("no-such-setting"), "{}", refused.log);
    assert_eq!(refused.status.code(), Some(1));
}

/// Without Python nothing can be downloaded, which the second assertion makes sure of.
#[test]
fn setting_up_again_downloads_nothing() {
    let first = bootstrap(&["default"], &[]);
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    let no_python = ("PYTHON", "no-such-python");
    let second = bootstrap(&["default"], &[no_python]);
    assert!(
        second.status.success(),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );

    let empty = Dir::new();
    let fresh = bootstrap(
        &["redis74"],
        &[
            no_python,
            ("BOOTSTRAP_CACHE", empty.path().to_str().unwrap()),
        ],
    );
    let said = String::from_utf8_lossy(&fresh.stderr);
    assert_eq!(fresh.status.code(), Some(2), "{said}");
    assert!(
        said.contains("no-such-python is missing: install Python 3 with pip"),
        "{said}"
    );
}

#[test]
fn two_set_ups_at_once_wait_for_each_other() {
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bootstrap(&["default"], &[])))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for output in outputs {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
