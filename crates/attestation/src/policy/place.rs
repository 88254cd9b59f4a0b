//! Where in a policy's text a key is.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::PolicyError;

impl PolicyError {
    /// The line of `text` that is at fault, from 1, where one is known: what is missing has none.
    #[must_use]
    pub fn line(&self, text: &str) -> Option<usize> {
        let span = match self {
            Self::Syntax(error) => error.span()?,
            Self::Value { key, .. } => span_of(text, key)?,
            Self::Registry => span_of(text, "registry")?,
            Self::TooLong | Self::NotASignature | Self::Signature => return None,
        };
        Some(1 + text.get(..span.start)?.matches('\n').count())
    }
}

/// Of a key as errors write it: `gpu.count`, `dev_roots[0]`.
fn span_of(text: &str, key: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let mut table: &DeTable<'_> = document.get_ref();
    let mut found = None;
    for part in key.split('.') {
        let (name, index) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
            Some((name, index)) => (name, Some(index.parse::<usize>().ok()?)),
            None => (part, None),
        };
        let (name, value) = table.iter().find(|(known, _)| known.get_ref() == name)?;
        let entry: Option<&Spanned<DeValue<'_>>> = match (index, value.get_ref()) {
            (Some(index), DeValue::Array(entries)) => entries.get(index),
            _ => None,
        };
        found = Some(entry.map_or_else(|| name.span(), Spanned::span));
        match entry.unwrap_or(value).get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::policy::Policy;

    #[test]
    fn an_error_has_the_line_of_its_key() {
        for (text, line) in [
            ("\n\nmax_verdict_age_s = 0", Some(3)),
            ("dev_roots = [\n  'iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w',\n  'x',\n]", Some(3)),
            ("name = 'n'\n[gpu]\n\ncount = 0\nmodels = ['GH100']", Some(4)),
            ("[tdx]\nimages = []", Some(2)),
            ("\nregistry = 'EQ'", Some(2)),
            ("# a\nnonsense = 1", Some(2)),
            ("version = 1\n\n  = 2", Some(3)),
        ] {
            assert_eq!(Policy::from_toml(text).unwrap_err().line(text), line, "{text}");
        }
    }
}
