//! Payment channels.

use serde_json::{Value, json};

use super::{collect, read, schema_ref};
use crate::CHANNELS_PATH;
use crate::channels::{ChannelOf, ChannelOffer, NewChannel};

/// Path, method and operation of each.
pub(super) fn paths() -> Vec<(String, &'static str, Value)> {
    let address = json!({
        "name": "address", "in": "path", "required": true, "schema": { "type": "string" },
        "description": "The channel's contract.",
    });
    let public = |mut operation: Value| {
        operation["security"] = json!([]);
        operation
    };
    let of_payer = |id: &str, summary: &str| {
        let mut operation =
            read(id, summary, "Channel", &[400, 401, 403, 404, 500, 503], Some(address.clone()));
        operation["description"] = json!("Needs a voucher of that channel in place of an API key.");
        operation
    };
    let mut open = public(read(
        "openChannel",
        "Looks at a channel on the chain, and takes it or learns of a further deposit.",
        "Channel",
        &[400, 403, 404, 408, 413, 415, 500, 503],
        None,
    ));
    open["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": schema_ref("NewChannel") } },
    });
    let one = format!("{CHANNELS_PATH}/{{address}}");
    vec![
        (
            CHANNELS_PATH.into(),
            "get",
            public(read("offerChannels", "Which channels are taken.", "ChannelOffer", &[404, 503], None)),
        ),
        (CHANNELS_PATH.into(), "post", open),
        (one.clone(), "get", of_payer("readChannel", "How a channel stands.")),
        (
            format!("{one}/close"),
            "post",
            of_payer("closeChannel", "Takes no voucher any more; the contract is closed once nothing runs."),
        ),
    ]
}

pub(super) fn schemas(found: &mut Vec<(String, Value)>) {
    collect::<ChannelOffer>(found);
    collect::<NewChannel>(found);
    collect::<ChannelOf>(found);
}
