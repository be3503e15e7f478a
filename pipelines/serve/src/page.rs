//! The live page, and the description of the interface: files that are part of the binary. The
//! page may load nothing from elsewhere, and the `Content-Security-Policy` holds it to that.

use axum::{
    Router,
    http::{HeaderName, header},
    routing::get,
};

use crate::ServeState;

const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Route, content type, text.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/customer.html", "text/html; charset=utf-8", include_str!("page/customer.html")),
    ("/announce.js", SCRIPT, include_str!("page/announce.js")),
    ("/api.js", SCRIPT, include_str!("page/api.js")),
    ("/bestsellers.js", SCRIPT, include_str!("page/bestsellers.js")),
    ("/cards.js", SCRIPT, include_str!("page/cards.js")),
    ("/changes.js", SCRIPT, include_str!("page/changes.js")),
    ("/charts.js", SCRIPT, include_str!("page/charts.js")),
    ("/choice.js", SCRIPT, include_str!("page/choice.js")),
    ("/command.js", SCRIPT, include_str!("page/command.js")),
    ("/connection.js", SCRIPT, include_str!("page/connection.js")),
    ("/customer.js", SCRIPT, include_str!("page/customer.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/find.js", SCRIPT, include_str!("page/find.js")),
    ("/format.js", SCRIPT, include_str!("page/format.js")),
    ("/history.js", SCRIPT, include_str!("page/history.js")),
    ("/identifiers.js", SCRIPT, include_str!("page/identifiers.js")),
    ("/list.js", SCRIPT, include_str!("page/list.js")),
    ("/profile.js", SCRIPT, include_str!("page/profile.js")),
    ("/status.js", SCRIPT, include_str!("page/status.js")),
    ("/stock.js", SCRIPT, include_str!("page/stock.js")),
    ("/stream.js", SCRIPT, include_str!("page/stream.js")),
    ("/timeline.js", SCRIPT, include_str!("page/timeline.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/customer.css", "text/css; charset=utf-8", include_str!("page/customer.css")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/openapi.json", "application/json", include_str!("openapi.json")),
];

/// The files' routes. They want no key: they hold nothing of the shop.
pub(crate) fn routes() -> Router<ServeState> {
    FILES.iter().fold(Router::new(), |router, (route, content_type, text)| {
        let headers: [(HeaderName, &'static str); 5] = [
            (header::CONTENT_TYPE, content_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        router.route(route, get(async move || (headers, *text)))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/page")).expect("the page's folder");
        let there = folder.map(|file| format!("/{}", file.expect("a file").file_name().to_string_lossy()));
        let there: BTreeSet<String> = there.map(|name| name.replace("/index.html", "/")).collect();
        let served = FILES.iter().map(|(route, ..)| (*route).to_owned());
        let served: BTreeSet<String> = served.filter(|route| route != "/openapi.json").collect();
        assert_eq!(served, there);
    }
}
