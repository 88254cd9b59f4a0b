use super::*;

pub(crate) const OPERATOR: &str = "0:0000000000000000000000000000000000000000000000000000000000000001";

fn text() -> String {
    format!(
        r#"
        listen = "127.0.0.1:0"
        state_dir = "/s"
        engine = "/e"
        model_path = "/m"
        model_name = "m"
        receipt_urls = ["http://127.0.0.1:8081/internal/receipts"]
        gateway_keys = ["/k"]
        evidence = {{ kind = "dev", dev_root = "/d" }}
        operator = "{OPERATOR}"
        "#
    )
}

/// A configuration with nothing but what must be there.
pub(crate) fn config() -> Config {
    load(&text(), &[]).unwrap()
}

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::from_toml(text, environment, None).map_err(|error| error.to_string())
}

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let config = load(&text(), &[]).unwrap();
    assert_eq!((config.max_running, config.max_body, config.keepalive_ms), (20, 8 << 20, 10_000));
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let periods =
        Periods { published: hours(6), x25519_overlap: hours(24), xwing_overlap: Duration::from_secs(600) };
    assert_eq!((config.key_periods(), config.coalesce_ms), (periods, 20));
    assert!(config.min_price.allows(&Price {
        table: 0,
        prompt: NanoTon(0),
        cached: NanoTon(0),
        completion: NanoTon(0),
        reasoning: NanoTon(0)
    }));
}

#[test]
fn an_error_names_its_key() {
    for (change, key) in [
        ("listen = \"0.0.0.0:1\"", "listen"),
        ("listen = 5", "listen"),
        ("max_running = 0", "max_running"),
        ("max_running = \"many\"", "max_running"),
        ("key_lifetime_ms = 999", "key_lifetime_ms"),
        ("coalesce_ms = 1001", "coalesce_ms"),
        ("max_runing = 5", "max_runing"),
        ("receipt_urls = []", "receipt_urls"),
        ("receipt_urls = [\"http://gateway.example/internal/receipts\"]", "receipt_urls"),
        ("receipt_urls = [\"https://127.0.0.1/internal/receipts\"]", "receipt_urls"),
        ("gateway_keys = []", "gateway_keys"),
        ("operator = \"0:00\"", "operator"),
        ("model_name = \"a b\"", "model_name"),
        ("[min_price]\nprompts = \"1\"", "prompts"),
    ] {
        let name = change.split(' ').next().unwrap();
        let kept: Vec<&str> = text().leak().lines().filter(|line| !line.trim().starts_with(name)).collect();
        let error = load(&format!("{}\n{change}", kept.join("\n")), &[]).unwrap_err();
        assert!(error.contains(key), "{change}: {error}");
    }
    let without = text().replace("model_name = \"m\"", "");
    assert!(load(&without, &[]).unwrap_err().contains("model_name"));
}

/// Guards against: a section that is read and not looked at before somebody needs it.
#[test]
fn payouts_are_checked_at_the_start() {
    let with = |network: &str| {
        let section = format!(
            "[payouts]\nnetwork = {{ {network} }}\ntreasury = \"{OPERATOR}\"\n\
             endpoints = [{{ url = \"http://127.0.0.1:8100\", operator = \"we\" }}]"
        );
        load(&format!("{}\n{section}", text()), &[])
    };
    assert!(load(&text(), &[]).unwrap().payouts.is_none());
    assert!(with("name = \"test\", global_id = -3").unwrap().payouts.is_some());
    let error = with("name = \"test\", global_id = -239").unwrap_err();
    assert!(error.contains("payouts: network.global_id") && error.contains("mainnet"), "{error}");
    assert!(with("name = \"test\", global_ids = 3").unwrap_err().contains("global_ids"));
}

/// The lines of a backend in a TEE; `without` is left out, `with` is put in.
fn in_tee(without: &str, with: &str) -> Result<Config, String> {
    let lines = format!(
        r#"
        listen = "0.0.0.0:8090"
        receipt_urls = ["http://gateway.example/internal/receipts"]
        model_sha256 = "{}"
        evidence.kind = "tsm"
        release = {{ name = "image 1", sequence = 7 }}
        "#,
        "ab".repeat(32)
    );
    let dev =
        |line: &&str| !["listen", "receipt_urls", "evidence"].iter().any(|key| line.trim().starts_with(key));
    let text = text();
    let kept = text.lines().filter(dev).chain(lines.lines());
    let kept: Vec<&str> =
        kept.filter(|line| without.is_empty() || !line.trim().starts_with(without)).collect();
    load(&format!("{}\n{with}", kept.join("\n")), &[])
}

