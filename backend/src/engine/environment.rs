//! What an engine is told by way of its environment.

use std::ffi::OsString;

/// Where programs, libraries and their own files are, how many threads to use, and which GPU. Neither a token for a
/// hub, nor a proxy, nor a switch that has an engine load or log something else.
const PASSED: [&str; 12] = [
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "PATH",
    "RAYON_NUM_THREADS",
    "RUST_BACKTRACE",
    "TMPDIR",
    "TZ",
];
const PASSED_PREFIX: &str = "CUDA_";
/// A model is what lies on this machine. Engines that know a hub look here before they ask it.
const OFFLINE: [(&str, &str); 2] = [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1")];

/// What of the backend's own environment an engine gets, and what is added.
pub(super) fn of_engine(
    own: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    let passed = own.filter(|(name, _)| {
        name.to_str().is_some_and(|name| PASSED.contains(&name) || name.starts_with(PASSED_PREFIX))
    });
    passed.chain(OFFLINE.map(|(name, value)| (name.into(), value.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_gets_what_it_needs_to_run_and_nothing_to_fetch_with() {
        let own = [
            ("PATH", "/bin"),
            ("CUDA_VISIBLE_DEVICES", "0"),
            ("HF_TOKEN", "secret"),
            ("HF_HUB_OFFLINE", "0"),
            ("HTTPS_PROXY", "http://proxy"),
            ("LD_PRELOAD", "/x.so"),
            ("COCOON_BACKEND__OPERATOR", "0:1"),
        ];
        let own = own.into_iter().map(|(name, value)| (name.into(), value.into()));
        let given: Vec<_> = of_engine(own).map(|(name, value)| (name.into_string(), value)).collect();
        let expected = [
            ("PATH", "/bin"),
            ("CUDA_VISIBLE_DEVICES", "0"),
            ("HF_HUB_OFFLINE", "1"),
            ("TRANSFORMERS_OFFLINE", "1"),
        ];
        let expected: Vec<_> =
            expected.into_iter().map(|(name, value)| (Ok(name.to_owned()), value.into())).collect();
        assert_eq!(given, expected);
    }
}
