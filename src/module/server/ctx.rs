//! Contexts: what a callback may ask of the server and tell it.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io::ErrorKind;
use std::ptr;

use anomaly_core::units::Timestamp;
use redis_module::raw;

use super::{Called, Kept, OK, OwnedStr, Str, api, called, log};

/// Calls a function of the module API that takes a command and its words. The words of a hot command are named one by one
/// ("s" each): for an array ("v") the server makes room a second time, which costs as much as to score a reading.
///
/// # Safety
/// The context must be live, and the function one that takes these arguments.
macro_rules! spread {
    ($function:ident, $ctx:expr, $command:expr, $args:expr, $flags:literal) => {{
        let (ctx, command) = ($ctx, $command.as_ptr());
        match $args {
            [a, b, c, d, e] => {
                let words = concat!($flags, "sssss\0").as_ptr().cast::<c_char>();
                let [a, b, c, d, e] = [a, b, c, d, e].map(|word| word.raw());
                api!($function(ctx, command, words, a, b, c, d, e))
            }
            args => {
                // "v" takes an array of strings and its length, and `Str` is nothing but a pointer to one.
                let words = concat!($flags, "v\0").as_ptr().cast::<c_char>();
                let argv = args.as_ptr().cast::<*mut raw::RedisModuleString>();
                api!($function(ctx, command, words, argv, args.len()))
            }
        }
    }};
}

/// Whether a node of a cluster takes writes to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    Here,
    /// To none now: the cluster is down, as this node sees it.
    Down,
    /// Its slot is another node's, or nobody's.
    Elsewhere,
}

/// A context: the server's side of a call. Valid for as long as the callback that got it.
#[derive(Clone, Copy)]
pub(crate) struct Ctx(*mut raw::RedisModuleCtx);

/// A context that lives as long as the server, for callbacks that are given none.
#[derive(Clone, Copy)]
pub(crate) struct OwnCtx(*mut raw::RedisModuleCtx);

impl OwnCtx {
    /// One for the module of this context. It is never freed.
    pub(crate) fn of(ctx: Ctx) -> Self {
        // SAFETY: a live context.
        Self(unsafe { api!(RedisModule_GetDetachedThreadSafeContext(ctx.raw())) })
    }

    pub(crate) fn ctx(self) -> Ctx {
        Ctx(self.0)
    }
}

