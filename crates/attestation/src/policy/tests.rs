use super::*;

const ZERO: &str =
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn members_that_are_not_known_are_errors_everywhere() {
    let image = format!(
        "name = 'i'\nmr_td = '{ZERO}'\nrtmr0 = '{ZERO}'\nrtmr1 = '{ZERO}'\nrtmr2 = '{ZERO}'\nrtmr3 = '{ZERO}'"
    );
    let tdx = format!("[tdx]\n[[tdx.images]]\n{image}");
    assert!(Policy::from_toml(&tdx).is_ok());
    for text in [
        "accept_everything = true".to_owned(),
        tdx.replace("[tdx]", "[tdx]\nallow_debug = true"),
        format!("{tdx}\nskip = true"),
        "[snp]\nimages = []\nmin_tcb = {}\nallow_debug = true".to_owned(),
        "[gpu]\ncount = 1\nmodels = ['GH100']\nallow_debug = true".to_owned(),
    ] {
        assert!(Policy::from_toml(&text).is_err(), "{text}");
    }
}

#[test]
fn an_error_names_its_key() {
    for (text, key) in [
        ("dev_roots = ['x']", "dev_roots[0]"),
        ("not_after = 2027-01-01", "not_after"),
        ("max_verdict_age_s = 3601", "max_verdict_age_s"),
        ("max_verdict_age_s = 0", "max_verdict_age_s"),
        ("registry = 'EQ'", "registry"),
        ("[tdx]\nimages = []", "tdx.images"),
        ("[snp]\nimages = []\nmin_tcb = {}", "snp.images"),
        ("[gpu]\ncount = 0\nmodels = ['GH100']", "gpu.count"),
        ("[gpu]\ncount = 1\nmodels = []", "gpu.models"),
        ("require_kem = 'x25519'", "require_kem"),
    ] {
        let error = Policy::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(key), "{text}: {error}");
    }
    let long = format!("#{}", "x".repeat(MAX_POLICY));
    assert!(matches!(Policy::from_toml(&long), Err(PolicyError::TooLong)));
}

#[test]
fn a_register_is_a_value_or_the_events_of_a_log() {
    let tdx = format!(
        "[[tdx.images]]\nname = 'i'\nmr_td = '{ZERO}'\nrtmr0 = '{ZERO}'\nrtmr1 = '{ZERO}'\nrtmr2 = '{ZERO}'\n\
         rtmr3 = {{ events = ['{ZERO}', ['{ZERO}', '{ZERO}']] }}"
    );
    let policy = Policy::from_toml(&tdx).unwrap();
    let image = &policy.tdx().unwrap().images[0];
    assert!(matches!(image.rtmr0, Register::Value(_)));
    assert!(matches!(&image.rtmr3, Register::Events { events } if events.len() == 2));
}

#[test]
fn a_date_is_read_in_its_zone() {
    let policy = Policy::from_toml("not_after = 1970-01-02T02:00:00+02:00").unwrap();
    assert_eq!(policy.not_after(), Some(86_400_000));
}
