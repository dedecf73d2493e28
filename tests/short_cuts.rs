//! What rests on how a server works inside, and on nothing that is promised, is done on servers that were looked at and on no other.

use anomaly_tests::{Server, args};

/// Major and minor version, those of Valkey first where it is one.
fn version(server: &Server) -> (bool, (u32, u32)) {
    let info = server.info("server");
    let valkey = info.get("valkey_version");
    let version = valkey.unwrap_or(&info["redis_version"]);
    let numbers: Vec<u32> = version.split('.').map(|n| n.parse().unwrap()).collect();
    (valkey.is_some(), (numbers[0], numbers[1]))
}

fn figure(server: &Server, name: &str) -> u64 {
    server.info("anomaly")[&format!("anomaly_{name}")]
        .parse()
        .unwrap()
}

#[test]
fn short_cuts_are_taken_on_servers_that_were_looked_at_and_on_no_other() {
    let server = Server::start();
    let (is_valkey, version) = version(&server);
    let newest = if is_valkey { (8, 1) } else { (8, 0) };
    let looked_at = version <= newest;
    // Of who hears one more release was looked at.
    let quiet = looked_at || !is_valkey && version <= (8, 2);
    let mut servers = vec![server];
    if is_valkey {
        // It calls itself Redis then, where clients ask.
        let line = "extended-redis-compatibility yes";
        servers.push(Server::builder().config(line).start());
    }
    for server in servers {
        for round in 0..3 {
            let mut readings = args!["ANOMALY.MADD"];
            for sensor in 0..20 {
                readings.extend(args![format!("s:{sensor}"), 1000 + round, round]);
            }
            server.cmd(&readings);
        }
        assert_eq!(figure(&server, "archived"), 60);
        let shortened = figure(&server, "replies_shortened");
        assert_eq!(shortened > 0, looked_at, "{version:?}: {shortened}");
        assert_eq!(figure(&server, "quiet"), u64::from(quiet), "{version:?}");
        let told = server
            .log()
            .contains("newer than those that were looked at");
        assert_eq!(told, !looked_at, "{version:?}");
    }
}
