//! Keys from end to end: `etalage key new` makes them, the configuration holds their hashes, a
//! server lets in whom it should, and nothing else listens beyond the loopback address.

use etalage_tests::{Ended, Http, Shop, Stream, etalage};
use serde_json::Value;

const EVENT: &str = r#"{"event":"view_item","properties":{"items":[{"item_id":"a"}]}}"#;
const STOCK: &str = r#"{"messageId":"s","item_id":"a","op":"set","available":1}"#;
const ENTRY: &str = r#"{"messageId":"c","item_id":"a","brand":"Acme"}"#;

struct Keys {
    publishable: String,
    secret: String,
    config: String,
}

fn keys(listen: &str) -> Keys {
    let new = |kind: &str| {
        let made = Ended::of(etalage(["key", "new", kind, "--json"])).with_code(0).json_lines().remove(0);
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name} in {made}")).to_owned();
        assert!(text("key").starts_with(&format!("{kind}_")), "{made}");
        (text("key"), text("sha256"))
    };
    let ((publishable, publishable_hash), (secret, secret_hash)) = (new("pk"), new("sk"));
    let config = format!(
        "[server]\nlisten = \"{listen}\"\n[keys]\npublishable = [\"{publishable_hash}\"]\nsecret = [\"{secret_hash}\"]\n"
    );
    Keys { publishable, secret, config }
}

#[test]
fn without_keys_nothing_listens_elsewhere() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let shop = Shop::new(&format!("[server]\nlisten = \"{listen}\"\n"));
        for command in ["check", "run"] {
            shop.ended(&[command]).with_code(2).says(&["server.listen", "keys"]);
        }
        assert!(!shop.data().exists(), "nothing is opened");
    }
}

#[test]
fn with_keys_it_listens_elsewhere() {
    let keys = keys("0.0.0.0:0");
    let shop = Shop::new(&keys.config);
    let server = shop.run();
    let port = server.http.url().rsplit(':').next().expect("a port").to_owned();
    assert!(server.http.url().starts_with("http://0.0.0.0:"), "{}", server.http.url());
    let http = Http::new(&format!("http://127.0.0.1:{port}"));
    assert_eq!(http.get("/v1/views").status, 401);
    assert_eq!(http.with_key(&keys.secret).get("/v1/views").status, 200);
}

/// Statuses of every kind of request.
fn statuses(http: &Http) -> Vec<(&'static str, u16)> {
    let posts = [("/v1/events", EVENT), ("/v1/inventory", STOCK), ("/v1/catalog", ENTRY)];
    let gets = [
        "/healthz",
        "/readyz",
        "/",
        "/v1/views",
        "/v1/views/item.sellable",
        "/v1/views/item.sellable/a",
        "/v1/status",
        "/v1/quarantine",
        "/metrics",
    ];
    let posts = posts.into_iter().map(|(path, body)| (path, http.post(path, body).status));
    posts.chain(gets.into_iter().map(|path| (path, http.get(path).status))).collect()
}

#[test]
fn each_key_may_do_what_it_is_for() {
    let keys = keys("127.0.0.1:0");
    let shop = Shop::new(&keys.config).with_variable("ETALAGE_LOG", "trace");
    let server = shop.run();
    let http = &server.http;
    let (publishable, secret) = (http.with_key(&keys.publishable), http.with_key(&keys.secret));

    let all = statuses(&secret);
    assert!(all.iter().all(|(path, status)| *status == 200 || *path == "/v1/views/item.sellable/a"), "{all:?}");
    etalage_tests::http::eventually("the stock is there", || {
        (secret.get("/v1/views/item.sellable/a").status == 200).then_some(())
    });
    let forbidden = ["/v1/inventory", "/v1/catalog", "/v1/quarantine", "/metrics"];
    for (path, status) in statuses(&publishable) {
        assert_eq!(status, if forbidden.contains(&path) { 403 } else { 200 }, "{path} with a publishable key");
    }
    let open = ["/healthz", "/readyz", "/"];
    let hash = etalage_hash(&shop);
    for (who, stranger) in [
        ("nobody", http.clone()),
        (
            "a key that was never made",
            http.with_key("sk_0000000000000000000000000000000000000000000000000000000000000000"),
        ),
        ("somebody who has read the configuration", http.with_key(&hash)),
        ("half a key", http.with_key(&keys.secret[..20])),
    ] {
        for (path, status) in statuses(&stranger) {
            assert_eq!(status, if open.contains(&path) { 200 } else { 401 }, "{path} for {who}");
        }
        assert_eq!(stranger.get("/v1/stream?sub=item.sellable").status, 401, "{who}");
    }
    let refused = http.get("/v1/views");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert!(refused.text.contains("X-Etalage-Key"), "{}", refused.text);
    assert_eq!(http.with("X-Etalage-Key", &keys.publishable).get("/v1/views").status, 200);
    assert_eq!(http.get(&format!("/v1/views?key={}", keys.secret)).status, 401, "a key never stands in an address");
    let stream = Stream::open(&publishable, "/v1/stream?sub=item.sellable", None);
    assert_eq!(stream.next().event, "snapshot");

    let said = server.said();
    assert!(!said.contains(&keys.secret) && !said.contains(&keys.publishable), "a key was written down: {said}");
}

/// The secret key's hash, as it stands in the configuration.
fn etalage_hash(shop: &Shop) -> String {
    let config = std::fs::read_to_string(shop.path("shop.toml")).expect("the configuration is there");
    let line = config.lines().find_map(|line| line.strip_prefix("secret = [\"")).expect("it has a secret key");
    line.trim_end_matches("\"]").to_owned()
}

#[test]
fn commands_send_a_key() {
    let keys = keys("127.0.0.1:0");
    let shop = Shop::new(&keys.config);
    let server = shop.run();
    server.http.with_key(&keys.secret).store("/v1/inventory", &[serde_json::from_str::<Value>(STOCK).expect("JSON")]);
    let get = |more: &[&str]| {
        let arguments = ["get", "item.sellable", "--json", "--url", server.http.url()];
        Ended::of(etalage(arguments.iter().chain(more)))
    };
    get(&[]).with_code(1).says(&["401", "key"]);
    get(&["--key", "pk_wrong"]).with_code(1).says(&["401"]);
    for key in [&keys.publishable, &keys.secret] {
        let found = etalage_tests::http::eventually("the stock is there", || {
            let lines = get(&["--key", key]).with_code(0).json_lines();
            lines.into_iter().next()
        });
        assert_eq!((&found["key"]["item_id"], &found["value"]["available"]), (&"a".into(), &1.into()));
    }
    let quarantine = |key: &str| Ended::of(etalage(["quarantine", "list", "--url", server.http.url(), "--key", key]));
    quarantine(&keys.publishable).with_code(1).says(&["403"]);
    quarantine(&keys.secret).with_code(0);
}
