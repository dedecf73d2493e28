//! The Redis module: registration, and where each part is.
//!
//! ```text
//! command ─► commands ─┐
//! XADD ────► hook ─────┤
//! timer ───► backlog ──┤
//! timer ───► silence ──┤
//! _apply ──► commands ─┴─► ingest ─► core: Model::ingest ─► effects: archive, replicate, alert, notify ─► reply
//! ```
//!
//! Everything runs on the server's main thread, but for `free` of a model, which may run on its background thread and
//! touches nothing else, and the replay of a [`backtest`], which works on values of its own. Every callback goes through [`fence`], since a panic that left one would end the server.

mod alert_streams;
mod audience;
mod backlog;
mod backtest;
mod commands;
mod datatype;
mod effects;
mod fence;
mod heap;
mod hook;
mod info;
mod ingest;
mod keyspace;
mod known;
mod moving;
mod register;
mod reply;
mod samples;
mod scan;
mod search;
mod seating;
mod server;
mod settings;
mod silence;
mod slices;
mod state;
mod torn;

use std::ffi::c_int;

use redis_module::raw;

use server::{Args, Ctx};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Called by the server when it loads the module.
///
/// # Safety
/// The server calls it with its own context and arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the first call of a module, with the context that the server gave for it. Nothing is allocated before.
    let named = unsafe {
        raw::Export_RedisModule_Init(
            ctx,
            c"anomaly".as_ptr(),
            1,
            raw::REDISMODULE_APIVER_1 as c_int,
        )
    };
    if named != server::OK {
        return server::ERR;
    }
    fence::install();
    fence::guard(server::ERR, || {
        // SAFETY: argv holds argc strings that outlive this call.
        let (ctx, args) = unsafe { (Ctx::new(ctx), Args::new(argv, argc)) };
        match load(ctx, args) {
            Ok(()) => server::OK,
            Err(why) => {
                ctx.warn(&format!("not loaded: {why}"));
                server::ERR
            }
        }
    })
}

/// Everything the module registers, in the order the server wants it.
fn load(ctx: Ctx, args: Args<'_>) -> Result<(), String> {
    server::check_version()?;
    server::find_out_release(ctx);
    state::init(ctx);
    datatype::register(ctx)?;
    settings::register(ctx, args)?;
    register::commands(ctx)?;
    keyspace::subscribe(ctx)?;
    hook::subscribe(ctx)?;
    moving::listen(ctx);
    info::register(ctx)?;
    state::with(|state| state.loaded = true);
    ctx.notice(&format!(
        "version {} loaded, {}",
        env!("CARGO_PKG_VERSION"),
        effects::describe_archive(ctx)
    ));
    server::say_if_not_looked_at(ctx);
    Ok(())
}
