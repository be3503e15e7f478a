//! Keys: what each may do. And the files that anybody may have.

use std::sync::Arc;

use etalage_model::Group;
use etalage_serve::{Keys, ServeOptions, StoreOptions, hash_key};

use crate::shop::{Mood, Shop};

const PK: &str = "pk_page";
const SK: &str = "sk_server";

fn locked() -> Shop {
    let keys = Keys::parse(&["00".repeat(32), hash_key(PK)], &[hash_key(SK)]).unwrap();
    let options = ServeOptions { keys, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    shop.tick(&[("item.sellable:a", Some(1))]);
    shop.tick_of(Group::Customer, &[("profile.value:p", Some(1))]);
    shop
}

fn statuses(shop: &Shop, path: &str) -> [u16; 4] {
    let bearer = |key: &str| format!("Bearer {key}");
    let wrong = shop.get_with(path, &[("authorization", &bearer("sk_guess"))]);
    let none = shop.get(path);
    if none.status == 401 {
        assert_eq!(none.header("www-authenticate"), "Bearer");
    }
    let pk = shop.get_with(path, &[("authorization", &bearer(PK))]).status;
    let sk = shop.get_with(path, &[("x-etalage-key", SK)]).status;
    [none.status, wrong.status, pk, sk]
}

#[test]
fn a_publishable_key_reads_the_shop_and_nothing_else() {
    let shop = locked();
    for path in ["/v1/views/item.sellable/a", "/v1/views/item.sellable", "/v1/views", "/v1/status"] {
        assert_eq!(statuses(&shop, path), [401, 401, 200, 200], "{path}");
    }
    for path in
        ["/v1/views/profile.value/p", "/v1/views/profile.value?key=p", "/metrics", "/v1/quarantine", "/v1/clock"]
    {
        assert_eq!(statuses(&shop, path), [401, 401, 403, 200], "{path}");
    }
    for path in ["/healthz", "/readyz", "/", "/app.js", "/style.css", "/openapi.json"] {
        assert_eq!(statuses(&shop, path), [200; 4], "{path}");
    }
    let pk = [("authorization", "bearer pk_page")];
    let names = shop.get_with("/v1/views", &pk).json();
    assert!(!names.to_string().contains("profile.value"), "{names}");
    shop.stream_with("/v1/stream/item.sellable", &pk).expect("snapshot");
    for path in ["/v1/stream/profile.value", "/v1/stream?sub=profile.value"] {
        assert_eq!(shop.get_with(path, &pk).error(), (403, "forbidden".into()));
        assert_eq!(shop.get(path).error(), (401, "no_key".into()));
    }
}

#[test]
fn a_publishable_key_sends_events_and_nothing_else() {
    let shop = locked();
    let stock = br#"{"messageId":"s1","item_id":"1","op":"set","available":3}"#;
    let event = br#"{"messageId":"e1","type":"track","event":"view_item","properties":{"items":[{"item_id":"1"}]}}"#;
    for (path, body, allowed) in
        [("/v1/events", &event[..], 200), ("/v1/inventory", &stock[..], 403), ("/v1/catalog", b"{}", 403)]
    {
        assert_eq!(shop.post(path, body, &[]).status, 401, "{path}");
        assert_eq!(shop.post(path, body, &[("x-etalage-key", PK)]).status, allowed, "{path}");
        assert_eq!(shop.post(path, body, &[("x-etalage-key", SK)]).status, 200, "{path}");
    }
}

#[test]
fn the_wall_clock_is_adopted_with_a_secret_key_alone() {
    let shop = locked();
    let accept = |headers: &[(&str, &str)]| shop.post("/v1/clock/accept", b"", headers);
    assert_eq!(accept(&[]).error(), (401, "no_key".into()));
    assert_eq!(accept(&[("x-etalage-key", PK)]).error(), (403, "forbidden".into()));
    let sk = [("x-etalage-key", SK)];
    assert_eq!(accept(&sk).json()["was_off_ms"], 7);
    assert_eq!(shop.get_with("/v1/clock", &sk).json()["off_ms"], 7);
    *shop.door.mood.lock() = Mood::Stops;
    assert_eq!(accept(&sk).error(), (409, "no_wall_clock".into()));
    *shop.door.not_ready.lock() = Some("the log is being read back".into());
    assert_eq!(accept(&sk).error(), (503, "not_ready".into()));
}

#[test]
fn no_key_is_ever_shown() {
    let keys = Keys::parse(&[hash_key(PK)], &[hash_key(SK)]).unwrap();
    let shown = format!("{:?}", ServeOptions { keys, ..ServeOptions::default() });
    for secret in [PK, SK, &hash_key(PK)[..12], &hash_key(SK)[..12]] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_page_may_load_nothing_from_elsewhere() {
    let shop = Shop::open();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/openapi.json", "application/json"),
    ] {
        let answer = shop.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, content_type));
        assert!(answer.header("content-security-policy").starts_with("default-src 'self';"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let document = shop.get("/openapi.json").json();
    assert!(document["paths"]["/v1/stream"]["get"].is_object());
}

#[test]
fn the_quarantine_is_listed_page_by_page() {
    let shop = locked();
    let sk = [("x-etalage-key", SK)];
    let page = shop.get_with("/v1/quarantine?limit=2", &sk).json();
    assert_eq!(page["records"].as_array().unwrap().len(), 2);
    assert_eq!(page["records"][0]["code"], "conflict");
    assert_eq!(page["next"], 2);
    let rest = shop.get_with("/v1/quarantine?limit=2&after=2", &sk).json();
    assert_eq!((rest["records"][0]["seq"].as_u64(), rest["next"].as_u64()), (Some(3), None));
    assert_eq!(shop.get_with("/v1/quarantine?limit=0", &sk).error(), (400, "bad_parameter".into()));
}

#[test]
fn metrics_have_stable_names() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).expect("no other test sets one");
    let metrics = Arc::new(move || handle.render());
    let shop =
        Shop::with(ServeOptions { metrics, heartbeat_ms: 10, ..ServeOptions::default() }, StoreOptions::default());
    shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1))]);
    let mut stream = shop.stream_with("/v1/stream/item.sellable", &[("last-event-id", "1-1")]);
    assert_eq!(stream.next().event, "reset");
    shop.get("/v1/views/item.sellable/none");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    // Gauges are set with the heartbeats.
    loop {
        let text = String::from_utf8(shop.get("/metrics").bytes).unwrap();
        let missing: Vec<_> = [
            "etalage_http_requests_total{route=\"/v1/views/{view}/{*key}\",code=\"404\"} ",
            "etalage_http_requests_total{route=\"/v1/stream/{view}\",code=\"200\"} ",
            "etalage_freshness_seconds_count{group=\"shop\"} ",
            "etalage_sse_streams ",
            "etalage_sse_resets_total{reason=\"other_epoch\"} ",
            "etalage_view_keys{view=\"item.sellable\"} ",
            "etalage_as_of_seconds{group=\"shop\"} 129119",
        ]
        .into_iter()
        .filter(|line| !text.lines().any(|given| given.starts_with(line)))
        .collect();
        if missing.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{missing:?} are missing in\n{text}");
    }
}
