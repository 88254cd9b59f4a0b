//! Environment variables over a configuration file.

/// A variable with our prefix that names no key, such as `COCOON_GATEWAY__`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: names no key of the configuration")]
pub struct NotAKey(pub String);

/// Lays every variable of `environment` that begins with `prefix` over `table`: what follows is the key in upper case,
/// `__` between a section and its key. A value that reads as TOML is that value, anything else is text.
///
/// # Errors
/// [`NotAKey`]; whether the key is known is for the configuration's type to say.
pub fn lay_over(
    table: &mut toml::Table,
    prefix: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), NotAKey> {
    for (name, value) in environment {
        let Some(key) = name.strip_prefix(prefix) else { continue };
        let keys: Vec<String> = key.to_ascii_lowercase().split("__").map(str::to_owned).collect();
        set(table, &keys, &value).ok_or(NotAKey(name))?;
    }
    Ok(())
}

fn set(table: &mut toml::Table, keys: &[String], value: &str) -> Option<()> {
    let (key, rest) = keys.split_first()?;
    if key.is_empty() {
        return None;
    }
    if rest.is_empty() {
        let parsed = value.parse::<toml::Value>().unwrap_or_else(|_| toml::Value::String(value.to_owned()));
        table.insert(key.clone(), parsed);
        return Some(());
    }
    let inner = table.entry(key.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    set(inner.as_table_mut()?, rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_over(text: &str, name: &str, value: &str) -> Result<toml::Table, NotAKey> {
        let mut table = text.parse().unwrap();
        lay_over(&mut table, "X__", [(name.to_owned(), value.to_owned())].into_iter())?;
        Ok(table)
    }

    #[test]
    fn a_value_is_toml_where_it_reads_as_toml() {
        for (value, expected) in [
            ("7", "a = 7"),
            ("true", "a = true"),
            ("[\"x\"]", "a = [\"x\"]"),
            ("127.0.0.1:80", "a = \"127.0.0.1:80\""),
            ("/a/path with spaces", "a = \"/a/path with spaces\""),
            ("", "a = \"\""),
        ] {
            assert_eq!(laid_over("a = 1", "X__A", value), Ok(expected.parse().unwrap()), "{value}");
        }
    }

    #[test]
    fn sections_are_made_and_kept() {
        assert_eq!(laid_over("", "X__S__K", "1"), Ok("s.k = 1".parse().unwrap()));
        assert_eq!(laid_over("s.o = 2", "X__S__K", "1"), Ok("s.o = 2\ns.k = 1".parse().unwrap()));
        assert_eq!(laid_over("s.o = 2", "OTHER__S__K", "1"), Ok("s.o = 2".parse().unwrap()));
    }

    #[test]
    fn a_variable_without_a_key_is_an_error() {
        for name in ["X__", "X__S__", "X__A__B"] {
            assert_eq!(laid_over("a = 1", name, "1"), Err(NotAKey(name.to_owned())));
        }
    }
}
