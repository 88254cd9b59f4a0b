//! The event log: what was measured into the run-time registers, in order. Nothing in it is believed before the quote's
//! registers confirm it.

use aws_lc_rs::digest;
use serde::Deserialize;

use crate::policy::{Event, Hex};

/// Events in one log.
const MAX_EVENTS: usize = 4096;

/// JSON: `{"events": [{"register": 0, "digest": "<96 hex>", "name": "kernel"}]}`, in order of extension.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLog {
    events: Vec<Logged>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Logged {
    /// Of the four run-time registers.
    register: u8,
    digest: Hex<48>,
    /// For people, and never measured.
    name: String,
}

impl EventLog {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let log: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("is not of its form: {error}"))?;
        if log.events.len() > MAX_EVENTS {
            return Err(format!("has more than {MAX_EVENTS} events"));
        }
        match log.events.iter().find(|event| event.register > 3) {
            Some(event) => Err(format!("speaks of register {}, and there are 0 to 3", event.register)),
            None => Ok(log),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether the events of `register` are those that `places` allow, one for each place, and lead to what was `quoted`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn confirm(
        &self,
        register: u8,
        places: &[Event],
        quoted: &[u8; 48],
    ) -> Result<String, String> {
        let events: Vec<&Logged> = self.events.iter().filter(|event| event.register == register).collect();
        let value = events.iter().try_fold([0; 48], |value, event| extended(&value, &event.digest.0));
        if value.as_ref() != Some(quoted) {
            return Err("the quote does not confirm the event log".to_owned());
        }
        if events.len() != places.len() {
            return Err(format!("the event log has {} events, {} are wanted", events.len(), places.len()));
        }
        let stranger = events.iter().zip(places).enumerate().find(|(_, (event, place))| match place {
            Event::One(digest) => *digest != event.digest,
            Event::AnyOf(digests) => !digests.contains(&event.digest),
        });
        match stranger {
            Some((at, (event, _))) => Err(format!(
                "event {at} ('{}', {}) is none that is wanted",
                event.name,
                super::short(&event.digest.0)
            )),
            None => Ok(format!("{} events, and the quote confirms them", events.len())),
        }
    }
}

/// TDG.MR.RTMR.EXTEND: the register becomes SHA-384(register ‖ digest). None is for the type alone: the digest has 48 bytes.
fn extended(register: &[u8; 48], digest: &[u8; 48]) -> Option<[u8; 48]> {
    let mut context = digest::Context::new(&digest::SHA384);
    context.update(register);
    context.update(digest);
    context.finish().as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: &[(u8, u8)]) -> EventLog {
        let event = |(register, byte): &(u8, u8)| serde_json::json!({ "register": register, "digest": hex::encode([*byte; 48]), "name": "n" });
        let events: Vec<_> = events.iter().map(event).collect();
        EventLog::read(serde_json::json!({ "events": events }).to_string().as_bytes()).unwrap()
    }

    fn one(byte: u8) -> Event {
        Event::One(Hex([byte; 48]))
    }

    #[test]
    fn a_register_is_extended_as_the_module_does_it() {
        // `printf '%096d%096d' | xxd -r -p | sha384sum`
        let zeros = extended(&[0; 48], &[0; 48]).unwrap();
        assert!(hex::encode(zeros).starts_with("f57bb7ed82c6ae4a"), "{}", hex::encode(zeros));
    }

    #[test]
    fn the_events_of_a_register_are_those_wanted_in_their_order_and_no_others() {
        let log = log(&[(1, 1), (3, 9), (1, 2)]);
        let quoted = extended(&extended(&[0; 48], &[1; 48]).unwrap(), &[2; 48]).unwrap();
        assert!(log.confirm(1, &[one(1), one(2)], &quoted).is_ok());
        assert!(log.confirm(1, &[one(1), Event::AnyOf(vec![Hex([7; 48]), Hex([2; 48])])], &quoted).is_ok());
        for (places, why) in [
            (vec![one(2), one(1)], "event 0"),
            (vec![one(1)], "2 events, 1 are wanted"),
            (vec![one(1), one(2), one(3)], "2 events, 3 are wanted"),
            (vec![one(1), Event::AnyOf(vec![])], "event 1"),
        ] {
            let problem = log.confirm(1, &places, &quoted).unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
        let problem = log.confirm(1, &[one(1), one(2)], &[0; 48]).unwrap_err();
        assert!(problem.contains("does not confirm"), "{problem}");
        assert!(log.confirm(0, &[], &[0; 48]).is_ok(), "nothing was measured into it");
    }

    #[test]
    fn a_log_of_another_form_is_an_error() {
        let digest = hex::encode([1; 48]);
        for text in [
            "".to_owned(),
            "{}".to_owned(),
            r#"{"events": [], "more": 1}"#.to_owned(),
            format!(r#"{{"events": [{{"register": 4, "digest": "{digest}", "name": ""}}]}}"#),
            format!(r#"{{"events": [{{"register": 0, "digest": "{}", "name": ""}}]}}"#, &digest[2..]),
            format!(r#"{{"events": [{{"register": 0, "digest": "{digest}"}}]}}"#),
        ] {
            assert!(EventLog::read(text.as_bytes()).is_err(), "{text}");
        }
        let event = format!(r#"{{"register": 0, "digest": "{digest}", "name": ""}}"#);
        let of = |count| format!(r#"{{"events": [{}]}}"#, vec![event.as_str(); count].join(","));
        assert!(EventLog::read(of(MAX_EVENTS).as_bytes()).is_ok());
        assert!(EventLog::read(of(MAX_EVENTS + 1).as_bytes()).is_err());
    }
}
