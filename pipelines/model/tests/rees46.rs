//! The format of REES46: a file with every kind of row, and small ones that show each fault.

mod common;

use std::collections::BTreeMap;

use common::files::{bad, cut, event, fixture, ids, summary};
use etalage_model::{
    EventKind, Micros, Record, Refusal,
    decode::{
        ReadError,
        rees46::{COLUMNS, Counts, Reader},
    },
    money::Currencies,
};
use proptest::{collection::vec, prelude::*};

type Results = Vec<Result<(u64, Record), ReadError>>;

fn read(bytes: &[u8]) -> (Results, Counts) {
    read_in(bytes, Currencies::only("USD"))
}

fn read_in(bytes: &[u8], currencies: Currencies) -> (Results, Counts) {
    let mut reader = Reader::new(bytes, currencies).unwrap();
    let results = reader.by_ref().collect();
    (results, reader.counts())
}

fn file(rows: &[&str]) -> Vec<u8> {
    [&[COLUMNS.join(",").as_str()], rows].concat().join("\n").into_bytes()
}

const PURCHASE: &str = "2019-10-01 00:02:14 UTC,purchase,7,1,a.b,acme,2.50,u1,s1";

#[test]
fn every_kind_of_row_becomes_its_message() {
    let (results, counts) = read(&fixture("rees46.csv"));
    let expected = [
        (2, "view_item 44600062"),
        (3, "view_item 3900821"),
        (4, "add_to_cart 1004856"),
        (5, "remove_from_cart 1004856"),
        (8, "purchase 1004856 5700518 5700518"),
        (9, "view_item 22700129"),
        (10, "purchase 1002544"),
        (11, "purchase 1002544"),
        (12, "purchase 1005115"),
    ];
    assert_eq!(summary(&results), expected.map(|(line, text)| (line, text.to_owned())));
    let of = Counts { rows: 11, views: 3, carts: 1, removals: 1, purchases: 6, bad: 0, messages: 9 };
    assert_eq!(counts, of);
    assert_eq!(ids(&results).len(), 9);
}

#[test]
fn fields_have_their_places() {
    let (results, _) = read(&fixture("rees46.csv"));
    let [by_id, by_code, .., last] = &results[..] else { panic!("messages") };
    let first = event(by_id);
    assert_eq!(first.user_id.as_deref(), Some("541312140"));
    assert_eq!((first.anonymous_id.as_deref(), first.transaction_id.as_deref()), (None, None));
    assert_eq!(Some(first.timestamp), Micros::parse("2019-10-01T00:00:00Z"));
    assert_eq!((first.items[0].quantity, first.items[0].price_micros), (1, 35_790_000));
    assert_eq!(first.items[0].brand.unwrap().as_str(), "shiseido");
    assert_eq!(first.items[0].category.unwrap().as_str(), "2103807459595387724");
    let levels = event(by_code).items[0].category.unwrap();
    assert_eq!(levels.as_str(), "appliances/environment/water_heater");
    assert_eq!(event(&results[5]).items[0].brand.unwrap().as_str(), "stels, \"pro\"");
    assert_eq!(event(&results[4]).items[1].brand, None);
    assert_eq!((event(last).items[0].brand, event(last).items[0].category), (None, None));
}

#[test]
fn an_order_is_the_rows_of_a_session_and_a_time() {
    let (results, _) = read(&fixture("rees46.csv"));
    let transaction = |at: usize| event(&results[at]).transaction_id.as_deref().unwrap();
    assert_eq!(transaction(4), "8187d148-3c41-46d4-9b0c-9c08cd9dc564:1569888134");
    assert_eq!(transaction(6), transaction(4), "a view stands between, and the order goes on");
    assert_eq!(transaction(7), "8187d148-3c41-46d4-9b0c-9c08cd9dc564:1569888135");
    assert_eq!(transaction(8), "user-520088904:1569888277", "no session");
    let (results, _) = read(&file(&[PURCHASE; 401]));
    let sizes: Vec<_> = results.iter().map(|result| event(result).items.len()).collect();
    assert_eq!(sizes, [200, 200, 1]);
    assert_eq!(ids(&results).len(), 3, "equal rows at other lines are other messages");
    let other = PURCHASE.replace("u1", "u2");
    assert_eq!(read(&file(&[PURCHASE, &other])).0.len(), 2, "two customers have no order in common");
}

