//! The dashboard's files, as they are in the repository.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use cocoon_receipts::Digest;
use http::HeaderValue;

/// A file as it is served.
pub(super) struct File {
    pub(super) bytes: &'static [u8],
    pub(super) media_type: &'static str,
    /// Strong, made of its SHA-256.
    pub(super) tag: HeaderValue,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        /// Paths under `gateway/dashboard`, and what is there.
        const FILES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../../dashboard/", $name)))),+];
    };
}

files![
    "css/base.css",
    "css/panels.css",
    "css/tables.css",
    "icon.svg",
    "js/amounts.js",
    "js/api.js",
    "js/balance.js",
    "js/chart.js",
    "js/dialogs.js",
    "js/dom.js",
    "js/form.js",
    "js/key-form.js",
    "js/keys.js",
    "js/limit-form.js",
    "js/limits.js",
    "js/main.js",
    "js/names.js",
    "js/panel.js",
    "js/qr-code.js",
    "js/receipt-dialog.js",
    "js/receipts.js",
    "js/requests.js",
    "js/series.js",
    "js/spending.js",
    "js/tables.js",
    "js/theme.js",
    "js/times.js",
    "js/top-up.js",
    "vendor/qrcode-generator/qrcode.mjs",
    "vendor/uplot/LICENSE",
    "vendor/uplot/uPlot.esm.js",
    "vendor/uplot/uPlot.min.css",
];

/// The page itself.
pub(super) static INDEX: LazyLock<File> =
    LazyLock::new(|| File::new("index.html", include_bytes!("../../dashboard/index.html")));

static BY_NAME: LazyLock<HashMap<&str, File>> =
    LazyLock::new(|| FILES.iter().map(|(name, bytes)| (*name, File::new(name, bytes))).collect());

/// The file at the path `name` under `/dashboard/`.
pub(super) fn find(name: &str) -> Option<&'static File> {
    BY_NAME.get(name)
}

impl File {
    fn new(name: &str, bytes: &'static [u8]) -> Self {
        let digest = Digest::of(&[bytes]).to_string();
        let tag = HeaderValue::from_str(&format!("\"{}\"", digest.get(..32).unwrap_or_default()));
        Self { bytes, media_type: media_type(name), tag: tag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }
}

fn media_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Guards against: a file that is there and not served, which a browser says only where somebody looks.
    #[test]
    fn every_file_of_the_folder_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        let mut there = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(there.insert(path.strip_prefix(&root).unwrap().display().to_string())),
                }
            }
        }
        let not_served = ["index.html", "vendor/package.json", "vendor/package-lock.json"];
        let listed = FILES.iter().map(|(name, _)| (*name).to_owned());
        let listed: BTreeSet<String> = listed.chain(not_served.map(str::to_owned)).collect();
        assert_eq!(listed, there);
    }

    #[test]
    fn each_has_its_type_and_a_tag_of_its_own() {
        let tags: BTreeSet<&[u8]> = BY_NAME.values().map(|file| file.tag.as_bytes()).collect();
        assert_eq!(tags.len(), FILES.len());
        assert_eq!(find("js/main.js").unwrap().media_type, "text/javascript; charset=utf-8");
        let module = find("vendor/qrcode-generator/qrcode.mjs").unwrap();
        assert_eq!(module.media_type, "text/javascript; charset=utf-8");
        assert_eq!(find("css/base.css").unwrap().media_type, "text/css; charset=utf-8");
        assert_eq!(find("icon.svg").unwrap().media_type, "image/svg+xml");
        assert_eq!(INDEX.media_type, "text/html; charset=utf-8");
        assert!(find("index.html").is_none() && find("../Cargo.toml").is_none());
    }
}