/// Table `[evidence]` of a backend in a TEE, with nothing but what must be there.
pub(crate) fn evidence() -> EvidenceConfig {
    in_tee("", "").unwrap().evidence
}

#[test]
fn in_a_tee_a_backend_may_be_anywhere() {
    let config = in_tee("", "").unwrap();
    assert_eq!(config.evidence.tsm_dir, Path::new("/sys/kernel/config/tsm/report"));
    assert_eq!((config.evidence.quote_interval_ms, config.model_sha256), (1000, Some(Digest([0xab; 32]))));
    let release = config.release.release();
    assert_eq!((release.name.as_str(), release.sequence), ("image 1", 7));
    let missing = config.read_keys().unwrap_err().to_string();
    assert!(missing.contains("gateway_keys: /k"), "no development root is asked for: {missing}");
}

#[test]
fn what_would_make_evidence_weaker_than_it_says_is_refused() {
    let command = "evidence.gpu_command = [\"gpu\", \"{nonce}\"]";
    for (without, with, key) in [
        ("model_sha256", "", "model_sha256"),
        ("", "engine_args = [\"--model\", \"/other\"]", "engine_args"),
        ("", "evidence.dev_root = \"/d\"", "evidence.dev_root"),
        ("", "evidence.quote_interval_ms = 10001", "evidence.quote_interval_ms"),
        ("", "evidence.pccs = \"pccs.example\"", "evidence.pccs"),
        ("", "evidence.pccs = \"ftp://pccs.example\"", "evidence.pccs"),
        ("", "evidence.vcek = \"ldap://x/y\"", "evidence.vcek"),
        ("", "evidence.gpu_command = [\"gpu\", \"--stale\"]", "evidence.gpu_command"),
        ("", "evidence.gpu_command = [\"\", \"{nonce}\"]", "evidence.gpu_command"),
        ("", &format!("{command}\nevidence.gpu_file = \"/f\""), "evidence.gpu_file"),
        ("release", "release = { name = \"\", sequence = 1 }", "release.name"),
        ("release", "release = { name = \"v\\u00e4\", sequence = 1 }", "release.name"),
        ("release", "release = { name = \"v\" }", "sequence"),
        ("receipt_urls", "receipt_urls = [\"https://gateway.example/x\"]", "receipt_urls"),
        ("evidence", "evidence.kind = \"none\"", "kind"),
        ("evidence", "evidence.kind = \"dev\"", "evidence.dev_root"),
    ] {
        let error = in_tee(without, with).unwrap_err();
        assert!(error.contains(key), "{without} {with}: {error}");
    }
    assert!(in_tee("", command).is_ok());
    for key in
        ["pccs = \"http://p\"", "vcek = \"/v\"", "crl = \"/c\"", "event_log = \"/e\"", "gpu_file = \"/g\""]
    {
        let of_dev = text().replace("dev_root = \"/d\"", &format!("dev_root = \"/d\", {key}"));
        let error = load(&of_dev, &[]).unwrap_err();
        assert!(error.contains("only for the kind tsm"), "{key}: {error}");
    }
}

#[test]
fn the_environment_goes_over_the_file_and_the_argument_over_both() {
    let environment = [
        ("COCOON_BACKEND__MAX_RUNNING", "3"),
        ("COCOON_BACKEND__MODEL_NAME", "m7"),
        ("COCOON_BACKEND__MIN_PRICE", "{ prompt = \"5\" }"),
        ("COCOON_BACKEND__ENGINE", "/other"),
        ("HOME", "/home"),
    ];
    let config = load(&text(), &environment).unwrap();
    assert_eq!((config.max_running, config.model_name.as_str()), (3, "m7"));
    assert_eq!(config.min_price.prompt, NanoTon(5));
    assert_eq!(config.engine, Path::new("/other"));
    assert!(load(&text(), &[("COCOON_BACKEND__NO_SUCH", "1")]).unwrap_err().contains("no_such"));

    let variables = [("COCOON_BACKEND__ENGINE".to_owned(), "/other".to_owned())].into_iter();
    let config = Config::from_toml(&text(), variables, Some(Path::new("/given"))).unwrap();
    assert_eq!(config.engine, Path::new("/given"));
}
