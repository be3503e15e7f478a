//! The sessions of OTTO: a file with every kind of act, and small ones that show each fault.

mod common;

use common::files::{bad, cut, event, fixture, ids, summary};
use etalage_model::{
    EventKind, Micros, Record,
    decode::{
        ReadError,
        otto::{Counts, MAX_SESSION_BYTES, MAX_SESSION_EVENTS, Reader},
    },
};
use proptest::{collection::vec, prelude::*};

type Results = Vec<Result<(u64, Record), ReadError>>;

fn read(bytes: &[u8]) -> (Results, Counts) {
    let mut reader = Reader::new(bytes);
    let results = reader.by_ref().collect();
    (results, reader.counts())
}

fn session(acts: &[&str]) -> String {
    format!(r#"{{"session":1,"events":[{}]}}"#, acts.join(","))
}

const ORDER: &str = r#"{"aid":7,"ts":1661724119441,"type":"orders"}"#;

#[test]
fn every_kind_of_act_becomes_its_message() {
    let (results, counts) = read(&fixture("otto.jsonl"));
    let expected = [
        (1, "view_item 59625"),
        (2, "view_item 1142000"),
        (2, "view_item 582732"),
        (2, "add_to_cart 582732"),
        (2, "purchase 582732 736515"),
        (2, "purchase 736515"),
        (2, "view_item 1142000"),
        (2, "purchase 973453"),
        (4, "purchase 582732"),
    ];
    assert_eq!(summary(&results), expected.map(|(line, text)| (line, text.to_owned())));
    let of = Counts { sessions: 4, clicks: 4, carts: 1, orders: 5, bad_events: 0, bad_lines: 0, messages: 9 };
    assert_eq!(counts, of);
    assert_eq!(ids(&results).len(), 9);
}

#[test]
fn fields_have_their_places() {
    let (results, _) = read(&fixture("otto.jsonl"));
    let first = event(&results[0]);
    assert_eq!(first.anonymous_id.as_deref(), Some("12899779"));
    assert_eq!((first.user_id.as_deref(), first.transaction_id.as_deref()), (None, None));
    assert_eq!(Some(first.timestamp), Micros::parse("2022-08-28T22:00:00.278Z"));
    assert_eq!((first.items[0].quantity, first.items[0].price_micros), (1, 0));
    let transaction = |at: usize| event(&results[at]).transaction_id.as_deref().unwrap();
    assert_eq!(transaction(4), "12899780:1661724119441");
    assert_eq!(transaction(5), "12899780:1661724119442");
    assert_eq!(transaction(7), transaction(5), "a click stands between, and the order goes on");
    assert_eq!(transaction(8), "12899782:1661724119441", "another session's");
}

#[test]
fn ids_are_taken_as_they_are_written() {
    let (results, _) = read(
        br#" {"events":[{"type":"clicks","aid":"a\"\u0041","ts":0,"more":[{}]}],"else":null,"session":"00012345678901234567890123"} "#,
    );
    assert_eq!(event(&results[0]).items[0].item_id.as_str(), "a\"A");
    assert_eq!(event(&results[0]).anonymous_id.as_deref(), Some("00012345678901234567890123"));
}

#[test]
fn an_order_is_cut_at_200_items() {
    let (results, counts) = read(session(&[ORDER; 401]).as_bytes());
    let sizes: Vec<_> = results.iter().map(|result| event(result).items.len()).collect();
    assert_eq!(sizes, [200, 200, 1]);
    assert_eq!(ids(&results).len(), 3, "equal acts at other places are other messages");
    assert_eq!(counts.orders, 401);
    let twice = [session(&[ORDER]), session(&[ORDER])].join("\n");
    assert_eq!(ids(&read(twice.as_bytes()).0).len(), 2, "and so are equal lines");
}

#[test]
fn a_bad_act_costs_itself_and_cuts_no_order() {
    let faults = [
        (
            r#"{"aid":7,"ts":1661724119441,"type":"likes"}"#,
            r#"invalid: `type`: expected clicks, carts or orders, found "likes""#,
        ),
        (r#"{"aid":7,"ts":1661724119441}"#, "invalid: `type` is missing"),
        (r#"{"ts":1661724119441,"type":"orders"}"#, "invalid: `aid` is missing"),
        (r#"{"aid":null,"ts":1,"type":"orders"}"#, "invalid: `aid` is missing"),
        (r#"{"aid":"","ts":1,"type":"orders"}"#, "invalid: `aid` is missing"),
        (r#"{"aid":1.5,"ts":1,"type":"orders"}"#, "invalid: `aid`: expected a text or a whole number, found 1.5"),
        (r#"{"aid":[7],"ts":1,"type":"orders"}"#, "invalid: `aid`: expected a text or a whole number, found [7]"),
        (r#"{"aid":7,"ts":-1,"type":"orders"}"#, "invalid: `ts`: expected whole milliseconds since 1970, found -1"),
        (r#"{"aid":7,"ts":"1","type":"orders"}"#, "invalid: `ts`: expected whole milliseconds since 1970, found \"1\""),
        (
            r#"{"aid":7,"ts":1e300,"type":"orders"}"#,
            "invalid: `ts`: expected whole milliseconds since 1970, found 1e300",
        ),
        (r#"{"aid":7,"type":"orders"}"#, "invalid: `ts` is missing"),
        (r#"[7]"#, "malformed: an event must be an object of `aid`, `ts` and `type`"),
    ];
    let acts: Vec<&str> = [ORDER].into_iter().chain(faults.iter().map(|(act, _)| *act)).chain([ORDER]).collect();
    let (results, counts) = read(session(&acts).as_bytes());
    assert_eq!(results.len(), faults.len() + 1);
    for (result, (act, reason)) in results.iter().zip(faults) {
        assert_eq!(bad(result), (1, reason.to_owned()));
        let Err(ReadError::Line(bad)) = result else { panic!("a bad act") };
        assert_eq!(bad.raw, act.as_bytes(), "the act alone is told");
    }
    assert_eq!(event(&results[faults.len()]).items.len(), 2);
    assert_eq!((counts.bad_events, counts.bad_lines, counts.orders), (faults.len() as u64, 0, 2));
}

#[test]
fn a_bad_line_costs_itself() {
    let whole = session(&[ORDER]);
    let faults: [(&[u8], &str); 9] = [
        (b"{\"session\":1,\"events\":[", "malformed: EOF while parsing a list at line 1 column 23"),
        (b"\xff", "malformed: not UTF-8"),
        (b"[]", "malformed: "),
        (b"{\"events\":[]}", "invalid: `session` is missing"),
        (b"{\"session\":true,\"events\":[]}", "invalid: `session`: expected a text or a whole number, found true"),
        (b"{\"session\":1}", "invalid: `events` is missing"),
        (b"{\"session\":1,\"events\":{}}", "invalid: `events`: expected a list, found {}"),
        (b"{\"session\":1,\"session\":2,\"events\":[]}", "malformed: duplicate field `session`"),
        (b"{\"session\":1,\"events\":[]}}", "malformed: trailing characters"),
    ];
    let mut bytes = Vec::new();
    for (fault, _) in faults {
        bytes.extend([fault, b"\r\n\n", whole.as_bytes(), b"\n"].concat());
    }
    let (results, counts) = read(&bytes);
    for (at, (fault, reason)) in faults.into_iter().enumerate() {
        let (line, found) = bad(&results[2 * at]);
        assert_eq!(line, 3 * at as u64 + 1);
        assert!(found.starts_with(reason), "{}: {found}", String::from_utf8_lossy(fault));
        assert_eq!(event(&results[2 * at + 1]).kind, EventKind::Purchase);
    }
    assert_eq!((counts.sessions, counts.bad_lines), (9, 9));
}

#[test]
fn a_long_session_is_taken_and_an_endless_one_is_not() {
    let act = |at: usize| format!(r#"{{"aid":{at},"ts":{},"type":"clicks"}}"#, 1_661_724_000_000 + at);
    let acts: Vec<String> = (0..30_000).map(act).collect();
    let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
    let (results, counts) = read(session(&acts).as_bytes());
    assert_eq!((results.len(), counts.clicks), (30_000, 30_000));
    assert_eq!(ids(&results).len(), 30_000);

    let many = session(&vec!["0"; MAX_SESSION_EVENTS + 1]);
    let long = format!("{}{}", session(&[ORDER]), " ".repeat(MAX_SESSION_BYTES));
    let (results, counts) = read([&many, &long, &session(&[ORDER])].map(String::as_str).join("\n").as_bytes());
    assert!(bad(&results[0]).1.contains("at most 200000 are taken (MAX_SESSION_EVENTS)"), "{:?}", bad(&results[0]).1);
    assert!(bad(&results[1]).1.starts_with("too_large"));
    assert_eq!((event(&results[2]).items.len(), counts.bad_lines, results.len()), (1, 2, 3));
}

#[test]
fn an_empty_or_broken_input_ends() {
    assert_eq!((read(b"").0.len(), read(b"\n\r\n").1), (0, Counts::default()));
    let marked = [b"\xef\xbb\xbf", session(&[ORDER]).as_bytes()].concat();
    assert_eq!(read(&marked).0.len(), 1);
    let text = format!("{}\n{}", session(&[ORDER, ORDER]), &session(&[ORDER])[..20]);
    let results: Results = Reader::new(cut(text.as_bytes())).collect();
    assert_eq!(event(&results[0]).items.len(), 2);
    assert_eq!(results[1].as_ref().unwrap_err().to_string(), "reading broke off at line 2: the archive is truncated");
    assert_eq!(results.len(), 2);
}

#[test]
fn the_same_file_gives_the_same_messages_on_every_machine() {
    let once = || read(&fixture("otto.jsonl")).0.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(once(), once());
    assert_eq!(once()[0].1.message.message_id(), "otto:8dc21e749fb58a006bb654a7ef55aa10");
}

proptest! {
    #[test]
    fn every_act_is_accounted_for(lines in vec(vec("[0-9a-z\"]{0,9}|[{]\"aid\":[0-9]{0,2},\"ts\":[12],\"type\":\"(orders|clicks|x)\"[}]", 0..9), 0..9)) {
        let text: Vec<String> = lines.iter().map(|acts| session(&acts.iter().map(String::as_str).collect::<Vec<_>>())).collect();
        let (results, counts) = read(text.join("\n").as_bytes());
        let bad = results.iter().filter(|result| result.is_err()).count() as u64;
        prop_assert_eq!(counts.sessions + counts.bad_lines, lines.len() as u64);
        prop_assert_eq!((counts.bad_lines + counts.bad_events, counts.messages + bad), (bad, results.len() as u64));
        prop_assert_eq!(ids(&results).len() as u64, counts.messages);
    }

    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..400), at in 0..140_usize) {
        let mut text = session(&[ORDER, ORDER, ORDER]).into_bytes();
        text.splice(at..at, bytes.iter().copied());
        prop_assert!(Reader::new(text.as_slice()).count() <= bytes.len() + 3);
    }
}
