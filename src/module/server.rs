//! The server's module API in safe Rust: contexts, strings, keys, calls. Nearly all `unsafe` of the project is here.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::marker::PhantomData;
use std::ptr;

use anomaly_core::text::shown;
use anomaly_core::units::Timestamp;
use redis_module::raw;

/// What a callback returns when all is well.
pub(crate) const OK: c_int = raw::REDISMODULE_OK as c_int;
/// What a callback returns otherwise.
pub(crate) const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// Calls a function of the module API. [`check_version`] has seen to it that the server has it.
macro_rules! api {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match raw::$name {
            Some(function) => function($($arg),*),
            None => unreachable!(concat!(stringify!($name), " is missing although the version was checked")),
        }
    };
}
pub(crate) use api;

/// The oldest server that has all we need.
const OLDEST: (u32, u32) = (7, 2);

/// Refuses servers that are too old, before anything they lack is called.
pub(crate) fn check_version() -> Result<(), String> {
    // SAFETY: reads a function pointer that the server set, and calls it if there is one.
    let version =
        unsafe { { raw::RedisModule_GetServerVersion }.map_or(0, |function| function()) } as u32;
    let (major, minor) = (version >> 16, version >> 8 & 0xff);
    // SAFETY: reads a function pointer that the server set.
    let jobs = unsafe { raw::RedisModule_AddPostNotificationJob };
    if (major, minor) < OLDEST || jobs.is_none() {
        return Err(format!(
            "this server is version {major}.{minor}, the anomaly module needs Redis {}.{} or later, or Valkey 8.0 or later",
            OLDEST.0, OLDEST.1
        ));
    }
    Ok(())
}

/// One line in the server's log; without a context it cannot tell whose it is.
pub(crate) fn log(ctx: Option<Ctx>, level: &str, text: &str) {
    let (Ok(level), Ok(text)) = (
        CString::new(level),
        CString::new(text.replace('\0', "\\x00")),
    ) else {
        return;
    };
    let ctx = ctx.map_or(ptr::null_mut(), Ctx::raw);
    // SAFETY: a live context or null; the format has one %s, for which one C string is given.
    unsafe {
        api!(RedisModule_Log(
            ctx,
            level.as_ptr(),
            c"%s".as_ptr(),
            text.as_ptr()
        ))
    }
}

/// A context: the server's side of a call. Valid for as long as the callback that got it.
#[derive(Clone, Copy)]
pub(crate) struct Ctx(*mut raw::RedisModuleCtx);

impl Ctx {
    /// # Safety
    /// `ctx` must be a live context of the server, or null where the functions used with it allow that.
    pub(crate) unsafe fn new(ctx: *mut raw::RedisModuleCtx) -> Self {
        Self(ctx)
    }

    pub(crate) fn raw(self) -> *mut raw::RedisModuleCtx {
        self.0
    }

    pub(crate) fn notice(self, text: &str) {
        log(Some(self), "notice", text);
    }

    pub(crate) fn warn(self, text: &str) {
        log(Some(self), "warning", text);
    }

    /// The server's clock as of the start of the command or script, so that `*` is one instant in it.
    pub(crate) fn now(self) -> Timestamp {
        // SAFETY: both take no arguments and have no effect.
        let micros = unsafe {
            match raw::RedisModule_CachedMicroseconds {
                Some(function) => function(),
                None => api!(RedisModule_Milliseconds()) * 1000,
            }
        };
        Timestamp::from_millis(micros / 1000).unwrap_or(Timestamp::ZERO)
    }

    fn flags(self) -> u32 {
        // SAFETY: a live context, or null, which stands for the server in general.
        unsafe { api!(RedisModule_GetContextFlags(self.0)) as u32 }
    }

    /// Whether this server takes the decisions: it is no replica and is not loading, and what is running was not sent by
    /// a master. Only then may it write alerts.
    pub(crate) fn decides(self) -> bool {
        let told = raw::REDISMODULE_CTX_FLAGS_SLAVE
            | raw::REDISMODULE_CTX_FLAGS_REPLICATED
            | raw::REDISMODULE_CTX_FLAGS_LOADING;
        self.flags() & told == 0
    }

    /// Whether what is running was sent by a master or is read from a file.
    pub(crate) fn is_replaying(self) -> bool {
        self.flags() & (raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING)
            != 0
    }

