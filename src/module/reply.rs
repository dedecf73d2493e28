//! Sends a reply value in the client's protocol: maps become flat pairs on RESP2 by the server's own doing.

use std::ffi::CString;

use anomaly_core::command::Reply;

use crate::server::Ctx;

pub(crate) fn send(ctx: Ctx, reply: &Reply) {
    match reply {
        Reply::Simple(text) => ctx.reply_simple(&CString::new(*text).unwrap_or_default()),
        Reply::Text(bytes) => ctx.reply_bytes(bytes),
        Reply::Int(n) => ctx.reply_int(*n),
        Reply::Double(x) => ctx.reply_double(*x),
        Reply::Null => ctx.reply_null(),
        Reply::Error(text) => ctx.reply_error(text),
        Reply::Array(items) => {
            ctx.reply_array(items.len());
            items.iter().for_each(|item| send(ctx, item));
        }
        Reply::Map(pairs) => {
            ctx.reply_map(pairs.len());
            for (name, value) in pairs {
                ctx.reply_bytes(name);
                send(ctx, value);
            }
        }
    }
}
