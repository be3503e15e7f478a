//! The two kinds of file of Retailrocket: one of each, and small ones that show each fault.

mod common;

use common::files::{bad, cut, event, fixture, ids, summary};
use etalage_model::{
    Micros, Record,
    decode::{
        ReadError,
        retailrocket::{Counts, EVENT_COLUMNS, Limits, PROPERTY_COLUMNS, Reader},
    },
};
use proptest::{collection::vec, prelude::*};

type Results = Vec<Result<(u64, Record), ReadError>>;

fn read(bytes: &[u8]) -> (Results, Counts) {
    read_with(bytes, Limits::default())
}

fn read_with(bytes: &[u8], limits: Limits) -> (Results, Counts) {
    let mut reader = Reader::new(bytes, limits).unwrap();
    let results = reader.by_ref().collect();
    (results, reader.counts())
}

fn file(columns: &[&str], rows: &[&str]) -> Vec<u8> {
    [&[columns.join(",").as_str()], rows].concat().join("\n").into_bytes()
}

fn events(rows: &[&str]) -> Vec<u8> {
    file(&EVENT_COLUMNS, rows)
}

fn properties(rows: &[&str]) -> Vec<u8> {
    file(&PROPERTY_COLUMNS, rows)
}

const SALE: &str = "1433222276276,v,transaction,7,4000";

#[test]
fn events_come_in_the_order_of_time_and_line() {
    let (results, counts) = read(&fixture("retailrocket_events.csv"));
    let expected = [
        (8, "add_to_cart 10572"),
        (2, "view_item 355908"),
        (5, "view_item 253185"),
        (4, "add_to_cart 318965"),
        (7, "purchase 356475 15335"),
        (9, "view_item 356475"),
        (10, "purchase 81345"),
        (11, "purchase 81345"),
        (3, "view_item 248676"),
    ];
    assert_eq!(summary(&results), expected.map(|(line, text)| (line, text.to_owned())));
    let of = Counts { rows: 10, views: 4, carts: 2, transactions: 4, messages: 9, ..Counts::default() };
    assert_eq!(counts, of);
    assert_eq!(ids(&results).len(), 9);
    let sale = event(&results[4]);
    assert_eq!((sale.anonymous_id.as_deref(), sale.user_id.as_deref()), (Some("599528"), None));
    assert_eq!(sale.transaction_id.as_deref(), Some("4000"));
    assert_eq!((sale.items[0].quantity, sale.items[0].price_micros), (1, 0));
    assert_eq!(Some(sale.timestamp), Micros::parse("2015-06-02T05:17:56.276Z"));
    assert_eq!(event(&results[6]).transaction_id, sale.transaction_id, "a view stands between, and it goes on");
    assert_eq!(event(&results[0]).transaction_id, None);
}

#[test]
fn properties_are_stock_and_catalogue() {
    let (results, counts) = read(&fixture("retailrocket_properties.csv"));
    let expected =
        [(5, "460429 Set(1)"), (7, "248676 category 1277"), (6, "460429 Set(0)"), (2, "460429 category 1338")];
    assert_eq!(summary(&results), expected.map(|(line, text)| (line, text.to_owned())));
    let of = Counts { rows: 6, stock: 2, categories: 2, skipped: 2, messages: 4, ..Counts::default() };
    assert_eq!(counts, of);
    let at = results[0].as_ref().unwrap().1.message.at();
    assert_eq!(Some(at), Micros::parse("2015-05-10T03:00:00Z"));
}

#[test]
fn a_purchase_is_the_rows_of_a_transaction_a_visitor_and_a_time() {
    let rows =
        [SALE, &SALE.replace("276276", "276277"), SALE, &SALE.replace(",v,", ",w,"), &SALE.replace("4000", "4001")];
    let (results, _) = read(&events(&rows));
    let sizes: Vec<_> = results.iter().map(|result| event(result).items.len()).collect();
    assert_eq!(sizes, [2, 1, 1, 1]);
    let (results, _) = read(&events(&[SALE; 401]));
    let sizes: Vec<_> = results.iter().map(|result| event(result).items.len()).collect();
    assert_eq!((sizes, ids(&results).len()), (vec![200, 200, 1], 3));
}

#[test]
fn bad_lines_come_first_with_their_numbers() {
    let mut bytes = events(&[
        SALE,
        "1433222276276,v,transaction,7,",
        "1433222276276,v,wish,7,",
        "1433222276276,,view,7,",
        "1433222276276,v,view,,",
        "-1,v,view,7,",
        "1433222276276.5,v,view,7,",
        "99999999999999999,v,view,7,",
        "1433222276276,v,view",
        "1433222276276,\"v,view,7,",
    ]);
    bytes.extend(b"\n1433222276276,\xff,view,7,\r\n\n");
    bytes.extend(SALE.bytes());
    let (results, counts) = read(&bytes);
    let expected = [
        (3, "invalid: transactionid is empty"),
        (4, "invalid: event: expected view, addtocart or transaction, found `wish`"),
        (5, "invalid: visitorid is empty"),
        (6, "invalid: itemid is empty"),
        (7, "invalid: timestamp: expected whole milliseconds since 1970, found `-1`"),
        (8, "invalid: timestamp: expected whole milliseconds since 1970, found `1433222276276.5`"),
        (9, "invalid: timestamp: expected whole milliseconds since 1970, found `99999999999999999`"),
        (10, "malformed: expected 5 columns, found 3"),
        (11, "malformed: a quote is not closed, or stands where none may (RFC 4180)"),
        (12, "malformed: not UTF-8"),
    ];
    assert_eq!(results.len(), expected.len() + 1);
    for (result, (line, reason)) in results.iter().zip(expected) {
        assert_eq!(bad(result), (line, reason.to_owned()));
    }
    assert_eq!(event(&results[expected.len()]).items.len(), 2);
    assert_eq!((counts.rows, counts.bad, counts.transactions), (12, 10, 2));

    let (results, counts) = read(&properties(&[
        "1435460400000,7,available,2",
        "1435460400000,7,categoryid,",
        "1435460400000,7,categoryid, ",
        "1435460400000,,available,1",
        "yesterday,7,available,1",
        "1435460400000,7,,1",
        "yesterday,7,790,n1.000",
    ]));
    let expected = [
        "invalid: value: expected 0 or 1, found `2`",
        "invalid: value is empty",
        "invalid: value: expected a category, found ` `",
        "invalid: itemid is empty",
        "invalid: timestamp: expected whole milliseconds since 1970, found `yesterday`",
        "invalid: property: expected the name of a property, found ``",
    ];
    assert_eq!(results.iter().map(|result| bad(result).1).collect::<Vec<_>>(), expected);
    assert_eq!((counts.bad, counts.skipped), (6, 1), "what is skipped is not looked at");
}

