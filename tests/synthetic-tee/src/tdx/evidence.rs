//! What a quote and the statements about its platform say: plain values, to change at will.

use aws_lc_rs::digest::{SHA384, digest};
use serde_json::json;

const HOUR_MS: u64 = 3600 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Everything that goes into a document but keys and report data.
#[derive(Debug, Clone)]
pub struct TdxEvidence {
    pub form: Form,
    pub td: Td,
    /// Of the document's event log, which says it; `td` must hold what they lead to.
    pub events: Vec<LoggedEvent>,
    pub statements: Statements,
}

/// Forms of a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Version 4, with the report of TDX 1.0.
    V4,
    /// Version 5, with the report of TDX 1.5.
    V5,
}

/// What the module reports of a TD (Intel TDX DCAP quoting library, TD quote body).
#[derive(Debug, Clone)]
pub struct Td {
    pub tee_tcb_svn: [u8; 16],
    pub mr_seam: [u8; 48],
    pub mr_signer_seam: [u8; 48],
    pub seam_attributes: [u8; 8],
    pub attributes: u64,
    pub xfam: [u8; 8],
    pub mr_td: [u8; 48],
    pub mr_config_id: [u8; 48],
    pub mr_owner: [u8; 48],
    pub mr_owner_config: [u8; 48],
    pub rtmr: [[u8; 48]; 4],
    /// In quotes of [`Form::V5`].
    pub mr_service_td: [u8; 48],
}

/// One event of the event log.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    pub register: u8,
    pub digest: [u8; 48],
    pub name: String,
}

/// What the synthetic Intel says of the platform. Times are milliseconds since 1970, and said in whole seconds.
#[derive(Debug, Clone)]
pub struct Statements {
    pub issued: u64,
    pub next_update: u64,
    /// When the revocation lists end.
    pub crl_next_update: u64,
    /// Whether the platform's own certificate is on the list.
    pub revoked: bool,
    pub fmspc: [u8; 6],
    /// Of the only TCB level.
    pub tcb_status: String,
    pub advisories: Vec<String>,
    pub tcb_evaluation_number: u32,
    /// Lowest security version that the only TCB level has, in every component; the platform has [`SVN`].
    pub least_svn: u8,
}

/// Security version of every component of the platform.
pub(crate) const SVN: u8 = 3;
/// Model of the platform.
pub(crate) const FMSPC: [u8; 6] = [0x50, 0x80, 0x6f, 0, 0, 0];
/// SEPT_VE_DISABLE.
const ATTRIBUTES: u64 = 1 << 28;
const XFAM: [u8; 8] = [0xe7, 0x02, 0x06, 0, 0, 0, 0, 0];

impl TdxEvidence {
    pub(crate) fn new(now_ms: u64) -> Self {
        let events = vec![
            LoggedEvent { register: 3, digest: [0x31; 48], name: "engine".to_owned() },
            LoggedEvent { register: 3, digest: [0x32; 48], name: "configuration".to_owned() },
        ];
        Self {
            form: Form::V4,
            td: Td {
                tee_tcb_svn: [SVN, 0, SVN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                mr_seam: [0x5e; 48],
                mr_signer_seam: [0; 48],
                seam_attributes: [0; 8],
                attributes: ATTRIBUTES,
                xfam: XFAM,
                mr_td: [0x7d; 48],
                mr_config_id: [0; 48],
                mr_owner: [0; 48],
                mr_owner_config: [0; 48],
                rtmr: [[0xa0; 48], [0xa1; 48], [0xa2; 48], replayed(&events, 3)],
                mr_service_td: [0; 48],
            },
            events,
            statements: Statements {
                issued: now_ms.saturating_sub(DAY_MS),
                next_update: now_ms + 29 * DAY_MS,
                crl_next_update: now_ms + 29 * DAY_MS,
                revoked: false,
                fmspc: FMSPC,
                tcb_status: "UpToDate".to_owned(),
                advisories: Vec::new(),
                tcb_evaluation_number: 17,
                least_svn: 1,
            },
        }
    }

    /// Appends an event to the log, and extends its register by it.
    pub fn measure(&mut self, register: u8, digest: [u8; 48], name: &str) {
        let value = &mut self.td.rtmr[usize::from(register)];
        *value = extended(*value, digest);
        self.events.push(LoggedEvent { register, digest, name: name.to_owned() });
    }

    pub(crate) fn policy_toml(&self) -> String {
        let hex = |bytes: &[u8]| hex::encode(bytes);
        let events: Vec<String> =
            self.events.iter().map(|event| format!("\"{}\"", hex(&event.digest))).collect();
        format!(
            "[tdx]\nmr_seam = [\"{}\"]\nxfam = \"{}\"\ntcb_statuses = [\"UpToDate\"]\nmin_tcb_evaluation_number = 17\n\
             max_collateral_age_days = 30\n\n[[tdx.images]]\nname = \"synthetic\"\nmr_td = \"{}\"\nrtmr0 = \"{}\"\n\
             rtmr1 = \"{}\"\nrtmr2 = \"{}\"\nrtmr3 = {{ events = [{}] }}\n",
            hex(&self.td.mr_seam),
            hex(&self.td.xfam),
            hex(&self.td.mr_td),
            hex(&self.td.rtmr[0]),
            hex(&self.td.rtmr[1]),
            hex(&self.td.rtmr[2]),
            events.join(", "),
        )
    }

    pub(crate) fn event_log(&self) -> Vec<u8> {
        if self.events.is_empty() {
            return Vec::new();
        }
        let event = |event: &LoggedEvent| json!({ "register": event.register, "digest": hex::encode(event.digest), "name": event.name });
        let events: Vec<_> = self.events.iter().map(event).collect();
        json!({ "events": events }).to_string().into_bytes()
    }
}

/// What the events of `register` lead to.
fn replayed(events: &[LoggedEvent], register: u8) -> [u8; 48] {
    let of = events.iter().filter(|event| event.register == register);
    of.fold([0; 48], |value, event| extended(value, event.digest))
}

fn extended(value: [u8; 48], event: [u8; 48]) -> [u8; 48] {
    digest(&SHA384, &[value, event].concat()).as_ref().try_into().expect("48 bytes")
}
