//! Query parameters: each known, each once, or a list as both `x=` and `x[]=`.

use axum::extract::Query;
use cocoon_openapi::ApiError;
use http::Uri;

use crate::error::Failure;

/// Values of one list.
const MAX_VALUES: usize = 100;

/// The parameters of a request, in their order.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// # Errors
    /// 400 for a query that cannot be read, and for a parameter that is not among `known`.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Failure> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| ApiError::invalid("The query cannot be read."))?;
        for (name, _) in &pairs {
            if !known.contains(&bare(name)) {
                // The name is the client's own.
                let shown: String = name.chars().take(64).collect();
                let unknown = ApiError::invalid(format!("Unknown parameter: '{shown}'."));
                return Err(unknown.with_code("unknown_parameter").with_param(shown).into());
            }
        }
        Ok(Self(pairs))
    }

    /// # Errors
    /// 400 where it is there twice.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let first = values.next();
        let again =
            values.next().is_some() || self.0.iter().any(|(found, _)| found != name && bare(found) == name);
        if again { Err(invalid(name, "there once")) } else { Ok(first) }
    }

    /// A whole number in `range`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub(super) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Failure> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        let wanted = || invalid(name, &format!("a whole number from {} to {}", range.start(), range.end()));
        number.map(Some).ok_or_else(wanted)
    }

    /// # Errors
    /// 400 for what is neither `true` nor `false`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.one(name)? {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(invalid(name, "'true' or 'false'")),
        }
    }

    /// All values of a list, however it is written.
    ///
    /// # Errors
    /// 400 for more than [`MAX_VALUES`].
    pub(super) fn all(&self, name: &str) -> Result<Vec<&str>, Failure> {
        let values: Vec<&str> =
            self.0.iter().filter(|(found, _)| bare(found) == name).map(|(_, value)| value.as_str()).collect();
        if values.len() > MAX_VALUES {
            return Err(invalid(name, &format!("a list of at most {MAX_VALUES} values")));
        }
        Ok(values)
    }
}

fn bare(name: &str) -> &str {
    name.strip_suffix("[]").unwrap_or(name)
}

/// 400: `'name' must be …`.
pub(super) fn invalid(name: &str, must_be: &str) -> Failure {
    ApiError::invalid(format!("'{name}' must be {must_be}.")).with_param(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, String> {
        let uri: Uri = format!("/v1/x?{query}").parse().unwrap();
        Parameters::read(&uri, &["limit", "models", "batch"])
            .map_err(|failure| failure.api.body.error.message.clone())
    }

    #[test]
    fn a_list_is_read_however_it_is_written() {
        for query in ["models=a&models=b%2Fc", "models[]=a&models[]=b/c", "models%5B%5D=a&models=b/c"] {
            assert_eq!(read(query).unwrap().all("models").unwrap(), ["a", "b/c"], "{query}");
        }
        assert_eq!(read("").unwrap().all("models").unwrap(), Vec::<&str>::new());
        let many = "models=a&".repeat(MAX_VALUES + 1);
        assert!(read(&many).unwrap().all("models").is_err());
    }

    #[test]
    fn what_is_unknown_twice_or_no_number_is_refused() {
        assert_eq!(read("limits=1").unwrap_err(), "Unknown parameter: 'limits'.");
        assert!(read("limit=1&limit=1").unwrap().number("limit", 1..=5).is_err());
        assert!(read("limit[]=1").unwrap().number("limit", 1..=5).is_err());
        for bad in ["", "0", "6", "-1", "+1", "1.0", "x", "99999999999999999999"] {
            assert!(read(&format!("limit={bad}")).unwrap().number("limit", 1..=5).is_err(), "{bad}");
        }
        assert_eq!(read("limit=5").unwrap().number("limit", 1..=5).unwrap(), Some(5));
        assert_eq!(read("batch=true").unwrap().flag("batch").unwrap(), Some(true));
        assert!(read("batch=1").unwrap().flag("batch").is_err());
    }
}
