//! The attributes of a TD (Intel TDX Module ABI specification 348551-008, table 3.23), bit by bit: what is not known to be
//! harmless fails.

use dcap_qvl::quote::Report;

/// The lowest byte: any bit in it makes the TD one under debug, whose memory or secrets the host may see.
const UNDER_DEBUG: u64 = 0xff;
/// The host cannot make an access fault where the guest has accepted no page; without it the guest's handler of such
/// faults decides about a page that the host swapped.
const SEPT_VE_DISABLE: u32 = 28;
/// What may be on: a defence of the module's (ICSSD), or what the guest's own kernel alone uses (LASS, PKS, PERFMON: the
/// module saves and restores it when the guest is left, and the host sees none of it).
const HARMLESS: [u32; 5] = [16, 27, SEPT_VE_DISABLE, 30, 63];
/// What must be off, by name. Others are reserved.
const NAMED: [(u32, &str); 4] =
    // A service TD may take part in the TD's state, and a migration TD moves that to another machine.
    [(17, "SERVTD_EXT"), (29, "MIGRATABLE"), (31, "KL"), (62, "TPA")];

/// Whether the host can look into the TD by debugging or profiling it.
pub(super) fn debug(attributes: [u8; 8]) -> Result<&'static str, String> {
    match u64::from_le_bytes(attributes) & UNDER_DEBUG {
        0 => Ok("off"),
        bits => Err(format!("on: the host can look inside (attributes {bits:#04x})")),
    }
}

/// Whether the other attributes are as they must be.
pub(super) fn others(attributes: [u8; 8]) -> Result<String, String> {
    let set = u64::from_le_bytes(attributes) & !UNDER_DEBUG;
    let is_set = |bit: u32| set >> bit & 1 == 1;
    if let Some(bit) = (8..64).find(|bit| is_set(*bit) && !HARMLESS.contains(bit)) {
        let name = NAMED.iter().find(|(named, _)| *named == bit);
        return Err(
            name.map_or_else(|| format!("reserved bit {bit} is on"), |(_, name)| format!("{name} is on"))
        );
    }
    if !is_set(SEPT_VE_DISABLE) {
        return Err("SEPT_VE_DISABLE is off".to_owned());
    }
    Ok(format!("{set:#018x}"))
}

/// Whether no service TD is or was bound, which could have had a hand in the TD.
pub(super) fn no_service_td(report: &Report) -> Result<(), String> {
    let bound = report.as_td15().is_some_and(|td| td.mr_service_td != [0; 48])
        || report.as_td15_ex().is_some_and(|td| {
            td.init_service_td_hash != [0; 48]
                || td.cur_service_td_hash != [0; 48]
                || td.init_service_td_attributes != [0; 8]
                || td.cur_service_td_attributes != [0; 8]
        });
    if bound { Err("a service TD is bound".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bits: &[u32]) -> [u8; 8] {
        bits.iter().fold(0_u64, |all, bit| all | 1 << bit).to_le_bytes()
    }

    #[test]
    fn any_bit_of_the_lowest_byte_is_debug() {
        assert!(debug(bits(&[])).is_ok() && debug(bits(&[8, 28, 63])).is_ok());
        for bit in 0..8 {
            assert!(debug(bits(&[28, bit])).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_bit_that_is_not_known_to_be_harmless_fails() {
        for bit in (8..64).filter(|bit| *bit != SEPT_VE_DISABLE) {
            let good = [16, 27, 30, 63].contains(&bit);
            assert_eq!(others(bits(&[SEPT_VE_DISABLE, bit])).is_ok(), good, "bit {bit}");
        }
        assert!(others(bits(&[SEPT_VE_DISABLE])).is_ok());
        assert_eq!(others(bits(&[])).unwrap_err(), "SEPT_VE_DISABLE is off");
        assert_eq!(others(bits(&[28, 29])).unwrap_err(), "MIGRATABLE is on");
        assert_eq!(others(bits(&[28, 40])).unwrap_err(), "reserved bit 40 is on");
    }
}