    /// Whether a child is rewriting the AOF and something may be passed on: while a failover is being prepared, the
    /// server takes that for a bug and ends.
    pub(crate) fn rewrites_aof(self) -> bool {
        // SAFETY: a live context and C strings; what is asked for is freed.
        unsafe {
            let paused = { raw::RedisModule_AvoidReplicaTraffic }.is_none_or(|asked| asked() != 0);
            let info = api!(RedisModule_GetServerInfo(self.0, c"persistence".as_ptr()));
            let field = c"aof_rewrite_in_progress".as_ptr();
            let rewrites = api!(RedisModule_ServerInfoGetFieldUnsigned(
                info,
                field,
                ptr::null_mut()
            ));
            api!(RedisModule_FreeServerInfo(self.0, info));
            rewrites == 1 && !paused
        }
    }

    pub(crate) fn is_cluster(self) -> bool {
        self.flags() & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
    }

    pub(crate) fn db(self) -> c_int {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_GetSelectedDb(self.0)) }
    }

    pub(crate) fn select(self, db: c_int) -> bool {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_SelectDb(self.0, db)) == OK }
    }

    pub(crate) fn string(self, bytes: &[u8]) -> OwnedStr {
        // SAFETY: a null context makes a string that is ours alone to free; the bytes are copied.
        let raw = unsafe {
            api!(RedisModule_CreateString(
                ptr::null_mut(),
                bytes.as_ptr().cast(),
                bytes.len()
            ))
        };
        OwnedStr(raw)
    }

    /// Passes the command on to replicas and the AOF as it came.
    pub(crate) fn replicate_verbatim(self) {
        // SAFETY: a live context of a command.
        unsafe { api!(RedisModule_ReplicateVerbatim(self.0)) };
    }

    /// Passes another command on, after those passed on before and in one transaction with them.
    pub(crate) fn replicate(self, command: &CStr, args: &[Str<'_>]) {
        let argv = args.as_ptr().cast::<*mut raw::RedisModuleString>();
        // SAFETY: "v" takes an array of strings and its length, and `Str` is nothing but a pointer to one; the server
        // counts its own references to the strings.
        unsafe {
            api!(RedisModule_Replicate(
                self.0,
                command.as_ptr(),
                c"v".as_ptr(),
                argv,
                args.len()
            ))
        };
    }

    /// Runs a command of the server. With `replicated` it is passed on as well, as the server has resolved it.
    pub(crate) fn call(self, command: &CStr, replicated: bool, args: &[Str<'_>]) -> Called {
        let argv = args.as_ptr().cast::<*mut raw::RedisModuleString>();
        let format = if replicated { c"!v" } else { c"v" };
        // SAFETY: as for `replicate`; the reply is freed by `Called`.
        let reply = unsafe {
            api!(RedisModule_Call(
                self.0,
                command.as_ptr(),
                format.as_ptr(),
                argv,
                args.len()
            ))
        };
        Called::of(reply)
    }

    /// Tells keyspace subscribers of an event at a key.
    pub(crate) fn notify(self, event: &CStr, key: Str<'_>) {
        // SAFETY: a live context, a C string and a live string.
        unsafe {
            api!(RedisModule_NotifyKeyspaceEvent(
                self.0,
                raw::REDISMODULE_NOTIFY_MODULE as c_int,
                event.as_ptr(),
                key.0
            ))
        };
    }

    /// Tells whoever watches or caches a key that it has changed. Opening it to change it does not: a request that is
    /// refused has changed nothing.
    pub(crate) fn modified(self, name: Str<'_>) {
        // SAFETY: a live context and string.
        unsafe { api!(RedisModule_SignalModifiedKey(self.0, name.0)) };
    }

    pub(crate) fn reply_simple(self, text: &CStr) {
        // SAFETY: a live context and a C string.
        unsafe { api!(RedisModule_ReplyWithSimpleString(self.0, text.as_ptr())) };
    }

    pub(crate) fn reply_error(self, text: &str) {
        let text = CString::new(text.replace(['\0', '\r', '\n'], " ")).unwrap_or_default();
        // SAFETY: a live context and a C string.
        unsafe { api!(RedisModule_ReplyWithError(self.0, text.as_ptr())) };
    }

    pub(crate) fn reply_bytes(self, bytes: &[u8]) {
        // SAFETY: a live context; the bytes are copied.
        unsafe {
            api!(RedisModule_ReplyWithStringBuffer(
                self.0,
                bytes.as_ptr().cast(),
                bytes.len()
            ))
        };
    }

    pub(crate) fn reply_int(self, n: i64) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithLongLong(self.0, n)) };
    }

    pub(crate) fn reply_double(self, x: f64) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithDouble(self.0, x)) };
    }

    pub(crate) fn reply_null(self) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithNull(self.0)) };
    }

    pub(crate) fn reply_array(self, len: usize) {
        // SAFETY: a live context; the caller replies `len` times more.
        unsafe { api!(RedisModule_ReplyWithArray(self.0, len as c_long)) };
    }

    pub(crate) fn reply_map(self, len: usize) {
        // SAFETY: a live context; the caller replies `len` pairs more.
        unsafe { api!(RedisModule_ReplyWithMap(self.0, len as c_long)) };
    }

    pub(crate) fn reply_wrong_arity(self) {
        // SAFETY: a live context of a command.
        unsafe { api!(RedisModule_WrongArity(self.0)) };
    }
}

