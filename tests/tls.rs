//! The program over TLS: every subcommand that connects, nodes of a cluster, and what it says where TLS does not come about.

use anomaly_tests::{
    Certificates, Dir, Program, Server, Stop, alert_ids, anomaly, args, free_port, text,
    three_masters, wait_until,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A server that speaks TLS at the second of them, and its certificates.
struct Secured {
    server: Server,
    port: u16,
    certificates: Certificates,
}

impl Secured {
    fn start(settings: &[&str]) -> Self {
        let (certificates, port) = (Certificates::new(), free_port());
        let own = certificates.get("server");
        let mut builder = Server::builder().tls(port, &certificates.ca(), &own);
        for setting in settings {
            builder = builder.config(*setting);
        }
        let server = builder.start();
        server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
        Self {
            server,
            port,
            certificates,
        }
    }

    fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    /// The program with this URL and the options that it takes to trust the server.
    fn trusting(&self, url: &str) -> Command {
        let mut command = anomaly();
        command.env("REDIS_URL", url);
        command.arg("--cacert").arg(self.certificates.ca());
        command
    }
}

fn out(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn ids(lines: &str) -> BTreeSet<String> {
    alert_ids(lines).into_iter().collect()
}

fn written(server: &Server, stream: &str) -> BTreeSet<String> {
    let all = server.stream(stream);
    all.into_iter()
        .map(|(_, fields)| fields[2].1.clone())
        .collect()
}

#[test]
fn every_subcommand_that_connects_does_so_over_tls() {
    // A user and a database of the URL hold as without TLS; nobody may come without a certificate.
    let secured = Secured::start(&["tls-auth-clients yes"]);
    let (server, dir) = (&secured.server, Dir::new());
    server.cmd(&[
        "ACL",
        "SETUSER",
        "program",
        "on",
        ">secret",
        "allcommands",
        "allkeys",
    ]);
    let client = secured.certificates.sign("ca", "client", "DNS:client");
    let url = format!("rediss://program:secret@127.0.0.1:{}/0", secured.port);
    // Connections that there are stay, those to come can only be over TLS.
    assert_eq!(text(&server.cmd(&["PING"])), "PONG");
    server.cmd(&["CONFIG", "SET", "port", "0"]);
    let run = |words: &[&str]| {
        let mut command = secured.trusting(&url);
        command.arg("--cert").arg(&client.file);
        command.arg("--cert-key").arg(&client.key);
        out(&command.args(words).output().unwrap())
    };
    let rules = dir.join("rules.json");
    let document = r#"{"watches":[{"pattern":"raw_sensor_data"}],"rules":[{"pattern":"*","settings":{"max":40}}]}"#;
    fs::write(&rules, document).unwrap();
    let pushed = run(&["config", "push", rules.to_str().unwrap()]);
    assert_eq!(
        pushed,
        format!(
            "127.0.0.1:{}: imported and verified, 1 rules, 1 watches\n",
            secured.port
        )
    );
    let csv = dir.join("pump.csv");
    fs::write(
        &csv,
        "time,value\n1700000000,5\n1700000001,55\n1700000002,5\n",
    )
    .unwrap();
    for via in ["add", "madd", "xadd"] {
        let load = ["load", "--sensors", "2", "--count", "50", "--rate", "max"];
        run(&[&load[..], &["--via", via, "--device", via]].concat());
        let key = format!("pump:{via}");
        let replay = ["replay", csv.to_str().unwrap(), "--via", via];
        run(&[&replay[..], &["--key", &key]].concat());
    }
    let readings: u64 = server.info("anomaly")["anomaly_readings"].parse().unwrap();
    assert!(readings >= 3 * 3, "{readings}");
    let shown = ids(&run(&["alerts", "--once", "--format", "json"]));
    assert!(!shown.is_empty());
    assert_eq!(shown, written(server, "anomaly:alerts"));

    let nab = dir.join("nab");
    fs::create_dir_all(nab.join("data/plant")).unwrap();
    fs::create_dir_all(nab.join("labels")).unwrap();
    let rows: String = (0..60)
        .map(|minute| format!("2014-04-01 00:{minute:02}:00,{}\n", minute % 7))
        .collect();
    fs::write(
        nab.join("data/plant/p.csv"),
        format!("timestamp,value\n{rows}"),
    )
    .unwrap();
    let window = r#"{"plant/p.csv": [["2014-04-01 00:40:00", "2014-04-01 00:50:00"]]}"#;
    fs::write(nab.join("labels/combined_windows.json"), window).unwrap();
    run(&["evaluate", "--nab", nab.to_str().unwrap()]);
}

/// What the program says, and that it fails.
fn complaint(command: &mut Command) -> String {
    let output = command.args(["alerts", "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn what_is_wrong_with_tls_is_said_in_words() {
    let secured = Secured::start(&[]);
    let made = &secured.certificates;
    let other = made.authority("other");
    let foreign = made.sign("other", "foreign", "DNS:client");
    let (url, plain) = (secured.url(), secured.server.url());
    let secured_plain = format!("rediss://localhost:{}", secured.server.port());
    let unencrypted = format!("redis://localhost:{}", secured.port);
    let (ca, server, other) = (made.ca(), made.get("server"), other.file);
    let show = |path: &Path| path.to_str().unwrap().to_owned();
    let [ca, server_crt, server_key, other] =
        [&ca, &server.file, &server.key, &other].map(|p| show(p));
    let [foreign_crt, foreign_key] = [&foreign.file, &foreign.key].map(|p| show(p));
    let expect = |url: &str, options: &[&str], words: &str| {
        let said = complaint(anomaly().args(["--url", url]).args(options));
        assert!(said.contains(words), "{url} {options:?}: {said}");
    };
    // Whom to trust.
    expect(
        &url,
        &[],
        "signed by no authority that this system trusts (--cacert FILE",
    );
    expect(
        &url,
        &["--cacert", &other],
        "signed by none of the authorities in --cacert",
    );
    for (alternative, words) in [
        (
            made.sign("ca", "elsewhere", "DNS:elsewhere.example"),
            "certificate not valid for name \"localhost\"",
        ),
        (made.get("ca"), "its certificate is that of an authority"),
    ] {
        let [file, key] = [&alternative.file, &alternative.key].map(|p| show(p));
        secured.server.cmd(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &file,
            "tls-key-file",
            &key,
        ]);
        expect(&url, &["--cacert", &ca], words);
        let insecure = ["--url", &url, "--insecure", "alerts", "--once"];
        out(&anomaly().args(insecure).output().unwrap());
    }
    secured.server.cmd(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        &server_crt,
        "tls-key-file",
        &server_key,
    ]);
    // One side with TLS, the other without.
    expect(
        &secured_plain,
        &["--cacert", &ca],
        "if that port is one without TLS, the URL is redis://",
    );
    expect(&unencrypted, &[], "if it speaks TLS, the URL is rediss://");
    expect(
        &plain,
        &["--cacert", &ca],
        "--cacert is for servers that speak TLS: their --url begins with rediss://",
    );
    expect(
        &plain,
        &["--insecure"],
        "--insecure is for servers that speak TLS",
    );
    // Files.
    expect(
        &url,
        &["--cacert", "no-such-file"],
        "--cacert 'no-such-file' cannot be read: No such file",
    );
    expect(
        &url,
        &["--cacert", &server_key],
        "holds no certificate (-----BEGIN CERTIFICATE-----)",
    );
    expect(
        &url,
        &["--cert", &server_crt],
        "does not hold its private key too: --cert-key FILE names it",
    );
    expect(
        &url,
        &["--cert-key", &server_key],
        "--cert-key needs --cert FILE",
    );
    expect(
        &url,
        &["--cert", &server_crt, "--cert-key", &foreign_key],
        "is not that of --cert",
    );
    expect(
        &url,
        &["--cert", &server_crt, "--cert-key", &server_crt],
        "holds no private key that can be read",
    );
    // Who we are; the older version tells it in the middle of its handshake, the newer one afterwards.
    secured
        .server
        .cmd(&["CONFIG", "SET", "tls-auth-clients", "yes"]);
    for version in ["TLSv1.2", "TLSv1.3"] {
        secured
            .server
            .cmd(&["CONFIG", "SET", "tls-protocols", version]);
        expect(
            &url,
            &["--cacert", &ca],
            "it wants a certificate of ours: --cert FILE and --cert-key FILE",
        );
        expect(
            &url,
            &[
                "--cacert",
                &ca,
                "--cert",
                &foreign_crt,
                "--cert-key",
                &foreign_key,
            ],
            "it does not accept the certificate in --cert",
        );
    }
}

fn follow(command: &mut Command) -> Program {
    Program::start(command.args(["alerts", "--format", "json"]))
}

#[test]
fn alerts_are_followed_on_over_tls_when_the_server_was_away() {
    let mut secured = Secured::start(&["appendonly yes", "appendfsync no"]);
    let follower = follow(&mut secured.trusting(&secured.url()));
    for round in 1..=3 {
        let server = &secured.server;
        for at in 0..10 {
            let (at, value) = (1000 * (10 * round + at), if at % 2 == 0 { 50 } else { 5 });
            server.cmd(&args!["ANOMALY.ADD", "s", at, value]);
        }
        let all = written(server, "anomaly:alerts");
        assert_eq!(all.len(), 10 * round);
        wait_until("all are shown", || ids(&follower.shown()) == all);
        if round < 3 {
            secured.server.stop(Stop::Kill9);
            wait_until("it says so", || {
                follower.said().matches("lost Redis").count() == round
            });
            secured.server.start_again();
        }
    }
    assert_eq!(follower.said().matches("is back").count(), 2);
}

/// Nodes are found by the names that they announce, since certificates are made out to names; with a certificate of ours.
#[test]
fn the_nodes_of_a_cluster_are_followed_and_given_rules_over_tls() {
    let made = Certificates::new();
    let named = made.sign("ca", "named", "DNS:localhost");
    let client = made.sign("ca", "client", "DNS:client");
    let ports = [free_port(), free_port(), free_port()];
    let node = |port| {
        Server::builder()
            .tls(port, &made.ca(), &named)
            .config("tls-cluster yes")
            .config("tls-auth-clients yes")
            .config("cluster-announce-hostname localhost")
            .config("cluster-preferred-endpoint-type hostname")
    };
    let nodes = three_masters(ports.map(node), Some(ports[0]));
    for node in &nodes {
        node.wait_until("it knows the names", || {
            let told = text(&node.cmd(&["CLUSTER", "NODES"]));
            told.matches(",localhost").count() == 3
        });
    }
    let program = || {
        let mut command = anomaly();
        command.env("REDIS_URL", format!("rediss://localhost:{}", ports[0]));
        command.arg("--cacert").arg(made.ca());
        command.arg("--cert").arg(&client.file);
        command.arg("--cert-key").arg(&client.key);
        command
    };
    let dir = Dir::new();
    let rules = dir.join("rules.json");
    fs::write(
        &rules,
        r#"{"rules":[{"pattern":"*","settings":{"max":10}}]}"#,
    )
    .unwrap();
    let pushed = program().args(["config", "push"]).arg(&rules).output();
    let mut pushed: Vec<String> = out(&pushed.unwrap()).lines().map(String::from).collect();
    pushed.sort();
    let mut expected: Vec<String> = ports
        .iter()
        .map(|port| format!("localhost:{port}: imported and verified, 1 rules, 0 watches"))
        .collect();
    expected.sort();
    assert_eq!(pushed, expected);

    let follower = follow(&mut program());
    // A tag of each node; the sensors of the second round come while it follows.
    for round in [1, 2] {
        let mut all = BTreeSet::new();
        for (node, tag) in nodes.iter().zip(["b", "c", "a"]) {
            node.cmd(&args!["ANOMALY.ADD", format!("{{{tag}}}:{round}"), "*", 50]);
            all.extend(written(node, &format!("anomaly:alerts:{{{tag}}}")));
        }
        assert_eq!(all.len(), 3 * round);
        wait_until("all are shown", || ids(&follower.shown()) == all);
    }
    assert_eq!(follower.said(), "");
}
