//! Whoever is silent for `people.profile_retention` is forgotten, by time alone, and stays so over a restart.

use std::time::{SystemTime, UNIX_EPOCH};

use etalage_tests::{Http, Shop, http::eventually};
use serde_json::{Value, json};

const CONFIG: &str = r#"
[windows]
names = ["12h"]
bucket = "1h"
[people]
suppress_for = "1d"
profile_retention = "1d"
"#;

const DAY_S: u64 = 86_400;
/// How long it takes until what was heard of somebody for the last time in these tests was a day ago.
const LEFT_S: u64 = 20;

/// An event of so many seconds ago.
fn event(id: &str, name: &str, who: &Value, ago_s: u64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let properties = json!({ "transaction_id": id, "items": [{ "item_id": "shoe", "price": 1, "quantity": 1 }] });
    let mut event =
        json!({ "messageId": id, "event": name, "timestamp": now - ago_s * 1_000, "properties": properties });
    event.as_object_mut().expect("an object").extend(who.as_object().expect("an object").clone());
    event
}

fn orders(http: &Http, profile: &str) -> Option<u64> {
    http.value("profile.value", &json!({ "profile_id": profile }))?["orders"].as_u64()
}

#[test]
fn who_is_silent_is_forgotten_and_begins_anew() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    let (ann, bob, visitor) = (json!({ "userId": "ann" }), json!({ "userId": "bob" }), json!({ "anonymousId": "v" }));
    let messages = [
        event("a1", "purchase", &ann, DAY_S - LEFT_S),
        event("b1", "purchase", &bob, DAY_S - LEFT_S),
        event("v1", "purchase", &visitor, DAY_S - LEFT_S),
        event("b2", "view_item", &bob, 0),
        event("l1", "view_item", &json!({ "userId": "bob", "anonymousId": "v" }), 0),
    ];
    server.http.store("/v1/events", &messages);
    eventually("both are known", || {
        (orders(&server.http, "ann")? == 1 && orders(&server.http, "bob")? == 2).then_some(())
    });
    eventually("ann is forgotten", || orders(&server.http, "ann").is_none().then_some(()));
    eventually("what the visitor did is", || (orders(&server.http, "bob")? == 1).then_some(()));
    assert_eq!(server.http.post("/v1/snapshots", "").status, 201);
    server.terminate().with_code(0);

    let server = shop.run();
    assert_eq!((orders(&server.http, "ann"), orders(&server.http, "bob")), (None, Some(1)));
    let linked = server.http.value("identity.assignment", &json!({ "kind": "anonymous", "id": "v" }));
    assert!(linked.is_some_and(|row| row["profile_id"] == "bob"), "a link stays");
    server.http.store("/v1/events", &[event("a2", "purchase", &ann, 0)]);
    eventually("ann is there again", || (orders(&server.http, "ann")? == 1).then_some(()));
    // What comes late fills the pause: everything counts again.
    server.http.store("/v1/events", &[event("a3", "view_item", &ann, DAY_S / 2)]);
    eventually("what ann did before counts", || (orders(&server.http, "ann")? == 2).then_some(()));
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}
