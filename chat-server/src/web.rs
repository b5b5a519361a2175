//! The web page, built into the binary.

use std::future::ready;

use axum::{
    Router,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

/// Scripts, styles and connections of this origin, pictures also from `data:` URLs, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// One file of the page.
#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    mime: &'static str,
    text: &'static str,
}

macro_rules! asset {
    ($path:literal, $file:literal, $mime:literal) => {
        Asset { path: $path, mime: $mime, text: include_str!(concat!("../web/", $file)) }
    };
}

const ASSETS: [Asset; 9] = [
    asset!("/", "index.html", "text/html; charset=utf-8"),
    asset!("/app.js", "app.js", "text/javascript; charset=utf-8"),
    asset!("/access.js", "access.js", "text/javascript; charset=utf-8"),
    asset!("/view.js", "view.js", "text/javascript; charset=utf-8"),
    asset!("/elements.js", "elements.js", "text/javascript; charset=utf-8"),
    asset!("/room.js", "room.js", "text/javascript; charset=utf-8"),
    asset!("/connection.js", "connection.js", "text/javascript; charset=utf-8"),
    asset!("/timeline.js", "timeline.js", "text/javascript; charset=utf-8"),
    asset!("/app.css", "app.css", "text/css; charset=utf-8"),
];

/// The page and what it loads.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.into_iter().fold(Router::new(), |router, asset| {
        let etag = etag_of(asset.text);
        router.route(asset.path, get(move |headers: HeaderMap| ready(asset.answer(&headers, &etag))))
    })
}

impl Asset {
    fn answer(&self, request: &HeaderMap, etag: &HeaderValue) -> Response {
        let headers = [
            (CONTENT_SECURITY_POLICY, POLICY),
            // A browser asks each time, and gets the bytes only where they have changed.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (ETAG, etag.clone()),
        ];
        if request.get_all(IF_NONE_MATCH).iter().any(|known| known == etag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, [(CONTENT_TYPE, HeaderValue::from_static(self.mime))], self.text).into_response()
    }
}

fn etag_of(text: &str) -> HeaderValue {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let head = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
    HeaderValue::from_str(&format!("\"{head:016x}\"")).expect("hex digits in quotes are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    // A module that is not served leaves the page empty, and nothing says so before a browser does.
    #[test]
    fn all_that_the_page_loads_is_served() {
        let is_served = |path| ASSETS.iter().any(|asset| asset.path.strip_prefix('/') == Some(path));
        for asset in ASSETS {
            for load in ["from \"./", "src=\"/", "href=\"/"] {
                let mut paths = asset.text.split(load).skip(1).map(|rest| rest.split('"').next().unwrap());
                assert_eq!(paths.find(|path| !is_served(path)), None, "loaded by {}", asset.path);
            }
        }
    }
}
