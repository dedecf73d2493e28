//! Registers the commands of the core's table: flags, keys, ACL categories and COMMAND DOCS all come from there.

use std::ffi::{CString, c_char, c_int};
use std::ptr;

use anomaly_core::command::{Access, Arg, ArgKind, COMMANDS, Keys, Spec};
use redis_module::raw;

use crate::server::{Ctx, OK, api};
use crate::{commands, fence, reply};

/// The name of our ACL category, where the server knows such things.
const CATEGORY: &str = "anomaly";

type Handler = unsafe extern "C" fn(
    *mut raw::RedisModuleCtx,
    *mut *mut raw::RedisModuleString,
    c_int,
) -> c_int;

/// A callback of the server's for each command, by full name.
macro_rules! handlers {
    ($($(#[$when:meta])? $name:literal => $body:path,)*) => {
        fn handler(name: &str) -> Option<Handler> {
            match name {
                $($(#[$when])? $name => {
                    unsafe extern "C" fn called(
                        ctx: *mut raw::RedisModuleCtx,
                        argv: *mut *mut raw::RedisModuleString,
                        argc: c_int,
                    ) -> c_int {
                        fence::command(ctx, argv, argc, $body)
                    }
                    Some(called)
                })*
                _ => None,
            }
        }
    };
}

handlers! {
    "anomaly.add" => commands::add,
    "anomaly.madd" => commands::madd,
    "anomaly.info" => commands::info,
    "anomaly.alerts" => commands::alerts,
    "anomaly.backtest" => commands::backtest,
    "anomaly.ack" => commands::ack,
    "anomaly.reset" => commands::reset,
    "anomaly.watch|set" => commands::watch_set,
    "anomaly.watch|get" => commands::watch_get,
    "anomaly.watch|list" => commands::watch_list,
    "anomaly.watch|del" => commands::watch_del,
    "anomaly.watch|help" => commands::watch_help,
    "anomaly.config|set" => commands::config_set,
    "anomaly.config|get" => commands::config_get,
    "anomaly.config|resolve" => commands::config_resolve,
    "anomaly.config|list" => commands::config_list,
    "anomaly.config|del" => commands::config_del,
    "anomaly.config|export" => commands::config_export,
    "anomaly.config|import" => commands::config_import,
    "anomaly.config|help" => commands::config_help,
    "anomaly._apply" => commands::apply,
    "anomaly._load" => commands::load,
    "anomaly._backlog" => commands::backlog,
    "anomaly._silent" => commands::silent,
    "anomaly._verdict" => reply::of_command,
    #[cfg(debug_assertions)]
    "anomaly._panic" => commands::panic,
}

/// Registers every command.
pub(crate) fn commands(ctx: Ctx) -> Result<(), String> {
    let category = add_category(ctx);
    for spec in COMMANDS {
        register(ctx, spec, None, category)?;
        for sub in spec.subcommands {
            register(ctx, sub, Some(spec.name), category)?;
        }
    }
    internal(ctx, "anomaly._apply", -6, 2)?;
    internal(ctx, "anomaly._load", 3, 1)?;
    internal(ctx, "anomaly._backlog", -3, 0)?;
    internal(ctx, "anomaly._silent", 5, 2)?;
    internal(ctx, "anomaly._verdict", 3, 0)?;
    #[cfg(debug_assertions)]
    internal(ctx, "anomaly._panic", -1, 0)?;
    Ok(())
}

/// Whether commands can be put in a category of our own: before 7.4 servers have none for modules.
fn add_category(ctx: Ctx) -> bool {
    let name = CString::new(CATEGORY).unwrap_or_default();
    // SAFETY: a live context and a C string.
    unsafe {
        { raw::RedisModule_AddACLCategory }
            .is_some_and(|function| function(ctx.raw(), name.as_ptr()) == OK)
    }
}

fn register(ctx: Ctx, spec: &Spec, parent: Option<&str>, category: bool) -> Result<(), String> {
    let full = parent.map_or_else(
        || spec.name.to_owned(),
        |parent| format!("{parent}|{}", spec.name),
    );
    let failed = |what: &str| format!("the server refused the {what} of the command {full}");
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (name, flags) = (text(spec.name), text(&flags(spec)));
    let function = handler(&full);
    if function.is_none() && spec.subcommands.is_empty() {
        return Err(format!("the command {full} has no handler"));
    }
    let (first, last, step) = match spec.keys {
        Keys::None => (0, 0, 0),
        Keys::One(at) | Keys::OneUnless(at, _) => (at, at, 1),
        Keys::Every(step) => (1, -1, step),
    };
    // SAFETY: a live context, C strings that are copied, a callback of the type the server expects.
    let command = unsafe {
        let made = match parent {
            None => api!(RedisModule_CreateCommand(
                ctx.raw(),
                name.as_ptr(),
                function,
                flags.as_ptr(),
                first,
                last,
                step
            )),
            Some(parent) => {
                let parent = api!(RedisModule_GetCommand(ctx.raw(), text(parent).as_ptr()));
                api!(RedisModule_CreateSubcommand(
                    parent,
                    name.as_ptr(),
                    function,
                    flags.as_ptr(),
                    first,
                    last,
                    step
                ))
            }
        };
        if made != OK {
            return Err(failed("name"));
        }
        api!(RedisModule_GetCommand(ctx.raw(), text(&full).as_ptr()))
    };
    // SAFETY: a live command and C strings; the server copies all of the description.
    unsafe {
        if !describe(command, spec) {
            return Err(failed("description"));
        }
        let categories = text(&categories(spec, category));
        if api!(RedisModule_SetCommandACLCategories(
            command,
            categories.as_ptr()
        )) != OK
        {
            return Err(failed("ACL categories"));
        }
    }
    Ok(())
}

fn flags(spec: &Spec) -> String {
    let mut flags = match (spec.access, spec.fast) {
        _ if !spec.subcommands.is_empty() => "",
        (Access::Write, true) => "write deny-oom fast",
        (Access::Write, false) => "write deny-oom",
        (Access::WriteAlways, true) => "write fast",
        (Access::WriteAlways, false) => "write",
        (Access::Read, true) => "readonly fast",
        (Access::Read, false) => "readonly",
    }
    .to_owned();
    if spec.blocking {
        flags += " blocking";
    }
    if let Keys::OneUnless(..) = spec.keys {
        // The server asks the command where its keys are.
        flags += " getkeys-api no-mandatory-keys";
    }
    flags
}

fn categories(spec: &Spec, own: bool) -> String {
    let own = if own { CATEGORY } else { "" };
    let blocking = if spec.blocking { "blocking " } else { "" };
    match spec.subcommands {
        [] => format!("{} {blocking}{own}", spec.categories())
            .trim_end()
            .to_owned(),
        _ => format!("slow {own}").trim_end().to_owned(),
    }
}

/// A command that only replication and loading may use: in no category but `@dangerous`, and refused to clients.
fn internal(ctx: Ctx, name: &str, arity: c_int, key: c_int) -> Result<(), String> {
    let failed = || format!("the server refused the command {name}");
    let function = handler(name).ok_or_else(failed)?;
    let text = CString::new(name).unwrap_or_default();
    let (flags, step) = (c"write".as_ptr(), c_int::from(key > 0));
    let categories = c"write dangerous admin".as_ptr();
    let spec = Spec {
        name: "",
        summary: "Internal: for replication and loading only",
        arity,
        keys: Keys::None,
        args: &[],
        ..anomaly_core::command::reset::SPEC
    };
    // SAFETY: as in `register`.
    let made = unsafe {
        let name = text.as_ptr();
        api!(RedisModule_CreateCommand(
            ctx.raw(),
            name,
            Some(function),
            flags,
            key,
            key,
            step
        )) == OK
            && {
                let command = api!(RedisModule_GetCommand(ctx.raw(), name));
                describe(command, &spec)
                    && api!(RedisModule_SetCommandACLCategories(command, categories)) == OK
            }
    };
    if made { Ok(()) } else { Err(failed()) }
}

/// Gives the server what COMMAND DOCS and COMMAND INFO tell.
///
/// # Safety
/// `command` must be a command of this module that is being registered.
unsafe fn describe(command: *mut raw::RedisModuleCommand, spec: &Spec) -> bool {
    let mut texts = Texts(Vec::new());
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut keys = key_specs(spec);
    let mut nested = Vec::new();
    let mut args = arguments(spec.args, &mut texts, &mut nested);
    let info = raw::RedisModuleCommandInfo {
        version: &raw const version,
        summary: texts.keep(spec.summary),
        complexity: texts.keep(spec.complexity),
        since: texts.keep(spec.since),
        history: ptr::null_mut(),
        tips: ptr::null(),
        arity: spec.arity,
        key_specs: if keys.is_empty() {
            ptr::null_mut()
        } else {
            keys.as_mut_ptr()
        },
        args: if spec.args.is_empty() {
            ptr::null_mut()
        } else {
            args.as_mut_ptr()
        },
    };
    // SAFETY: promised by the caller; all that is pointed to lives until here and is copied.
    unsafe {
        !command.is_null() && api!(RedisModule_SetCommandInfo(command, &raw const info)) == OK
    }
}

/// C strings that live as long as it does.
struct Texts(Vec<CString>);

impl Texts {
    fn keep(&mut self, text: &str) -> *const c_char {
        let text = CString::new(text).unwrap_or_default();
        let start = text.as_ptr();
        self.0.push(text);
        start
    }
}

/// The key specifications and the empty one that ends them; nothing for a command without keys.
fn key_specs(spec: &Spec) -> Vec<raw::RedisModuleCommandKeySpec> {
    let (at, lastkey, keystep) = match spec.keys {
        Keys::None => return Vec::new(),
        Keys::One(at) | Keys::OneUnless(at, _) => (at, 0, 1),
        Keys::Every(step) => (1, -1, step),
    };
    let mut flags = match spec.access {
        Access::Read => raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS,
        _ => {
            raw::REDISMODULE_CMD_KEY_RW
                | raw::REDISMODULE_CMD_KEY_ACCESS
                | raw::REDISMODULE_CMD_KEY_UPDATE
        }
    };
    if let Keys::OneUnless(..) = spec.keys {
        flags |= raw::REDISMODULE_CMD_KEY_INCOMPLETE;
    }
    // SAFETY: plain C structs and unions for which all zeros is the empty value, which also ends an array of them.
    unsafe {
        let end: raw::RedisModuleCommandKeySpec = std::mem::zeroed();
        let mut one: raw::RedisModuleCommandKeySpec = std::mem::zeroed();
        one.flags = u64::from(flags);
        one.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
        one.bs.index.pos = at;
        one.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
        one.fk.range = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 {
            lastkey,
            keystep,
            limit: 0,
        };
        vec![one, end]
    }
}

/// The arguments and the empty one that ends them. Those of blocks are kept in `nested`.
fn arguments(
    args: &[Arg],
    texts: &mut Texts,
    nested: &mut Vec<Vec<raw::RedisModuleCommandArg>>,
) -> Vec<raw::RedisModuleCommandArg> {
    let mut all: Vec<_> = args
        .iter()
        .map(|arg| {
            let mut parts = arguments(arg.parts, texts, nested);
            let subargs = if arg.parts.is_empty() {
                ptr::null_mut()
            } else {
                parts.as_mut_ptr()
            };
            nested.push(parts);
            let optional = if arg.optional {
                raw::REDISMODULE_CMD_ARG_OPTIONAL
            } else {
                0
            };
            let multiple = if arg.multiple {
                raw::REDISMODULE_CMD_ARG_MULTIPLE
            } else {
                0
            };
            raw::RedisModuleCommandArg {
                name: texts.keep(arg.name),
                type_: arg_type(arg.kind),
                key_spec_index: if arg.kind == ArgKind::Key { 0 } else { -1 },
                token: arg.token.map_or(ptr::null(), |token| texts.keep(token)),
                display_text: arg.shown.map_or(ptr::null(), |shown| texts.keep(shown)),
                flags: (optional | multiple) as c_int,
                subargs,
                ..empty_arg()
            }
        })
        .collect();
    all.push(empty_arg());
    all
}

fn empty_arg() -> raw::RedisModuleCommandArg {
    // SAFETY: a plain C struct of pointers and integers, for which all zeros is the empty value.
    unsafe { std::mem::zeroed() }
}

fn arg_type(kind: ArgKind) -> raw::RedisModuleCommandArgType {
    match kind {
        ArgKind::Key => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        ArgKind::Text => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        ArgKind::Integer => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        ArgKind::Double => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_DOUBLE,
        ArgKind::Pattern => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PATTERN,
        ArgKind::UnixTime => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_UNIX_TIME,
        ArgKind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        ArgKind::Block => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
        ArgKind::OneOf => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
    }
}