#[test]
fn bad_lines_are_told_with_their_numbers_and_cut_no_order() {
    let mut bytes = file(&[
        PURCHASE,
        "2019-10-01 00:02:14 UTC,purchase,7,1,a.b,acme,2.50,u1",
        "2019-10-01T00:02:14Z,view,7,1,a.b,acme,2.50,u1,s1",
        "1969-12-31 23:59:59 UTC,view,7,1,a.b,acme,2.50,u1,s1",
        "2019-02-30 00:00:00 UTC,view,7,1,a.b,acme,2.50,u1,s1",
        "2019-10-01 00:02:14 UTC,wish,7,1,a.b,acme,2.50,u1,s1",
        "2019-10-01 00:02:14 UTC,view,,1,a.b,acme,2.50,u1,s1",
        "2019-10-01 00:02:14 UTC,view,7,1,a.b,acme,2.50,,s1",
        "2019-10-01 00:02:14 UTC,view,7,1,a.b,acme,-79.37,u1,s1",
        "2019-10-01 00:02:14 UTC,view,7,1,a.b,acme,cheap,u1,s1",
        "2019-10-01 00:02:14 UTC,view,7,1,a.b,acme,inf,u1,s1",
        "2019-10-01 00:02:14 UTC,view,7,1,a.b,acme,1000000001,u1,s1",
        "2019-10-01 00:02:14 UTC,view,7,1,a.b.c.d.e.f.g.h.i.j.k,acme,2.50,u1,s1",
        "2019-10-01 00:02:14 UTC,view,7,1,a.b,\"acme,2.50,u1,s1",
    ]);
    let long = "x".repeat(257);
    bytes.extend(format!("\n2019-10-01 00:02:14 UTC,view,{long},1,a.b,acme,2.50,u1,s1").bytes());
    bytes.extend(b"\n2019-10-01 00:02:14 UTC,view,\xff,1,a.b,acme,2.50,u1,s1\r\n\n");
    bytes.extend(PURCHASE.bytes());
    let (results, counts) = read(&bytes);
    let expected = [
        (3, "malformed: expected 9 columns, found 8"),
        (4, "invalid: event_time: expected YYYY-MM-DD HH:MM:SS UTC, found `2019-10-01T00:02:14Z`"),
        (5, "invalid: event_time: expected YYYY-MM-DD HH:MM:SS UTC, found `1969-12-31 23:59:59 UTC`"),
        (6, "invalid: event_time: expected YYYY-MM-DD HH:MM:SS UTC, found `2019-02-30 00:00:00 UTC`"),
        (7, "invalid: event_type: expected view, cart, remove_from_cart or purchase, found `wish`"),
        (8, "invalid: product_id is empty"),
        (9, "invalid: user_id is empty"),
        (10, "invalid: price: expected an amount that is not negative, found `-79.37`"),
        (11, "invalid: price: expected an amount, found `cheap`"),
        (12, "invalid: price: expected an amount, found `inf`"),
        (13, "amount_too_large: a line of more than 1,000,000,000 currency units"),
        (14, "invalid: category_code: expected at most 10 levels, found `a.b.c.d.e.f.g.h.i.j.k`"),
        (15, "malformed: a quote is not closed, or stands where none may (RFC 4180)"),
        (16, &format!("invalid: product_id: expected at most 256 bytes, found `{}`", &long[..40])),
        (17, "malformed: not UTF-8"),
    ];
    assert_eq!(results.len(), expected.len() + 1);
    for (result, (line, reason)) in results.iter().zip(expected) {
        assert_eq!(bad(result), (line, reason.to_owned()));
    }
    assert_eq!(event(&results[expected.len()]).items.len(), 2, "one order around all of them");
    assert_eq!((counts.rows, counts.bad, counts.purchases), (17, 15, 2));
}

#[test]
fn what_may_be_empty_is() {
    let (results, _) =
        read(&file(&["2019-10-01 00:02:14 UTC,cart,7,,,,,u1,", "2019-10-01 00:02:14 UTC,cart,7,8,..,,,u1,"]));
    let item = &event(&results[0]).items[0];
    assert_eq!((item.brand, item.category, item.price_micros), (None, None, 0));
    assert_eq!(event(&results[1]).items[0].category.unwrap().as_str(), "8", "a path without a level");
}

#[test]
fn columns_are_found_by_name() {
    let rows = b"\xef\xbb\xbfuser_session,extra,\"event_time\",event_type,product_id,category_id,category_code,brand,price,user_id\r\n\
        s1,?,2019-10-01 00:00:00 UTC,purchase,7,1,a.b,acme,2.50,u1\r\n";
    let (results, _) = read(rows);
    assert_eq!(event(&results[0]).transaction_id.as_deref(), Some("s1:1569888000"));
    assert_eq!(event(&results[0]).user_id.as_deref(), Some("u1"));
}

