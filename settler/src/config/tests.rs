use std::os::unix::fs::PermissionsExt as _;

use std::time::Duration;

use cocoon_ton::chain::ApiKey;
use cocoon_ton::{CellHash, GlobalId};

use super::*;

const TEST: &str = r#"
ledger = "sqlite:ledger.db"
wallet_key = "wallet.key"
network = { name = "test", global_id = -3 }

[[endpoints]]
url = "http://127.0.0.1:8081"
operator = "we"
"#;

const MAINNET: &str = r#"
ledger = "sqlite:ledger.db"
wallet_key = "wallet.key"
network = { name = "mainnet" }
deposits = { confirm_from = "100000000000" }
payouts = { daily_cap = "1000000000000" }

[[endpoints]]
url = "https://one.example"
operator = "one"

[[endpoints]]
url = "https://two.example"
operator = "two"
"#;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settler.toml");
    std::fs::write(&path, text).unwrap();
    let environment =
        environment.iter().map(|(name, value)| (format!("{ENV_PREFIX}{name}"), (*value).to_owned()));
    Config::load(&path, environment)
}

/// The key that is named as wrong.
fn wrong_key(text: &str, environment: &[(&str, &str)]) -> &'static str {
    match load(text, environment) {
        Err(ConfigError::Value { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_short_file_is_enough_for_a_test_network() {
    let config = load(TEST, &[]).unwrap();
    assert_eq!(config.network().unwrap(), Network::test(GlobalId(-3)).unwrap());
    assert_eq!(config.deposits.minimum, NanoTon(10_000_000));
    assert_eq!(config.deposits.confirm_from, None);
    let PayoutConfig { at_once, small, small_after_s, daily_cap, most_payouts, valid_for_s } =
        config.payouts.clone();
    assert_eq!((at_once, small, small_after_s), (NanoTon(1_000_000_000), NanoTon(50_000_000), 86_400));
    assert_eq!((daily_cap, most_payouts, valid_for_s), (None, 100, 120));
    assert_eq!((config.poll_ms, config.ops_listen), (2_000, None));
    let endpoints = config.endpoints().unwrap();
    assert_eq!(endpoints.len(), 1);
    assert_eq!((endpoints[0].timeout, endpoints[0].operator.as_str()), (Duration::from_secs(10), "we"));
    assert_eq!(endpoints[0].network, config.network().unwrap());
}

#[test]
fn mainnet_needs_a_cap_and_two_operators_that_confirm_deposits() {
    let config = load(MAINNET, &[]).unwrap();
    assert_eq!(config.network().unwrap(), Network::Mainnet);
    let without = |line: &str| {
        assert!(MAINNET.contains(line), "{line}");
        MAINNET.replace(line, "")
    };
    assert_eq!(wrong_key(&without("payouts = { daily_cap = \"1000000000000\" }"), &[]), "payouts.daily_cap");
    assert_eq!(
        wrong_key(&without("deposits = { confirm_from = \"100000000000\" }"), &[]),
        "deposits.confirm_from"
    );
    let one_operator = MAINNET.replace("operator = \"two\"", "operator = \"one\"");
    assert_eq!(wrong_key(&one_operator, &[]), "endpoints");
}

#[test]
fn mainnet_is_never_named_by_its_number_and_no_test_network_has_it() {
    let network = |text: &str| {
        TEST.replace("network = { name = \"test\", global_id = -3 }", &format!("network = {text}"))
    };
    for (text, key) in [
        ("{ name = \"test\" }", "network.global_id"),
        ("{ name = \"test\", global_id = -239 }", "network.global_id"),
        ("{ name = \"test\", global_id = -3, zerostate = \"abc\" }", "network.zerostate"),
        ("{ name = \"mainnet\", global_id = -239 }", "network"),
        ("{ name = \"mainnet\", zerostate = \"abc\" }", "network"),
    ] {
        assert_eq!(wrong_key(&network(text), &[]), key, "{text}");
    }
    for text in
        ["{ name = \"main\" }", "{ name = \"test\", global_id = \"-3\" }", "{ global_id = -3 }", "\"test\""]
    {
        let refused = load(&network(text), &[]);
        assert!(matches!(refused, Err(ConfigError::Syntax { .. })), "{text}: {refused:?}");
    }
    let zerostate = CellHash([9; 32]);
    for written in [zerostate.to_string(), zerostate.to_hex()] {
        let config =
            load(&network(&format!("{{ name = \"test\", global_id = -3, zerostate = \"{written}\" }}")), &[]);
        let expected = Network::Test { global_id: GlobalId(-3), zerostate: Some(zerostate) };
        assert_eq!(config.unwrap().network().unwrap(), expected, "{written}");
    }
}

#[test]
fn every_value_has_its_bounds() {
    let with = |section: &str, key: &str, value: &str| match section {
        "" => format!("{key} = {value}\n{TEST}"),
        section => format!("{TEST}\n[{section}]\n{key} = {value}\n"),
    };
    for (section, key, good, bad) in [
        ("", "poll_ms", &["10", "60000"][..], &["0", "9", "60001"][..]),
        ("payouts", "valid_for_s", &["30", "3600"], &["0", "29", "3601"]),
        ("payouts", "most_payouts", &["1", "200"], &["0", "201"]),
        ("payouts", "small", &["\"1\"", "\"1000000000\""], &["\"0\""]),
        ("payouts", "at_once", &["\"50000000\""], &["\"49999999\"", "\"0\""]),
        ("deposits", "minimum", &["\"1\""], &["\"0\""]),
    ] {
        let name = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        for value in good {
            load(&with(section, key, value), &[]).unwrap_or_else(|error| panic!("{name} = {value}: {error}"));
        }
        for value in bad {
            assert_eq!(wrong_key(&with(section, key, value), &[]), name, "{value}");
        }
    }
    for value in ["0", "99", "60001"] {
        let text = TEST.replace("operator = \"we\"", &format!("operator = \"we\"\ntimeout_ms = {value}"));
        assert_eq!(wrong_key(&text, &[]), "endpoints.timeout_ms", "{value}");
    }
    assert_eq!(wrong_key(&with("payouts", "small", "\"1000000001\""), &[]), "payouts.at_once");
    assert_eq!(wrong_key(&with("deposits", "confirm_from", "\"5\""), &[]), "endpoints");
    let none = TEST[..TEST.find("[[endpoints]]").unwrap()].replace("ledger =", "endpoints = []\nledger =");
    assert_eq!(wrong_key(&none, &[]), "endpoints");
    let nameless = TEST.replace("operator = \"we\"", "operator = \"\"");
    assert_eq!(wrong_key(&nameless, &[]), "endpoints.operator");
}

#[test]
fn what_is_no_key_or_of_another_type_is_refused() {
    for text in [
        format!("ledgers = \"x\"\n{TEST}"),
        format!("{TEST}\n[payouts]\ncap = \"5\"\n"),
        format!("{TEST}\n[deposits]\nmaximum = \"5\"\n"),
        TEST.replace("operator =", "owner ="),
        TEST.replace("ledger = \"sqlite:ledger.db\"", ""),
        TEST.replace("wallet_key = \"wallet.key\"", ""),
        // An amount is text: no reader rounds it.
        format!("{TEST}\n[payouts]\ndaily_cap = 5\n"),
        format!("{TEST}\n[payouts]\ndaily_cap = \"1e9\"\n"),
        format!("{TEST}\n[payouts]\ndaily_cap = \"-1\"\n"),
        format!("{TEST}\n[payouts]\nvalid_for_s = -1\n"),
        format!("ops_listen = \"here\"\n{TEST}"),
        "not toml".to_owned(),
    ] {
        let refused = load(&text, &[]);
        assert!(matches!(refused, Err(ConfigError::Syntax { .. })), "{text}: {refused:?}");
    }
    let nowhere = Config::load(Path::new("/nowhere/settler.toml"), std::iter::empty());
    assert!(matches!(nowhere, Err(ConfigError::Read { .. })));
}

#[test]
fn the_environment_is_laid_over_the_file_and_checked_alike() {
    let config = load(
        &format!("{TEST}\n[payouts]\ndaily_cap = \"5\"\n"),
        &[
            ("LEDGER", "redis://ledger"),
            ("PAYOUTS__DAILY_CAP", "\"7\""),
            ("PAYOUTS__VALID_FOR_S", "60"),
            ("DEPOSITS__MINIMUM", "\"3\""),
            ("NETWORK__GLOBAL_ID", "-4"),
            ("OPS_LISTEN", "127.0.0.1:9"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.ledger, "redis://ledger");
    assert_eq!((config.payouts.daily_cap, config.payouts.valid_for_s), (Some(NanoTon(7)), 60));
    assert_eq!(config.deposits.minimum, NanoTon(3));
    assert_eq!(config.network().unwrap().global_id(), GlobalId(-4));
    assert_eq!(config.ops_listen, Some("127.0.0.1:9".parse().unwrap()));
    assert_eq!(wrong_key(TEST, &[("PAYOUTS__VALID_FOR_S", "1")]), "payouts.valid_for_s");
    assert_eq!(wrong_key(TEST, &[("NETWORK__GLOBAL_ID", "-239")]), "network.global_id");
    assert!(matches!(load(TEST, &[("NO_SUCH_KEY", "1")]), Err(ConfigError::Syntax { .. })));
    assert!(matches!(load(TEST, &[("PAYOUTS__", "1")]), Err(ConfigError::Environment(_))));
}

#[test]
fn an_endpoint_is_an_origin() {
    for url in [
        "",
        "one.example",
        "ftp://one.example",
        "https://one.example/api",
        "https://one.example/?key=5",
        "https://key@one.example",
    ] {
        let config = load(&TEST.replace("http://127.0.0.1:8081", url), &[]);
        let refused = config.and_then(|config| config.endpoints());
        assert!(matches!(refused, Err(ConfigError::Value { key: "endpoints.url", .. })), "{url}");
    }
}

fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

#[test]
fn a_secret_is_a_short_file_that_nobody_else_can_read() {
    let seed = "07".repeat(32);
    let with = |path: &Path| Config { wallet_key: path.to_owned(), ..load(TEST, &[]).unwrap() };
    for mode in [0o600, 0o400, 0o700] {
        let (_folder, path) = file(&format!("{seed}\n"), mode);
        assert_eq!(*with(&path).wallet_seed().unwrap(), [7; 32], "{mode:o}");
    }
    for mode in [0o601, 0o602, 0o604, 0o610, 0o620, 0o640, 0o644, 0o660, 0o666, 0o777] {
        let (_folder, path) = file(&seed, mode);
        let refused = with(&path).wallet_seed();
        assert!(matches!(refused, Err(ConfigError::Value { key: "wallet_key", .. })), "{mode:o}");
    }
    for text in ["", "07", &seed[2..], &format!("{seed}07"), &seed.replace('0', "x"), &" ".repeat(4097)] {
        let (_folder, path) = file(text, 0o600);
        let refused = with(&path).wallet_seed();
        assert!(matches!(refused, Err(ConfigError::Value { key: "wallet_key", .. })), "{text:?}");
    }
    // Only its length stands in its way.
    let (_folder, path) = file(&format!("{seed}{}", " ".repeat(4096 - 64)), 0o600);
    assert!(with(&path).wallet_seed().is_ok());
    let (_folder, path) = file(&format!("{seed}{}", " ".repeat(4097 - 64)), 0o600);
    assert!(with(&path).wallet_seed().is_err());
    assert!(matches!(with(Path::new("/nowhere/key")).wallet_seed(), Err(ConfigError::Read { .. })));
}

#[test]
fn the_key_of_an_endpoint_is_such_a_secret() {
    let with = |path: &Path| {
        let text = TEST
            .replace("operator = \"we\"", &format!("operator = \"we\"\napi_key = \"{}\"", path.display()));
        load(&text, &[]).unwrap().endpoints()
    };
    let (_folder, path) = file("secret\n", 0o600);
    let endpoints = with(&path).unwrap();
    assert!(endpoints[0].api_key == Some(ApiKey::new("secret".to_owned())), "without the line's end");
    let (_folder, path) = file("secret", 0o644);
    assert!(matches!(with(&path), Err(ConfigError::Value { key: "endpoints.api_key", .. })));
    assert!(matches!(with(Path::new("/nowhere/key")), Err(ConfigError::Read { .. })));
}

#[test]
fn epochs_are_there_only_where_they_are_named() {
    assert!(load(TEST, &[]).unwrap().epochs.is_none());
    let section = "\n[epochs]\npublisher_key = \"publisher.key\"\nfolder = \"epochs\"\n";
    let config = load(&format!("{TEST}{section}"), &[]).unwrap();
    assert_eq!((config.epochs.as_ref().unwrap().every_s, config.registry().unwrap()), (3600, None));
    let registry = Address::from_raw(&format!("0:{}", "11".repeat(32))).unwrap();
    for written in [registry.to_string(), registry.show(true, true)] {
        let config = load(&format!("{TEST}{section}registry = \"{written}\""), &[]).unwrap();
        assert_eq!(config.registry().unwrap(), Some(registry), "{written}");
    }
    let with = |network: &str, line: &str| wrong_key(&format!("{network}{section}{line}"), &[]);
    assert_eq!(with(TEST, "registry = \"0:11\""), "epochs.registry");
    let of_a_test_network = format!("registry = \"{}\"", registry.show(true, true));
    assert_eq!(with(MAINNET, &of_a_test_network), "epochs.registry");
    for (network, bad) in [(TEST, "0"), (TEST, "86401"), (MAINNET, "59")] {
        assert_eq!(with(network, &format!("every_s = {bad}")), "epochs.every_s", "{bad}");
    }
    load(&format!("{TEST}{section}every_s = 1"), &[]).unwrap();
    load(&format!("{MAINNET}{section}every_s = 60"), &[]).unwrap();
}

#[test]
fn the_publishers_seed_is_read_as_the_wallets_is() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("publisher.key");
    let section = format!("\n[epochs]\npublisher_key = {key:?}\nfolder = \"epochs\"\n");
    let epochs = load(&format!("{TEST}{section}"), &[]).unwrap().epochs.unwrap();
    let wrong = || match epochs.publisher_seed() {
        Err(ConfigError::Value { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    std::fs::write(&key, "07".repeat(31)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(wrong(), "epochs.publisher_key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(wrong(), "epochs.publisher_key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    assert_eq!(*epochs.publisher_seed().unwrap(), [7; 32]);
}
