//! The parameters of a URL.

use axum::http::Uri;

use crate::error::ApiError;

/// The parameters of one URL, in their order. Those that nobody asks for are ignored.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = axum::extract::Query::try_from_uri(uri);
        Self(pairs.map(|axum::extract::Query(pairs)| pairs).unwrap_or_default())
    }

    /// The value of a parameter; `None` where it is not there.
    ///
    /// # Errors
    /// 400 where it is there twice.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(found, _)| found == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ApiError::parameter(name, "must be there once")),
            (value, None) => Ok(value.map(|(_, value)| value.as_str())),
        }
    }

    /// The value of a parameter as a whole number, digits only.
    ///
    /// # Errors
    /// 400 where it is anything else, or more than 2^53−1.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && number <= chat_core::ids::SAFE_INTEGER_MAX => Ok(Some(number)),
            _ => Err(ApiError::parameter(name, "must be an integer from 0 to 2^53-1")),
        }
    }

    /// How many entries a page may have: `limit`, at least 1 and capped at `max`; `max` where it is not given.
    ///
    /// # Errors
    /// 400 where `limit` is no number, or 0.
    pub(crate) fn limit(&self, max: usize) -> Result<usize, ApiError> {
        match self.number("limit")? {
            Some(0) => Err(ApiError::parameter("limit", "must be at least 1")),
            limit => {
                Ok(limit.and_then(|limit| usize::try_from(limit).ok()).map_or(max, |limit| limit.min(max)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &'static str) -> Query {
        Query::of(&Uri::from_static(text))
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        assert_eq!(query("/?n=0").number("n").unwrap(), Some(0));
        assert_eq!(query("/?n=9007199254740991").number("n").unwrap(), Some((1 << 53) - 1));
        assert_eq!(query("/?m=1").number("n").unwrap(), None);
        for bad in [
            "/?n=",
            "/?n=-1",
            "/?n=%2B1",
            "/?n=1.0",
            "/?n=1e3",
            "/?n=9007199254740992",
            "/?n=1&n=1",
            "/?n=%201",
        ] {
            assert_eq!(query(bad).number("n").unwrap_err().status().as_u16(), 400, "{bad}");
        }
    }

    #[test]
    fn a_limit_is_capped_and_never_zero() {
        assert_eq!(query("/").limit(50).unwrap(), 50);
        assert_eq!(query("/?limit=7").limit(50).unwrap(), 7);
        assert_eq!(query("/?limit=2147483648").limit(50).unwrap(), 50);
        query("/?limit=0").limit(50).unwrap_err();
    }
}
