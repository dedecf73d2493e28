//! Which release of which server this is. Found out once, when the module is loaded.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anomaly_core::release::{LOOKED_AT, Release, Releases, Said};

use super::{Ctx, version};

static RELEASE: OnceLock<Option<Release>> = OnceLock::new();
/// Asked with each reading: one load.
static IS_LOOKED_AT: AtomicBool = AtomicBool::new(false);

/// Finds it out.
pub(crate) fn find_out_release(ctx: Ctx) {
    let [name, redis, valkey] = [c"server_name", c"redis_version", c"valkey_version"]
        .map(|field| ctx.info(c"server", field));
    let said = Said {
        name: name.as_deref(),
        redis: redis.as_deref(),
        valkey: valkey.as_deref(),
    };
    RELEASE.get_or_init(|| Release::told(version(), said));
    IS_LOOKED_AT.store(is_one_of(&LOOKED_AT), Ordering::Relaxed);
}

/// Says in the log if it is none that was looked at.
pub(crate) fn say_if_not_looked_at(ctx: Ctx) {
    if !is_looked_at() {
        let which = match RELEASE.get().copied().flatten() {
            Some(Release::Redis((major, minor))) => format!("Redis {major}.{minor}"),
            Some(Release::Valkey((major, minor))) => format!("Valkey {major}.{minor}"),
            None => "it does not say which".into(),
        };
        ctx.notice(&format!(
            "this server is newer than those that were looked at, or another one ({which}): a reading costs more here than it must"
        ));
    }
}

/// Whether this server is one of those that were looked at: what no interface promises, but rests on how they work inside, may be done.
#[inline]
pub(crate) fn is_looked_at() -> bool {
    IS_LOOKED_AT.load(Ordering::Relaxed)
}

/// Whether it is one of these.
pub(crate) fn is_one_of(releases: &Releases) -> bool {
    let release = RELEASE.get().copied().flatten();
    release.is_some_and(|release| release.is_of(releases))
}
