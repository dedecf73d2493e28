//! The commands: one file each with its specification, its parser and its reply, all as values.
//!
//! [`COMMANDS`] is the one table: registration, ACL categories, COMMAND DOCS, HELP and the README are made from it.

pub mod ack;
pub mod add;
pub mod alerts;
pub mod backtest;
pub mod config;
pub mod info;
pub mod madd;
pub mod reset;
pub mod watch;

/// Every command a client may use.
pub const COMMANDS: &[Spec] = &[
    add::SPEC,
    madd::SPEC,
    config::SPEC,
    watch::SPEC,
    info::SPEC,
    alerts::SPEC,
    ack::SPEC,
    backtest::SPEC,
    reset::SPEC,
];

/// What a command is, for the server and for people.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// In lower case; of a subcommand its own word only.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What it replies.
    pub reply: &'static str,
    /// Time complexity.
    pub complexity: &'static str,
    /// The version it came with.
    pub since: &'static str,
    /// Number of words, the command's own included; negative: at least.
    pub arity: i32,
    /// Whether it writes, reads or neither.
    pub access: Access,
    /// Whether it decides over every sensor or stream, whatever keys a user may touch: `@admin @dangerous` in place of
    /// `@write`.
    pub admin: bool,
    /// Whether it takes constant time.
    pub fast: bool,
    /// Whether its client may have to wait while others go on.
    pub blocking: bool,
    /// Where its keys are.
    pub keys: Keys,
    /// Its arguments, in order.
    pub args: &'static [Arg],
    /// Its subcommands; a command with any cannot be called without.
    pub subcommands: &'static [Self],
}

/// What a command does to the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may change keys or rules, and needs memory for it.
    Write,
    /// It changes keys or rules and needs no memory.
    WriteAlways,
    /// It only looks.
    Read,
}

/// Where the keys of a command are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// One, at that position.
    One(i32),
    /// One, at that position, unless that word stands there.
    OneUnless(i32, &'static str),
    /// From the first argument on, every n-th argument.
    Every(i32),
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// As it is called in the syntax.
    pub name: &'static str,
    /// What the syntax calls it, where that is not its name: names are unique within a command, `field` is not.
    pub shown: Option<&'static str>,
    /// What it is.
    pub kind: ArgKind,
    /// The word before it, or, of a [`ArgKind::Token`], the word it is.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// The parts of a [`ArgKind::Block`] or [`ArgKind::OneOf`].
    pub parts: &'static [Self],
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// A key.
    Key,
    /// Any bytes.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A glob.
    Pattern,
    /// Unix time.
    UnixTime,
    /// A word that stands for itself.
    Token,
    /// Several in a row.
    Block,
    /// One of several.
    OneOf,
}

impl Arg {
    const fn new(name: &'static str, kind: ArgKind) -> Self {
        Self {
            name,
            shown: None,
            kind,
            token: None,
            optional: false,
            multiple: false,
            parts: &[],
        }
    }
    const fn key() -> Self {
        Self::new("key", ArgKind::Key)
    }
    const fn word(name: &'static str, word: &'static str) -> Self {
        Self {
            token: Some(word),
            ..Self::new(name, ArgKind::Token)
        }
    }
    const fn of(name: &'static str, kind: ArgKind, parts: &'static [Self]) -> Self {
        Self {
            parts,
            ..Self::new(name, kind)
        }
    }
    const fn shown(self, text: &'static str) -> Self {
        Self {
            shown: Some(text),
            ..self
        }
    }
    const fn after(self, token: &'static str) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }
    const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
    const fn multiple(self) -> Self {
        Self {
            multiple: true,
            ..self
        }
    }

    /// The argument as the syntax shows it.
    #[must_use]
    pub fn syntax(&self) -> String {
        let parts = |by: &str| {
            self.parts
                .iter()
                .map(Self::syntax)
                .collect::<Vec<_>>()
                .join(by)
        };
        let inner = match self.kind {
            ArgKind::Token => self.token.unwrap_or(self.name).to_owned(),
            ArgKind::Block => parts(" "),
            ArgKind::OneOf => parts("|"),
            _ => self.shown.unwrap_or(self.name).to_owned(),
        };
        let inner = match self.token.filter(|_| self.kind != ArgKind::Token) {
            Some(token) => format!("{token} {inner}"),
            None => inner,
        };
        match (self.optional, self.multiple) {
            (true, false) => format!("[{inner}]"),
            (true, true) => format!("[{inner} …]"),
            (false, true) => format!("{inner} [{inner} …]"),
            (false, false) => inner,
        }
    }
}

impl Spec {
    /// The ACL categories that every server has, without the `@`.
    #[must_use]
    pub const fn categories(&self) -> &'static str {
        match (self.access, self.admin, self.fast) {
            (Access::Read, _, true) => "read fast",
            (Access::Read, _, false) => "read slow",
            (_, true, _) => "admin dangerous slow",
            (_, false, true) => "write fast",
            (_, false, false) => "write slow",
        }
    }

