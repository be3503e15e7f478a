//! The pages in headless Chromium, against running servers. The live page: an item that is sold out
//! through the API leaves it, and its successor stands in its place. The page of one customer: what is
//! posted shows there, live. The cases stand in `tests/browser/live-page.mjs` and `customer.mjs`.

use std::process::Command;

use etalage_tests::{Ended, Shop, binary::root, etalage};

/// The views that tell of one customer.
const CUSTOMER_VIEWS: &str = r#"["identity.assignment", "profile.snapshot", "profile.customer_status",
    "profile.value", "profile.purchases", "profile.recent_views", "profile.affinity", "profile.activity",
    "cart.state", "signal.cart_abandoned", "audience.suppress"]"#;

/// Runs the cases of a file against a server with this configuration; all of them must hold. What they
/// said.
fn cases(config: &str, file: &str, which: &[&str], environment: &[(&str, &str)]) -> String {
    let shop = Shop::new(config);
    let server = shop.run();
    let mut command = Command::new("node");
    command.current_dir(root().join("tests/browser")).args([file, server.http.url()]).args(which);
    command.envs(environment.iter().copied());
    let ended = Ended::of(command).with_code(0);
    drop(server);
    ended.out
}

#[test]
fn the_live_page_follows_stock() {
    print!("{}", cases("", "live-page.mjs", &[], &[]));
}

#[test]
fn the_customer_page_follows_one_customer() {
    print!("{}", cases("[people]\ncart_idle = \"1s\"\n", "customer.mjs", &[], &[]));
}

#[test]
fn the_pages_do_without_views_of_customers() {
    print!("{}", cases(&format!("[views]\noff = {CUSTOMER_VIEWS}\n"), "customer.mjs", &["off"], &[]));
    print!("{}", cases("[views]\noff = [\"profile.snapshot\"]\n", "customer.mjs", &["single"], &[]));
}

#[test]
fn customers_are_shown_to_secret_keys_only() {
    let [(publishable, publishable_hash), (secret, secret_hash)] = ["pk", "sk"].map(|kind| {
        let made = Ended::of(etalage(["key", "new", kind, "--json"])).with_code(0).json_lines().remove(0);
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name} in {made}")).to_owned();
        (text("key"), text("sha256"))
    });
    let config = format!("[keys]\npublishable = [\"{publishable_hash}\"]\nsecret = [\"{secret_hash}\"]\n");
    let environment = [("ETALAGE_KEY", secret.as_str()), ("ETALAGE_PUBLISHABLE_KEY", publishable.as_str())];
    print!("{}", cases(&config, "customer.mjs", &["keys"], &environment));
}
