//! Which image a report fits.

use dcap_qvl::quote::TDReport10;

use super::event_log::EventLog;
use super::short;
use crate::findings::{Check, Findings};
use crate::policy::{Register, TdxImage};

/// Judges the report's measurements by the image that they fit best, so that what is named is what differs.
pub(super) fn judge(images: &[TdxImage], td: &TDReport10, log: Option<&EventLog>, findings: &mut Findings) {
    let best = images
        .iter()
        .map(|image| (image, fit(image, td, log)))
        .max_by_key(|(_, fit)| fit.iter().filter(|(_, result)| result.is_ok()).count());
    match best {
        Some((image, fit)) => {
            for (check, result) in fit {
                let good = result.is_ok();
                let detail = super::either(result);
                findings.check(check, good, format!("image '{}': {detail}", image.name));
            }
        }
        None => findings.failed(Check::TdxMrTd, "the policy has no image"),
    }
}

fn fit(image: &TdxImage, td: &TDReport10, log: Option<&EventLog>) -> [(Check, Result<String, String>); 5] {
    let register = |number, wanted: &Register, found: &[u8; 48]| match (wanted, log) {
        (Register::Value(value), _) => same(found, &value.0),
        (Register::Events { events }, Some(log)) => log.confirm(number, events, found),
        (Register::Events { .. }, None) => Err("it is judged by an event log, and there is none".to_owned()),
    };
    [
        (Check::TdxMrTd, same(&td.mr_td, &image.mr_td.0)),
        (Check::TdxRtmr0, register(0, &image.rtmr0, &td.rt_mr0)),
        (Check::TdxRtmr1, register(1, &image.rtmr1, &td.rt_mr1)),
        (Check::TdxRtmr2, register(2, &image.rtmr2, &td.rt_mr2)),
        (Check::TdxRtmr3, register(3, &image.rtmr3, &td.rt_mr3)),
    ]
}

fn same(found: &[u8; 48], wanted: &[u8; 48]) -> Result<String, String> {
    if found == wanted {
        Ok(short(found))
    } else {
        Err(format!("found {}, wanted {}", short(found), short(wanted)))
    }
}
