//! The live page in headless Chromium, against a running server: an item that is sold out through
//! the API leaves the page, and its successor stands in its place. The cases stand in
//! `tests/browser/live-page.mjs`.

use std::process::Command;

use etalage_tests::{Ended, Shop, binary::root};

#[test]
fn the_live_page_follows_stock() {
    let shop = Shop::new("");
    let server = shop.run();
    let mut command = Command::new("node");
    command.current_dir(root().join("tests/browser")).args(["live-page.mjs", server.http.url()]);
    let ended = Ended::of(command).with_code(0);
    print!("{}", ended.out);
    drop(server);
}