/// What the server says of itself and of what is running.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Whether there is an AOF.
    pub(crate) fn writes_aof(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_AOF != 0
    }

    /// Whether the server could have taken a key away for not being used, or does with keys what it does not tell.
    pub(crate) fn can_lose_keys(self) -> bool {
        let can = raw::REDISMODULE_CTX_FLAGS_EVICT
            | raw::REDISMODULE_CTX_FLAGS_LOADING
            | raw::REDISMODULE_CTX_FLAGS_CLUSTER;
        self.0 & can != 0
    }

    /// Whether this is a master without AOF, and none of whose keys [can be lost](Self::can_lose_keys).
    pub(crate) fn is_plain(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_MASTER != 0
            && !self.writes_aof()
            && !self.can_lose_keys()
    }

    /// Whether nothing of what is running may be put off: it is one of the commands of a transaction, a script or a file, which no
    /// command filter need see, or on a cluster, where keys may be another node's a moment later, with no command for it.
    pub(crate) fn is_pressed(self) -> bool {
        let pressed = raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_LOADING
            | raw::REDISMODULE_CTX_FLAGS_CLUSTER;
        self.0 & pressed != 0
    }
}

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

    pub(crate) fn asked(self) -> Flags {
        Flags(self.flags())
    }

    /// What is kept in mind of the server must be as it is: if not, this ends it.
    #[cfg(debug_assertions)]
    pub(crate) fn check_that_it_is_quiet(self) {
        if !self.asked().is_plain() {
            self.warn("anomaly: the server is not as quiet as it was taken for");
            std::process::abort();
        }
    }

    /// What is running must be a client's own command: if not, this ends the server.
    #[cfg(debug_assertions)]
    pub(crate) fn check_that_nothing_presses(self) {
        if self.asked().is_pressed() {
            self.warn(
                "anomaly: what a transaction or a script runs was taken for a client's own command",
            );
            std::process::abort();
        }
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

    /// What a section of INFO says of a field.
    pub(crate) fn info(self, section: &CStr, field: &CStr) -> Option<Vec<u8>> {
        // SAFETY: a live context and C strings; the text is copied before what it belongs to is freed.
        unsafe {
            let info = api!(RedisModule_GetServerInfo(self.0, section.as_ptr()));
            let text = api!(RedisModule_ServerInfoGetFieldC(info, field.as_ptr()));
            let text = (!text.is_null()).then(|| CStr::from_ptr(text).to_bytes().to_vec());
            api!(RedisModule_FreeServerInfo(self.0, info));
            text
        }
    }

    /// Whether a child is rewriting the AOF.
    pub(crate) fn rewrites_aof(self) -> bool {
        self.info(c"persistence", c"aof_rewrite_in_progress")
            .as_deref()
            == Some(b"1")
    }

    /// Whether `maxmemory` is reached.
    pub(crate) fn is_out_of_memory(self) -> bool {
        self.flags() & raw::REDISMODULE_CTX_FLAGS_OOM != 0
    }

    /// Whether work of our own choosing may write now: no failover is being prepared, and there is memory.
    pub(crate) fn may_write(self) -> bool {
        !super::is_paused() && !self.is_out_of_memory()
    }

    /// Whether the server takes writes from clients: it does not where it lacks the replicas that it wants, or cannot save.
    pub(crate) fn takes_writes(self) -> bool {
        // One that has no key: on a cluster it could be another node's.
        let (delete, pattern) = (self.string(b"DEL"), self.string(b""));
        let words = [delete.raw(), pattern.raw()];
        // SAFETY: a live context; "v" takes an array of strings and its length. Of what would be refused to a script ("S")
        // the reply is an error; nothing is done ("D").
        unsafe {
            let reply = api!(RedisModule_Call(
                self.0,
                c"ANOMALY.CONFIG".as_ptr(),
                c"SDv".as_ptr(),
                words.as_ptr(),
                words.len()
            ));
            !called::refuses(reply)
        }
    }

    /// Whether a key can be written on this node of a cluster now, and why not.
    pub(crate) fn serves(self, key: Str<'_>) -> Served {
        // SAFETY: a live context; "s" takes a string. Nothing is done ("D"); a refusal is an error ("E").
        let refused = unsafe {
            let (command, flags) = (c"DEL".as_ptr(), c"DEs".as_ptr());
            let reply = api!(RedisModule_Call(self.0, command, flags, key.raw()));
            let why = std::io::Error::last_os_error().kind();
            called::refuses(reply).then_some(why)
        };
        match refused {
            None => Served::Here,
            // The latter where reads are allowed all the same.
            Some(ErrorKind::NetworkDown | ErrorKind::ReadOnlyFilesystem) => Served::Down,
            Some(_) => Served::Elsewhere,
        }
    }

    /// Whether the client of a command may wait: not in MULTI, in a script, or where its master or a file sends it.
    pub(crate) fn may_wait(self) -> bool {
        let hurried = raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
            | raw::REDISMODULE_CTX_FLAGS_LOADING;
        self.flags() & hurried == 0
    }

    /// Whether a script runs.
    pub(crate) fn runs_script(self) -> bool {
        self.flags() & raw::REDISMODULE_CTX_FLAGS_LUA != 0
    }

    /// Whether there is a user on whose behalf a command runs. To ask for the name of none would end the server.
    pub(crate) fn has_user(self) -> bool {
        // SAFETY: a live context and C strings. A call on behalf of a user ("C") fails before anything else where there is
        // none; where there is one this one does since DBSIZE takes no argument.
        let reply = unsafe {
            api!(RedisModule_Call(
                self.0,
                c"DBSIZE".as_ptr(),
                c"Cc".as_ptr(),
                c"".as_ptr()
            ))
        };
        reply.is_null()
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::InvalidInput
    }

    /// Whether the server only asks where the keys of a command are.
    pub(crate) fn asks_for_keys(self) -> bool {
        // SAFETY: a live context of a command.
        unsafe { api!(RedisModule_IsKeysPositionRequest(self.0)) != 0 }
    }

    /// Answers that: a key that is read.
    pub(crate) fn reads_key_at(self, position: c_int) {
        let flags = raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS;
        // SAFETY: a live context of a command that was asked for its keys.
        unsafe {
            api!(RedisModule_KeyAtPosWithFlags(
                self.0,
                position,
                flags as c_int
            ))
        };
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
        OwnedStr::of(raw)
    }

    /// The decimal of a number.
    pub(crate) fn integer(self, n: i64) -> OwnedStr {
        // SAFETY: a null context makes a string that is ours alone to free.
        OwnedStr::of(unsafe { api!(RedisModule_CreateStringFromLongLong(ptr::null_mut(), n)) })
    }

    /// Passes the command on to replicas and the AOF as it came.
    pub(crate) fn replicate_verbatim(self) {
        // SAFETY: a live context of a command.
        unsafe { api!(RedisModule_ReplicateVerbatim(self.0)) };
    }

    /// Passes another command on, after those passed on before and in one transaction with them.
    pub(crate) fn replicate(self, command: &CStr, args: &[Str<'_>]) {
        // SAFETY: the server counts its own references to the strings.
        unsafe { spread!(RedisModule_Replicate, self.0, command, args, "") };
    }

    /// Runs a command of the server, and passes on nothing.
    pub(crate) fn call(self, command: &CStr, args: &[Str<'_>]) -> Called {
        // SAFETY: the reply is freed by `Called`.
        Called::of(unsafe { spread!(RedisModule_Call, self.0, command, args, "") })
    }

    /// Runs a command of the server, passes on nothing, and reads its reply as it is sent. Nothing where it could not be run.
    pub(crate) fn call_and_read<T: Default>(
        self,
        command: &CStr,
        args: &[Str<'_>],
        read: impl FnOnce(&[u8]) -> T,
    ) -> T {
        // SAFETY: the reply is freed by `called::read`.
        let reply = unsafe { spread!(RedisModule_Call, self.0, command, args, "") };
        called::read(reply, read)
    }

    /// Runs a command of the server and passes it on as well, as the server has resolved it.
    pub(crate) fn call_and_replicate(self, command: &CStr, args: &[Str<'_>]) -> Called {
        // SAFETY: the reply is freed by `Called`.
        Called::of(unsafe { spread!(RedisModule_Call, self.0, command, args, "!") })
    }

    /// Has the server run a job at the end of the command, or of whatever else is under way, inside its transaction; whether
    /// it will: not on a replica, and not while loading.
    pub(crate) fn after_this(
        self,
        job: unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut c_void),
    ) -> bool {
        // SAFETY: a live context; the job has no data.
        unsafe {
            api!(RedisModule_AddPostNotificationJob(
                self.0,
                Some(job),
                ptr::null_mut(),
                None
            )) == OK
        }
    }

    /// Has the server call this in so many ms, as soon as it comes to its timers.
    pub(crate) fn after(
        self,
        ms: i64,
        callback: unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut c_void),
    ) {
        // SAFETY: a live context; the timer has no data.
        unsafe {
            api!(RedisModule_CreateTimer(
                self.0,
                ms,
                Some(callback),
                ptr::null_mut()
            ))
        };
    }

    /// Tells keyspace subscribers of an event at a key.
    pub(crate) fn notify(self, event: &CStr, key: Str<'_>) {
        // SAFETY: a live context, a C string and a live string.
        unsafe {
            api!(RedisModule_NotifyKeyspaceEvent(
                self.0,
                raw::REDISMODULE_NOTIFY_MODULE as c_int,
                event.as_ptr(),
                key.raw()
            ))
        };
    }

    /// Tells whoever watches or caches a key that it has changed. Opening it to change it does not: a request that is
    /// refused has changed nothing.
    pub(crate) fn modified(self, name: Str<'_>) {
        // SAFETY: a live context and string.
        unsafe { api!(RedisModule_SignalModifiedKey(self.0, name.raw())) };
    }

    /// The reply of a command, if it is sent as `expected`; it is kept for good.
    pub(crate) fn kept(self, command: &CStr, args: &[Str<'_>], expected: &[u8]) -> Option<Kept> {
        // SAFETY: a live context, which leaves it to us to free replies.
        Kept::of(
            unsafe { spread!(RedisModule_Call, self.0, command, args, "") },
            expected,
        )
    }

    /// Replies what a call replied.
    pub(crate) fn reply_again(self, reply: Kept) {
        // SAFETY: a live context, and a reply that is never freed.
        unsafe { api!(RedisModule_ReplyWithCallReply(self.0, reply.raw())) };
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