#[test]
fn columns_are_found_by_name() {
    let rows = b"\xef\xbb\xbfvalue,\"property\",extra,itemid,timestamp\r\n1,available,?,7,1435460400000\r\n";
    assert_eq!(summary(&read(rows).0), [(2, "7 Set(1)".to_owned())]);
}

#[test]
fn another_header_is_told_with_what_it_lacks() {
    let refusal = |bytes: &[u8]| match Reader::new(bytes, Limits::default()) {
        Err(error @ ReadError::Header { .. }) => error.to_string(),
        Err(other) => panic!("expected a header error, found {other}"),
        Ok(_) => panic!("taken: {bytes:?}"),
    };
    let expected = "this is no retailrocket file: the first line must name the columns `event`, `transactionid` too for \
                    events, or `property`, `value` too for item properties, found `timestamp,visitorid,itemid`";
    assert_eq!(refusal(b"timestamp,visitorid,itemid\n"), expected);
    assert!(refusal(b"").ends_with("found nothing"));
    assert!(refusal(b"\x28\xb5\x2f\xfd\x00\xff").contains("`timestamp`"));
    assert_eq!(read(&events(&[])).1, Counts::default());
    assert_eq!(read(&properties(&[])).0.len(), 0);
}

#[test]
fn what_is_kept_has_limits_that_are_named() {
    let rows = events(&[SALE, "bad", SALE, SALE]);
    let limits = Limits { max_rows: 2, ..Limits::default() };
    let (results, counts) = read_with(&rows, limits);
    assert_eq!((results.len(), bad(&results[0]).0, counts.messages), (2, 3, 0));
    let expected = "line 5 is beyond max_rows: at most 2 rows are put into order; split the file by time";
    assert_eq!(results[1].as_ref().unwrap_err().to_string(), expected);
    assert_eq!(read_with(&rows, Limits { max_rows: 3, ..limits }).0.len(), 2);
    let limits = Limits { max_row_bytes: 2 * SALE.len(), ..Limits::default() };
    let (results, _) = read_with(&rows, limits);
    let expected = "line 5 is beyond max_row_bytes: at most 68 bytes are put into order; split the file by time";
    assert_eq!(results[1].as_ref().unwrap_err().to_string(), expected);
    let skipped = properties(&["1,7,790,x"; 9]);
    assert_eq!(read_with(&skipped, Limits { max_rows: 0, max_row_bytes: 0 }).1.skipped, 9, "they take no room");
}

#[test]
fn an_input_that_breaks_off_gives_no_messages() {
    let rows = events(&[SALE, "bad", SALE]);
    let results: Results = Reader::new(cut(&rows), Limits::default()).unwrap().collect();
    assert_eq!((results.len(), bad(&results[0]).0), (2, 3));
    assert_eq!(results[1].as_ref().unwrap_err().to_string(), "reading broke off at line 4: the archive is truncated");
}

#[test]
fn the_same_file_gives_the_same_messages_on_every_machine() {
    for (name, id) in [
        ("events", "retailrocket:dfeda8c211b6d49b77b877f735eec951"),
        ("properties", "retailrocket:81912526afa9ebeffe9d2d41dd747680"),
    ] {
        let bytes = fixture(&format!("retailrocket_{name}.csv"));
        let once = || read(&bytes).0.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(once(), once());
        assert_eq!(once()[0].1.message.message_id(), id);
    }
}

proptest! {
    #[test]
    fn every_row_is_accounted_for_in_order(
        rows in vec("[0-9a-z\", .:-]{0,40}|[0-9]{1,2},[vw],(view|addtocart|transaction|x),[0-9]?,[12]?", 0..30),
    ) {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let (results, counts) = read(&events(&rows));
        let good: Vec<_> = results.iter().flatten().collect();
        prop_assert!(good.windows(2).all(|pair| pair[0].1.message.at() <= pair[1].1.message.at()));
        prop_assert_eq!(counts.rows, counts.views + counts.carts + counts.transactions + counts.bad);
        prop_assert_eq!(counts.messages + counts.bad, results.len() as u64);
        prop_assert_eq!(ids(&results).len() as u64, counts.messages);
    }

    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..400), header in 0..3_u8) {
        let header = match header {
            0 => EVENT_COLUMNS.join(",") + "\n",
            1 => PROPERTY_COLUMNS.join(",") + "\n",
            _ => String::new(),
        };
        let text = [header.as_bytes(), &bytes].concat();
        if let Ok(reader) = Reader::new(text.as_slice(), Limits::default()) {
            prop_assert!(reader.count() <= bytes.len());
        }
    }
}