    /// The whole syntax, `ANOMALY.ADD key timestamp|* value [EXPLAIN]`; `parent` is the container of a subcommand.
    #[must_use]
    pub fn syntax(&self, parent: Option<&str>) -> String {
        let name = parent.map_or_else(String::new, |parent| format!("{parent} ")) + self.name;
        std::iter::once(name.to_ascii_uppercase())
            .chain(self.args.iter().map(Arg::syntax))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The help lines of a container command, as `XGROUP HELP` gives them.
fn subcommand_help(spec: &Spec) -> Vec<String> {
    let name = spec.name.to_ascii_uppercase();
    let mut lines = vec![format!(
        "{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    )];
    for sub in spec.subcommands {
        let syntax = sub.syntax(Some(spec.name));
        lines.push(syntax.trim_start_matches(&name).trim_start().to_owned());
        lines.push(format!("    {}.", sub.summary));
    }
    lines
}

const fn read(name: &'static str, summary: &'static str, arity: i32, args: &'static [Arg]) -> Spec {
    Spec {
        name,
        summary,
        reply: "",
        complexity: "O(1)",
        since: "0.1.0",
        arity,
        access: Access::Read,
        admin: false,
        fast: false,
        blocking: false,
        keys: Keys::None,
        args,
        subcommands: &[],
    }
}

/// A write to the rules or watches, which hold for all keys.
const fn administer(
    name: &'static str,
    summary: &'static str,
    arity: i32,
    args: &'static [Arg],
) -> Spec {
    Spec {
        admin: true,
        ..write(name, summary, arity, args)
    }
}

const fn write(
    name: &'static str,
    summary: &'static str,
    arity: i32,
    args: &'static [Arg],
) -> Spec {
    Spec {
        access: Access::Write,
        ..read(name, summary, arity, args)
    }
}

/// A reply, for the module to send in the client's protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A simple string.
    Simple(&'static str),
    /// A bulk string.
    Text(Vec<u8>),
    /// An integer.
    Int(i64),
    /// A double: on RESP2 a bulk string.
    Double(f64),
    /// Nothing.
    Null,
    /// An array.
    Array(Vec<Reply>),
    /// A map: on RESP2 flat pairs. New names are only ever appended.
    Map(Vec<(Vec<u8>, Reply)>),
    /// An error in its place.
    Error(String),
}

impl Reply {
    pub(crate) fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().to_vec())
    }
    fn count(n: impl TryInto<i64>) -> Self {
        Self::Int(n.try_into().unwrap_or(i64::MAX))
    }
    pub(crate) fn double(x: Option<f64>) -> Self {
        x.map_or(Self::Null, Self::Double)
    }
    fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Map(
            pairs
                .into_iter()
                .map(|(name, reply)| (name.as_bytes().to_vec(), reply))
                .collect(),
        )
    }
}

#[cfg(test)]
mod docs;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
