//! Each view can be switched off: it is not listed, not answered and not computed, and the others
//! say what they say with it.

use etalage_tests::{Shop, http::eventually, seed, story::Story};
use rand::RngExt;
use serde_json::json;

const VIEWS: [&str; 4] = ["item.sellable", "item.popularity", "scope.totals", "set.bestsellers"];
const FROM_MS: u64 = 1_704_067_200_000;

fn config(off: &[&str]) -> String {
    let off: Vec<String> = off.iter().map(|view| format!("\"{view}\"")).collect();
    format!("[windows]\nnames = [\"1h\", \"1d\"]\nbucket = \"10m\"\n[views]\noff = [{}]\n", off.join(", "))
}

/// What the views say of a shop's file, as JSON lines.
fn dumped(off: &[&str], file: &str, views: &[&str]) -> Vec<String> {
    let shop = Shop::new(&config(off));
    let mut arguments = vec!["replay", file, "--format", "jsonl"];
    views.iter().for_each(|view| arguments.extend(["--dump", view]));
    let ended = shop.ended(&arguments).with_code(0);
    shop.ended(&["verify"]).with_code(0);
    ended.out.lines().map(str::to_owned).collect()
}

#[test]
fn the_others_say_the_same_without_it() {
    let (_, random) = seed::draw("views_off");
    let mut story = Story::new(random, 12);
    let mut at_ms = FROM_MS;
    let lines: Vec<String> = (0..400)
        .map(|_| {
            at_ms += story.random().random_range(0..600_000);
            story.any(at_ms).1.to_string()
        })
        .collect();
    let shop = Shop::new("");
    let file = shop.write("day.jsonl", lines.join("\n"));
    let file = file.to_str().expect("a path that is text");
    let whole = dumped(&[], file, &VIEWS);
    for on in 0..1 << VIEWS.len() {
        let (on, off): (Vec<_>, Vec<_>) = VIEWS.iter().enumerate().partition(|(at, _)| on & (1 << at) != 0);
        let [on, off] = [on, off].map(|views| views.into_iter().map(|(_, view)| *view).collect::<Vec<&str>>());
        if on.is_empty() || off.is_empty() {
            continue;
        }
        let of_these = |line: &&String| on.iter().any(|view| line.starts_with(&format!(r#"{{"view":"{view}""#)));
        let expected: Vec<&String> = whole.iter().filter(of_these).collect();
        assert!(!expected.is_empty());
        assert_eq!(dumped(&off, file, &on).iter().collect::<Vec<_>>(), expected, "without {off:?}");
    }
}

#[test]
fn what_is_off_is_neither_listed_nor_answered() {
    let shop = Shop::new(&config(&["scope.totals", "set.bestsellers"]));
    let server = shop.run();
    let listed = server.http.json("/v1/views");
    let of_shop = listed["views"].as_array().expect("a list").iter().filter(|view| view["group"] == "shop");
    let names = of_shop.map(|view| view["name"].as_str());
    let on = ["item.sellable", "item.popularity", "item.trend", "set.trending"];
    assert_eq!(names.collect::<Vec<_>>(), on.map(Some));
    for path in ["/v1/views/scope.totals", "/v1/views/set.bestsellers/global/1h", "/v1/stream?sub=scope.totals"] {
        let answer = server.http.get(path);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("unknown_view")), "{path}");
        assert!(answer.text.contains("item.popularity"), "it says which there are: {}", answer.text);
    }
    let view = json!({ "event": "view_item", "messageId": "1", "properties": { "items": [{ "item_id": "a" }] } });
    server.http.store("/v1/events", &[view]);
    let key = json!({ "scope": "global", "window": "1h", "item_id": "a" });
    let found = eventually("the others go on", || server.http.value("item.popularity", &key));
    assert_eq!(found["views"], 1);
    server.terminate().with_code(0);

    // What is switched on later is there from the beginning: everything is rebuilt from the log.
    shop.configure(&config(&[]));
    let server = shop.run();
    let totals = server.http.value("scope.totals", &json!({ "scope": "global", "window": "1h" }));
    assert_eq!(totals.expect("it has a value")["views"], 1);
}