/// The arguments of a command, its name first.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a>(&'a [*mut raw::RedisModuleString]);

impl<'a> Args<'a> {
    /// # Safety
    /// `argv` must point to `argc` live strings that outlive `'a`.
    pub(crate) unsafe fn new(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Self {
        let len = usize::try_from(argc).unwrap_or(0);
        if argv.is_null() || len == 0 {
            return Self(&[]);
        }
        // SAFETY: promised by the caller.
        Self(unsafe { std::slice::from_raw_parts(argv, len) })
    }

    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(self, index: usize) -> Option<Str<'a>> {
        self.0.get(index).map(|raw| Str(*raw, PhantomData))
    }

    pub(crate) fn bytes(self, index: usize) -> &'a [u8] {
        self.get(index).map_or(&[], Str::bytes)
    }

    /// The arguments from `from` on.
    pub(crate) fn rest(self, from: usize) -> Vec<&'a [u8]> {
        (from..self.len()).map(|index| self.bytes(index)).collect()
    }
}

/// A string of the server's, borrowed. An array of them is what the server takes for arguments.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Str<'a>(*mut raw::RedisModuleString, PhantomData<&'a ()>);

impl<'a> Str<'a> {
    /// # Safety
    /// `string` must be a live string that outlives `'a`.
    pub(crate) unsafe fn new(string: *const raw::RedisModuleString) -> Self {
        Self(string.cast_mut(), PhantomData)
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: a live string; what is returned lives as long as it.
        unsafe {
            let start = api!(RedisModule_StringPtrLen(self.0, &raw mut len));
            if start.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(start.cast(), len)
            }
        }
    }
}

/// A string of the server's that is ours.
pub(crate) struct OwnedStr(*mut raw::RedisModuleString);

impl OwnedStr {
    pub(crate) fn borrow(&self) -> Str<'_> {
        Str(self.0, PhantomData)
    }

    pub(crate) fn raw(&self) -> *mut raw::RedisModuleString {
        self.0
    }

    /// Gives it to the server to free.
    pub(crate) fn into_raw(self) -> *mut raw::RedisModuleString {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for OwnedStr {
    fn drop(&mut self) {
        // SAFETY: made with a null context, and freed only here.
        unsafe { api!(RedisModule_FreeString(ptr::null_mut(), self.0)) }
    }
}

/// Borrows them all.
pub(crate) fn borrowed(all: &[OwnedStr]) -> Vec<Str<'_>> {
    all.iter().map(OwnedStr::borrow).collect()
}

/// A string that is made once and used in many calls.
pub(crate) struct Constant(OwnedStr);

// SAFETY: the server counts references to it without locks, and only on its main thread, where all calls are made.
unsafe impl Send for Constant {}
// SAFETY: as above.
unsafe impl Sync for Constant {}

impl Constant {
    pub(crate) fn new(text: &str) -> Self {
        // SAFETY: a null context is allowed for making strings.
        Self(unsafe { Ctx::new(ptr::null_mut()) }.string(text.as_bytes()))
    }

