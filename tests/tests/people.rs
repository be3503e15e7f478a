//! People, over HTTP: what follows them when they log in, what is read by whatever identifier, what is
//! left of somebody who was erased, which events made a value, and that the shop never waits for them.

use std::{fs, path::Path, time::Duration};

use etalage_tests::{Ended, Http, Shop, etalage, http::eventually};
use serde_json::{Value, json};

/// Idle carts are abandoned at once, more or less.
const CONFIG: &str = "[windows]\nnames = [\"1h\", \"7d\"]\nbucket = \"10m\"\n[people]\ncart_idle = \"300ms\"\n";

/// Somebody does something with an item.
fn event(id: &str, name: &str, who: &Value, item: &str) -> Value {
    let mut event = json!({
        "messageId": id, "event": name,
        "properties": { "transaction_id": format!("t-{id}"), "items": [{ "item_id": item, "price": "10" }] },
    });
    let ids = who.as_object().expect("identifiers").clone();
    event.as_object_mut().expect("an object").extend(ids);
    event
}

fn link(id: &str, kind: &str, user: &str, other: (&str, &str)) -> Value {
    json!({ "messageId": id, "type": kind, "userId": user, other.0: other.1 })
}

fn visitor(id: &str) -> Value {
    json!({ "anonymousId": id })
}

fn user(id: &str) -> Value {
    json!({ "userId": id })
}

fn profile(id: &str) -> Value {
    json!({ "profile_id": id })
}

/// The items in somebody's cart.
fn cart(http: &Http, id: &str) -> Vec<String> {
    let cart = http.value("cart.state", &profile(id)).unwrap_or_default();
    let lines = cart["lines"].as_array().cloned().unwrap_or_default();
    lines.iter().map(|line| line["item_id"].as_str().expect("an item").to_owned()).collect()
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()));
}

/// Everything that is known of people, as texts.
fn all(http: &Http) -> Vec<String> {
    let views = ["profile.snapshot", "identity.assignment", "profile.identifiers", "item.viewers", "scope.buyers"];
    let entries = views.into_iter().flat_map(|view| {
        let page = http.json(&format!("/v1/views/{view}?limit=1000"));
        let entries = page["entries"].as_array().cloned().expect("a list");
        entries.into_iter().map(move |entry| format!("{view} {} {}", entry["key"], entry["value"]))
    });
    entries.collect()
}

#[test]
fn a_log_in_moves_the_cart_and_an_unlink_moves_it_back() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    let http = &server.http;
    http.store(
        "/v1/events",
        &[event("1", "add_to_cart", &visitor("v"), "boot"), event("2", "view_item", &user("ann"), "clog")],
    );
    until("the visitor has a cart", || cart(http, "anon:v") == ["boot"] && cart(http, "ann").is_empty());
    let before = http.value("profile.snapshot", &profile("anon:v")).expect("a visitor").to_string();

    http.store("/v1/events", &[link("3", "identify", "ann", ("anonymousId", "v"))]);
    until("the cart is hers", || cart(http, "ann") == ["boot"]);
    // The visitor is found under her name from now on, by whatever identifier.
    assert_eq!(cart(http, "anon:v"), ["boot"]);
    assert_eq!(cart(http, "v"), ["boot"]);
    let one = http.json("/v1/views/cart.state/v");
    assert_eq!(one["key"], profile("ann"));
    let assigned = http.value("identity.assignment", &json!({ "kind": "anonymous", "id": "v" }));
    assert_eq!(assigned, Some(profile("ann")));

    http.store("/v1/events", &[link("4", "unlink", "ann", ("anonymousId", "v"))]);
    until("the cart is the visitor's again", || cart(http, "ann").is_empty() && cart(http, "anon:v") == ["boot"]);
    let after = http.value("profile.snapshot", &profile("anon:v")).expect("a visitor").to_string();
    assert_eq!(before, after, "as if they had never been linked");
    // The same after a restart.
    let all_before = all(http);
    drop(server.kill());
    let server = shop.run();
    assert_eq!(all(&server.http), all_before);
    server.terminate();
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn an_abandoned_cart_is_told_and_a_purchase_on_another_device_takes_it_back() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    let http = &server.http;
    http.store("/v1/inventory", &[json!({ "messageId": "s1", "item_id": "clog", "op": "set", "available": 0 })]);
    http.store(
        "/v1/events",
        &[
            link("1", "identify", "ann", ("anonymousId", "phone")),
            link("2", "identify", "ann", ("anonymousId", "desk")),
            event("3", "add_to_cart", &visitor("phone"), "boot"),
            event("4", "add_to_cart", &visitor("phone"), "clog"),
        ],
    );
    let signal = || {
        let page = http.json("/v1/views/signal.cart_abandoned?prefix=ann/");
        page["entries"][0]["value"].clone()
    };
    until("the signal opens", || signal()["state"] == "open");
    let open = signal();
    let items: Vec<&Value> = open["lines"].as_array().expect("lines").iter().map(|line| &line["item_id"]).collect();
    assert_eq!(items, ["boot"], "what is sold out is not in it");
    assert_eq!(open["cause"], "4");

    http.store("/v1/events", &[event("5", "purchase", &visitor("desk"), "boot")]);
    until("the signal is taken back", || signal()["state"] == "cancelled");
    let cancelled = signal();
    assert_eq!((&cancelled["signal_id"], &cancelled["reason"]), (&open["signal_id"], &json!("purchase")));
    assert_eq!(cart(http, "ann"), Vec::<String>::new());
    until("what was bought is not advertised", || {
        http.value("audience.suppress", &json!({ "profile_id": "ann", "item_id": "boot" })).is_some()
    });
}