#[test]
fn another_header_is_told_with_what_it_lacks() {
    let refusal = |bytes: &[u8]| match Reader::new(bytes, Currencies::only("USD")) {
        Err(error @ ReadError::Header { .. }) => error.to_string(),
        Err(other) => panic!("expected a header error, found {other}"),
        Ok(_) => panic!("taken: {bytes:?}"),
    };
    let lacking = COLUMNS.join(",").replace("price,", "").replace("user_id", "User_Id");
    let expected =
        "this is no rees46 file: the first line must name the columns `price`, `user_id` too, found `event_time,";
    assert!(refusal(lacking.as_bytes()).starts_with(expected), "{}", refusal(lacking.as_bytes()));
    assert!(refusal(b"").ends_with("found nothing"));
    assert!(refusal(b"\r\n\n").ends_with("found nothing"));
    assert!(refusal(b"\x28\xb5\x2f\xfd\x00\xff").contains("`event_time`, `event_type`"));
    assert!(refusal(b"\"event_time,event_type").contains("found `\\\"event_time"));
    assert!(refusal(&vec![b'x'; 1_000_000]).len() < 500);
    assert_eq!(read(COLUMNS.join(",").as_bytes()).1, Counts::default());
}

#[test]
fn prices_are_converted_where_the_shop_has_another_currency() {
    let (early, free) = (PURCHASE.replace("2019-10", "2019-09"), PURCHASE.replace("2.50", "0.00"));
    let rows = file(&[&early, PURCHASE, &free.replace("2019-10", "2019-09")]);
    let mut currencies = Currencies::only("EUR");
    let since = Micros::parse("2019-10-01T00:00:00Z").unwrap();
    currencies.rates.insert("USD".to_owned(), BTreeMap::from([(since, 900_000)]));
    let (results, _) = read_in(&rows, currencies);
    assert_eq!(bad(&results[0]), (2, Refusal::UnknownCurrency("USD".to_owned()).to_string()));
    assert_eq!(event(&results[1]).items[0].price_micros, 2_250_000);
    assert_eq!(event(&results[2]).items[0].price_micros, 0, "nothing needs no rate");
    let (as_sent, _) = read(&rows);
    let content = |result: &Result<(u64, Record), ReadError>| result.as_ref().unwrap().1.content;
    assert_eq!(content(&as_sent[1]), content(&results[1]), "a rate does not change what was sent");
}

#[test]
fn an_input_that_breaks_off_leaves_out_the_order_it_cut() {
    let view = PURCHASE.replace("purchase", "view");
    let rows = file(&[&view, PURCHASE, PURCHASE]);
    let results: Results = Reader::new(cut(&rows), Currencies::only("USD")).unwrap().collect();
    assert_eq!(results.len(), 2);
    assert_eq!(event(&results[0]).kind, EventKind::ViewItem);
    assert_eq!(results[1].as_ref().unwrap_err().to_string(), "reading broke off at line 4: the archive is truncated");
}

#[test]
fn the_same_file_gives_the_same_messages_on_every_machine() {
    let once = || read(&fixture("rees46.csv")).0.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(once(), once());
    assert_eq!(once()[0].1.message.message_id(), "rees46:4b3c627f85cf25dcd86aaf73af44b040");
}

proptest! {
    #[test]
    fn every_row_is_accounted_for(rows in vec("[0-9a-z\", .:-]{0,40}|2019-10-0[1-3] 00:00:00 UTC,(view|cart|purchase|x),[0-9]?,1,[a.]{0,3},b,-?[0-9],u?,[st]?", 0..30)) {
        let text = format!("{}\n{}", COLUMNS.join(","), rows.join("\n"));
        let (results, counts) = read(text.as_bytes());
        let bad = results.iter().filter(|result| matches!(result, Err(ReadError::Line(_)))).count() as u64;
        prop_assert_eq!(counts.rows, counts.views + counts.carts + counts.removals + counts.purchases + counts.bad);
        prop_assert_eq!((counts.messages + bad, counts.bad), (results.len() as u64, bad));
        prop_assert_eq!(ids(&results).len() as u64, counts.messages);
    }

    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..400), with_header in any::<bool>()) {
        let header = if with_header { COLUMNS.join(",") + "\n" } else { String::new() };
        let text = [header.as_bytes(), &bytes].concat();
        if let Ok(reader) = Reader::new(text.as_slice(), Currencies::only("USD")) {
            prop_assert!(reader.count() <= bytes.len());
        }
    }
}