    pub(crate) fn get(&self) -> Str<'_> {
        self.0.borrow()
    }
}

/// What a call came to.
pub(crate) enum Called {
    /// It was done.
    Done,
    /// It gave an integer.
    Integer(i64),
    /// The server has no such command.
    Missing,
    /// It was refused, with this text.
    Refused(String),
}

impl Called {
    fn of(reply: *mut raw::RedisModuleCallReply) -> Self {
        if reply.is_null() {
            let error = std::io::Error::last_os_error();
            return if error.kind() == std::io::ErrorKind::NotFound {
                Self::Missing
            } else {
                Self::Refused(format!("it cannot be called here ({error})"))
            };
        }
        // SAFETY: a live reply, freed once and not used after.
        unsafe {
            let called = match api!(RedisModule_CallReplyType(reply)) {
                kind if kind == raw::REDISMODULE_REPLY_ERROR as c_int => {
                    let mut len = 0;
                    let text: *const c_char =
                        api!(RedisModule_CallReplyStringPtr(reply, &raw mut len));
                    Self::Refused(shown(std::slice::from_raw_parts(text.cast(), len)))
                }
                kind if kind == raw::REDISMODULE_REPLY_INTEGER as c_int => {
                    Self::Integer(api!(RedisModule_CallReplyInteger(reply)))
                }
                _ => Self::Done,
            };
            api!(RedisModule_FreeCallReply(reply));
            called
        }
    }
}

/// How a key is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To look, without counting as use of the key.
    Look,
    /// To change.
    Change,
}

/// An open key; closed when dropped.
pub(crate) struct Key(*mut raw::RedisModuleKey);

impl Key {
    pub(crate) fn open(ctx: Ctx, name: Str<'_>, mode: Mode) -> Self {
        let flags = match mode {
            Mode::Look => raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH,
            Mode::Change => raw::REDISMODULE_READ | raw::REDISMODULE_WRITE,
        };
        // SAFETY: a live context and string. A null key stands for one that does not exist.
        Self(unsafe { api!(RedisModule_OpenKey(ctx.raw(), name.0, flags as c_int)) })
    }

    pub(crate) fn exists(ctx: Ctx, name: Str<'_>) -> bool {
        // SAFETY: a live context and string.
        unsafe { api!(RedisModule_KeyExists(ctx.raw(), name.0)) == 1 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: a key we hold open, or null, which counts as empty.
        self.0.is_null()
            || unsafe {
                api!(RedisModule_KeyType(self.0)) == raw::REDISMODULE_KEYTYPE_EMPTY as c_int
            }
    }

    pub(crate) fn raw(&self) -> *mut raw::RedisModuleKey {
        self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: a key we hold open, closed only here.
            unsafe { api!(RedisModule_CloseKey(self.0)) }
        }
    }
}

/// The names of all keys of the selected database that are wanted. Takes time in proportion to the keys there are.
pub(crate) fn scan(ctx: Ctx, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    struct Search<'a> {
        wanted: &'a dyn Fn(&[u8]) -> bool,
        found: Vec<Vec<u8>>,
    }
    unsafe extern "C" fn visit(
        _: *mut raw::RedisModuleCtx,
        name: *mut raw::RedisModuleString,
        _: *mut raw::RedisModuleKey,
        search: *mut c_void,
    ) {
        crate::fence::guard((), || {
            // SAFETY: the server passes on the pointer to `search` below, which lives until the scan is over, and the
            // live name of a key.
            let (search, name) = unsafe { (&mut *search.cast::<Search<'_>>(), Str::new(name)) };
            if (search.wanted)(name.bytes()) {
                search.found.push(name.bytes().to_vec());
            }
        });
    }
    let mut search = Search {
        wanted: &wanted,
        found: Vec::new(),
    };
    // SAFETY: the cursor is used between its making and its end; `visit` has the type the server expects.
    unsafe {
        let cursor = api!(RedisModule_ScanCursorCreate());
        while api!(RedisModule_Scan(
            ctx.raw(),
            cursor,
            Some(visit),
            (&raw mut search).cast()
        )) == 1
        {}
        api!(RedisModule_ScanCursorDestroy(cursor));
    }
    search.found.sort();
    search.found.dedup();
    search.found
}
