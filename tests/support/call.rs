//! Sending commands and getting replies as they are: an error *inside* an array stays where it is.

use crate::reply::error;
use redis::{Cmd, Connection, ConnectionLike, Value};

/// A command with arguments of several types, as [`args!`] makes it.
pub type Args = Vec<Vec<u8>>;

/// `args!["ANOMALY.ADD", key, 1000, 21.5]`: a command from anything that redis takes as an argument.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {{
        let mut args: $crate::Args = Vec::new();
        $(args.extend($crate::__argument(&$arg));)*
        args
    }};
}

#[doc(hidden)]
pub fn __argument<T: redis::ToRedisArgs>(argument: &T) -> Args {
    argument.to_redis_args()
}

fn packed<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut command = Cmd::new();
    for argument in args {
        command.arg(argument.as_ref());
    }
    command.get_packed_command()
}

/// The reply, or the text of the error reply. A broken connection fails the test.
pub fn try_call<A: AsRef<[u8]>>(connection: &mut Connection, args: &[A]) -> Result<Value, String> {
    let reply = connection
        .req_packed_command(&packed(args))
        .unwrap_or_else(|e| panic!("the connection broke at {}: {e}", shown(args)));
    match error(&reply) {
        Some(text) => Err(text),
        None => Ok(reply),
    }
}

/// The reply; an error reply fails the test.
pub fn call<A: AsRef<[u8]>>(connection: &mut Connection, args: &[A]) -> Value {
    try_call(connection, args).unwrap_or_else(|text| panic!("{}: {text}", shown(args)))
}

/// The replies to commands sent in one go, errors among them (see [`error`]).
pub fn call_many(connection: &mut Connection, commands: &[Args]) -> Vec<Value> {
    if commands.is_empty() {
        return Vec::new(); // the client refuses to send nothing
    }
    let bytes: Vec<u8> = commands.iter().flat_map(|args| packed(args)).collect();
    connection
        .send_packed_command(&bytes)
        .expect("the connection takes the commands");
    commands
        .iter()
        .map(|args| receive(connection, args))
        .collect()
}

fn receive(connection: &mut Connection, args: &Args) -> Value {
    loop {
        match connection.recv_response() {
            Ok(Value::Push { .. }) => {}
            Ok(reply) => return reply,
            Err(e) => panic!("the connection broke at {}: {e}", shown(args)),
        }
    }
}

/// A command as a person reads it.
fn shown<A: AsRef<[u8]>>(args: &[A]) -> String {
    let words: Vec<String> = args
        .iter()
        .map(|a| a.as_ref().escape_ascii().to_string())
        .collect();
    words.join(" ")
}