#[test]
fn views_of_both_groups_are_read_at_one_tick() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    let http = &server.http;
    // Each view counts once for the item and once for the person: read together they must agree.
    for round in 1..=40 {
        http.store("/v1/events", &[event(&format!("e{round}"), "view_item", &visitor("v"), "boot")]);
        let read = http.json("/v1/read?get=item.popularity:global/7d/boot&get=profile.activity:anon:v");
        let of_item = read["entries"][0]["value"]["views"].as_i64().unwrap_or(0);
        let windows = read["entries"][1]["value"]["windows"].as_array().cloned().unwrap_or_default();
        let week = windows.iter().find(|window| window["window"] == "7d");
        let of_person = week.map_or(0, |week| week["views"].as_i64().expect("views"));
        assert_eq!(of_item, of_person, "{read}");
    }
    until("both count all of it", || {
        let read = http.json("/v1/read?get=item.popularity:global/7d/boot&get=profile.activity:anon:v");
        let windows = read["entries"][1]["value"]["windows"].as_array().cloned().unwrap_or_default();
        let of_person = windows.iter().find(|window| window["window"] == "7d").map(|window| window["views"].clone());
        (&read["entries"][0]["value"]["views"], of_person) == (&json!(40), Some(json!(40)))
    });
}

#[test]
fn events_behind_a_value_are_told() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    let http = &server.http;
    http.store(
        "/v1/events",
        &[
            event("1", "purchase", &user("ann"), "boot"),
            event("2", "view_item", &user("ann"), "boot"),
            event("3", "purchase", &user("bob"), "boot"),
            event("4", "purchase", &visitor("v"), "clog"),
            link("5", "identify", "ann", ("anonymousId", "v")),
        ],
    );
    until("they are linked", || http.value("profile.identifiers", &profile("ann")).is_some());
    let causes = |path: &str| {
        let told = http.json(&format!("/v1/explain/{path}"));
        let events = told["events"].as_array().cloned().expect("events");
        let ids: Vec<String> = events.iter().map(|cause| cause["event"]["message_id"].to_string()).collect();
        (ids, told["more"].as_u64())
    };
    assert_eq!(causes("profile.value/ann").0, [r#""4""#, r#""1""#]);
    assert_eq!(causes("profile.value/anon:v"), causes("profile.value/ann"));
    assert_eq!(causes("profile.value/ann?limit=1"), (vec![r#""4""#.into()], Some(1)));
    assert_eq!(causes("audience.suppress/ann/boot").0, [r#""1""#]);
    assert_eq!(causes("identity.assignment/anonymous/v").0, [r#""5""#]);
    assert_eq!(http.get("/v1/explain/item.popularity/global/7d/boot").status, 400, "it is about nobody");
    let ended = shop.ended(&["explain", "profile.value", "ann", "--url", http.url()]).with_code(0);
    assert!(ended.out.contains("boot x1") && ended.out.lines().count() == 2, "{ended}");
}

/// Every byte below `dir`.
fn stands_anywhere(word: &str, dir: &Path) -> Option<String> {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if let Some(found) = stands_anywhere(word, &path) {
                return Some(found);
            }
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        if bytes.windows(word.len()).any(|window| window == word.as_bytes()) {
            return Some(path.display().to_string());
        }
    }
    None
}

const WHO: &str = "customer-to-forget";
const DEVICE: &str = "device-to-forget";

/// What others do, some of it on the erased person's device.
fn others() -> Vec<Value> {
    let on_device = json!({ "userId": "bob", "anonymousId": DEVICE });
    vec![
        event("b1", "view_item", &user("bob"), "boot"),
        event("b2", "purchase", &on_device, "clog"),
        event("b3", "view_item", &visitor("v"), "boot"),
    ]
}

fn theirs() -> Vec<Value> {
    vec![
        event("a1", "view_item", &visitor(DEVICE), "boot"),
        event("a2", "purchase", &user(WHO), "boot"),
        link("a0", "identify", WHO, ("anonymousId", DEVICE)),
        event("a3", "add_to_cart", &user(WHO), "clog"),
        event("a4", "view_item", &json!({ "userId": WHO, "anonymousId": DEVICE }), "mule"),
    ]
}

#[test]
fn of_somebody_who_was_erased_nothing_is_left() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    let http = &server.http;
    http.store("/v1/events", &theirs());
    http.store("/v1/events", &others());
    let refused = http.post("/v1/events", json!({ "messageId": "r", "event": 7, "userId": WHO }).to_string());
    assert_eq!(refused.statuses(), ["refused"]);
    until("they are one", || http.value("profile.identifiers", &profile(WHO)).is_some());
    until("it is quarantined", || http.json("/v1/quarantine")["records"].as_array().is_some_and(|all| !all.is_empty()));
    let views =
        |scope: &str| http.value("item.popularity", &json!({ "scope": "global", "window": "7d", "item_id": scope }));
    assert_eq!(views("boot").expect("a boot")["views"], 3);
    assert!(stands_anywhere(WHO, &shop.data()).is_some());

    let answer = http.try_delete(&format!("/v1/profiles/{DEVICE}")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let receipt = answer.json();
    assert_eq!((&receipt["records"], &receipt["quarantined"]), (&json!(6), &json!(1)), "{receipt}");
    assert_eq!(receipt["profile"].as_str().map(str::len), Some(64), "a keyed hash");

    // Gone from the views, and subtracted from what is counted of all.
    assert_eq!(http.value("profile.snapshot", &profile(WHO)), None);
    assert_eq!(http.value("identity.assignment", &json!({ "kind": "anonymous", "id": DEVICE })), None);
    let boot = views("boot").expect("a boot");
    assert_eq!((&boot["views"], &boot["orders"]), (&json!(2), &json!(0)));
    assert_eq!(views("mule"), None);
    let buyers = http.value("scope.buyers", &json!({ "scope": "global", "window": "7d" }));
    assert_eq!(buyers, Some(json!({ "buyers": 1 })));
    assert_eq!(http.value("profile.value", &profile("bob")).expect("bob")["orders"], 1, "his stays");
    // Gone from every file, at once and after a restart.
    for word in [WHO, DEVICE] {
        assert_eq!(stands_anywhere(word, &shop.data()), None, "{word}");
    }
    let after = all(http);
    drop(server.kill());
    let server = shop.run();
    assert_eq!(all(&server.http), after);
    server.http.store("/v1/events", &[event("b9", "view_item", &user("bob"), "boot")]);
    server.terminate();
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn a_store_without_a_server_is_erased_from_too() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    server.http.store("/v1/events", &theirs());
    server.http.store("/v1/events", &others());
    server.terminate();
    let ended = shop.ended(&["erase", WHO]).with_code(0);
    assert!(ended.out.contains("6 records"), "{ended}");
    assert_eq!(stands_anywhere(WHO, &shop.data()), None);
    shop.ended(&["verify"]).with_code(0);
    let nobody = shop.ended(&["erase", "nobody"]).with_code(0);
    assert!(nobody.out.contains(": 0 records"), "{nobody}");
    let nowhere = Ended::of(etalage(["erase", WHO, "--data-dir", "/nowhere/at/all"]));
    assert_eq!(nowhere.code, Some(3), "{nowhere}");
}

#[test]
fn a_visitor_who_never_logged_in_is_erased_by_the_id_that_was_sent() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    let http = &server.http;
    http.store("/v1/events", &[event("1", "view_item", &visitor("4f1c9e77"), "boot")]);
    until("the visitor is known", || http.value("profile.activity", &profile("anon:4f1c9e77")).is_some());
    let receipt = http.try_delete("/v1/profiles/4f1c9e77").expect("an answer").json();
    assert_eq!(receipt["records"], 1, "{receipt}");
    assert_eq!(stands_anywhere("4f1c9e77", &shop.data()), None);
}

#[test]
fn nobody_is_erased_where_it_is_not_known_who_belongs_together() {
    let shop = Shop::new(&format!("{CONFIG}[views]\noff = [\"profile.identifiers\"]\n"));
    let server = shop.run();
    server.http.store("/v1/events", &[event("1", "view_item", &user("ann"), "boot")]);
    let refused = server.http.try_delete("/v1/profiles/ann").expect("an answer");
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("not_erased")), "{}", refused.text);
    assert!(refused.text.contains("profile.identifiers"), "{}", refused.text);
}

#[test]
fn the_shop_does_not_wait_for_people() {
    let config = format!("{CONFIG}[time]\ngroup_lag_max = \"1s\"\n");
    let shop = Shop::new(&config).with_variable("ETALAGE_MUTANT", "held-customer");
    let server = shop.run();
    let http = &server.http;
    // From the first event on, nobody's views are sealed any more.
    let stuck = http.json("/v1/views/profile.snapshot?limit=1")["as_of"].clone();
    let set = || {
        let set = http.value("set.bestsellers", &json!({ "scope": "global", "window": "7d" })).unwrap_or_default();
        set["items"].as_array().map_or(0, Vec::len)
    };
    for (round, item) in ["boot", "clog", "mule"].into_iter().enumerate() {
        http.store("/v1/events", &[event(&format!("e{round}"), "purchase", &user("ann"), item)]);
        until("bestsellers go on", || set() == round + 1);
    }
    let behind = http.json("/v1/views/profile.snapshot?limit=10");
    assert_eq!(behind["entries"], json!([]), "of the events nothing is known of her");
    assert!(behind["as_of"].as_str() < http.json("/v1/views/set.bestsellers?limit=1")["as_of"].as_str());
    assert!(behind["as_of"].as_str() >= stuck.as_str());
    // Both together are answered as of their tick, at which nothing was sold, as long as that is known.
    let both = "/v1/read?get=set.bestsellers:global/7d&get=profile.value:ann";
    let read = http.json(both);
    assert_eq!((&read["as_of"], &read["entries"][0]["value"]), (&behind["as_of"], &Value::Null), "{read}");
    std::thread::sleep(Duration::from_millis(1_200));
    let late = event("late", "purchase", &user("ann"), "boot");
    until("beyond group_lag_max messages are turned away", || http.post("/v1/events", late.to_string()).status == 429);
    until("and so are reads of both", || http.get(both).status == 503);
    assert_eq!(set(), 3, "the shop's are answered");
    drop(server.kill());
}
