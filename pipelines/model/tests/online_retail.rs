//! The Online Retail format: the real file against figures that another program computed, and
//! small files that show each rule and each fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use etalage_model::{
    Event, EventKind, Inventory, Message, Micros, Record, Refusal, StockOp,
    decode::{
        ReadError,
        online_retail::{COLUMNS, Counts, Options, Reader},
    },
    money::Currencies,
};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data/online-retail").join(name)
}

/// What the messages of the whole file add up to.
#[derive(Default)]
struct Sums {
    sale_lines: u64,
    sale_units: i64,
    sale_micros: i128,
    cancel_lines: u64,
    stock_messages: u64,
    orders: BTreeSet<String>,
    message_ids: BTreeSet<String>,
    customers: BTreeSet<String>,
    net_units: BTreeMap<&'static str, i64>,
    lines: BTreeMap<&'static str, i64>,
}

impl Sums {
    fn add(&mut self, record: Record) {
        assert!(self.message_ids.insert(record.message.message_id().to_owned()), "an id occurs twice: {record:?}");
        let event = match record.message {
            Message::Event(event) => event,
            Message::Inventory(stock) => {
                assert!(matches!(stock.op, StockOp::Delta(_)));
                self.stock_messages += 1;
                return;
            }
            Message::Catalogue(item) => panic!("the file has no catalogue: {item:?}"),
        };
        assert!((1..=200).contains(&event.items.len()));
        let is_sale = event.kind == EventKind::Purchase;
        assert!(is_sale || event.kind == EventKind::Refund);
        for item in &event.items {
            *self.net_units.entry(item.item_id.as_str()).or_default() +=
                if is_sale { item.quantity } else { -item.quantity };
            if is_sale {
                self.sale_lines += 1;
                self.sale_units += item.quantity;
                self.sale_micros += item.amount_micros();
                *self.lines.entry(item.item_id.as_str()).or_default() += 1;
            } else {
                self.cancel_lines += 1;
            }
        }
        if is_sale {
            self.orders.extend(event.transaction_id);
            self.customers.extend(event.user_id);
        }
    }
}

/// The first ten by value, then by code, in the form of `facts.json`.
fn top(values: &BTreeMap<&str, i64>) -> serde_json::Value {
    let mut ranked: Vec<_> = values.iter().collect();
    ranked.sort_by_key(|(code, value)| (-**value, **code));
    ranked.truncate(10);
    serde_json::json!(ranked)
}

#[test]
fn the_whole_file_adds_up_to_the_figures_of_another_program() {
    let facts: serde_json::Value = serde_json::from_reader(File::open(data("facts.json")).unwrap()).unwrap();
    let facts = &facts["all"]["measures"];
    let file = zstd::Decoder::new(File::open(data("online_retail.csv.zst")).unwrap()).unwrap();
    let mut reader = Reader::new(file, Options::default()).unwrap();
    let mut sums = Sums::default();
    for record in &mut reader {
        sums.add(record.unwrap());
    }
    let counts = reader.counts();
    let classes = serde_json::json!({
        "adjust": counts.adjust, "baddebt": counts.baddebt, "cancel": counts.cancel,
        "free": counts.free, "sale": counts.sale,
    });
    assert_eq!(classes, facts["classes"]);
    assert_eq!(counts.rows, facts["rows"]);
    assert_eq!((counts.bad, counts.non_items), (0, 0));
    assert_eq!(counts.messages, sums.message_ids.len() as u64);
    assert_eq!(reader.line(), counts.rows + 1);
    assert_eq!(sums.sale_lines, facts["sale_lines"]);
    assert_eq!(sums.cancel_lines, facts["classes"]["cancel"]);
    assert_eq!(sums.stock_messages, counts.adjust + counts.free);
    assert_eq!(sums.orders.len(), facts["sale_orders"]);
    assert_eq!(sums.sale_units, facts["sale_units"]);
    assert_eq!(sums.sale_micros, 10_655_622_484_000);
    assert_eq!(sums.sale_micros as f64 / 1e6, facts["sale_revenue_pounds"]);
    assert_eq!(sums.lines.len(), facts["products_sold"]);
    assert_eq!(sums.customers.len(), facts["known_customers"]);
    assert_eq!(top(&sums.lines), facts["top_by_sale_lines"]);
    assert_eq!(top(&sums.net_units), facts["top_by_net_units"]);
}

fn file(rows: &[&str]) -> Vec<u8> {
    let mut text = COLUMNS.join(",");
    for row in rows {
        text.push('\n');
        text.push_str(row);
    }
    text.into_bytes()
}

fn read(bytes: &[u8], options: Options) -> (Vec<Result<Record, ReadError>>, Counts) {
    let mut reader = Reader::new(bytes, options).unwrap();
    let results: Vec<_> = reader.by_ref().collect();
    (results, reader.counts())
}

fn messages(rows: &[&str]) -> Vec<Message> {
    let (results, counts) = read(&file(rows), Options::default());
    assert_eq!(counts.messages, results.len() as u64);
    results.into_iter().map(|result| result.unwrap().message).collect()
}

fn event(message: &Message) -> &Event {
    match message {
        Message::Event(event) => event,
        other => panic!("expected an event, found {other:?}"),
    }
}

fn stock(message: &Message) -> &Inventory {
    match message {
        Message::Inventory(stock) => stock,
        other => panic!("expected a stock message, found {other:?}"),
    }
}

/// The line and the reason of the bad line that is result `at`.
fn bad(results: &[Result<Record, ReadError>], at: usize) -> (u64, String) {
    match &results[at] {
        Err(ReadError::Line(bad)) => (bad.line, bad.reason.to_string()),
        other => panic!("expected a bad line, found {other:?}"),
    }
}

#[test]
fn rows_of_one_invoice_date_and_class_are_one_message() {
    let messages = messages(&[
        "536365,85123A,HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
        "536365,85123a,HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
        "536365,85123a,HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
        "536365,85123A,HOLDER,1,2010-12-01 08:27:00,2.55,17850.0,United Kingdom",
        "C536365,85123A,HOLDER,-2,2010-12-01 08:27:00,2.55,,France",
    ]);
    let [first, later, refund] = messages.each_ref_of().map(event);
    assert_eq!(first.kind, EventKind::Purchase);
    assert_eq!(first.transaction_id.as_deref(), Some("536365"));
    assert_eq!(first.user_id.as_deref(), Some("17850"));
    assert_eq!(first.country.unwrap().as_str(), "United Kingdom");
    assert_eq!(Some(first.timestamp), Micros::parse("2010-12-01T08:26:00Z"));
    assert_eq!(
        first.items.iter().map(|item| item.item_id.as_str()).collect::<Vec<_>>(),
        ["85123A", "85123a", "85123a"]
    );
    assert_eq!((first.items[0].quantity, first.items[0].price_micros), (6, 2_550_000));
    assert_eq!(later.items.len(), 1);
    assert_eq!(later.transaction_id, first.transaction_id);
    assert_eq!((refund.kind, refund.items[0].quantity), (EventKind::Refund, 2));
    assert_eq!(refund.transaction_id.as_deref(), Some("C536365"));
    assert_eq!(refund.user_id, None);
}

trait EachRefOf<T> {
    fn each_ref_of<const N: usize>(&self) -> [&T; N];
}
impl<T: std::fmt::Debug> EachRefOf<T> for Vec<T> {
    fn each_ref_of<const N: usize>(&self) -> [&T; N] {
        self.iter().collect::<Vec<_>>().try_into().expect("another number of messages")
    }
}

#[test]
fn a_run_is_cut_at_200_items_and_where_another_one_interrupts_it() {
    let sale = "536365,A,X,1,2010-12-01 08:26:00,2.55,,";
    let free = "536365,A,X,1,2010-12-01 08:26:00,0,,";
    let mut rows = vec![sale; 401];
    rows.extend([free, sale]);
    let messages = messages(&rows);
    assert_eq!(messages.len(), 5);
    let sizes: Vec<_> = [0, 1, 2, 4].iter().map(|at| event(&messages[*at]).items.len()).collect();
    assert_eq!(sizes, [200, 200, 1, 1]);
    assert_eq!(stock(&messages[3]).op, StockOp::Delta(1));
    let ids: BTreeSet<_> = messages.iter().map(Message::message_id).collect();
    assert_eq!(ids.len(), 5, "equal rows at other lines are other messages");
}

#[test]
fn write_offs_and_gifts_move_stock_and_bad_debt_is_counted_only() {
    let rows = [
        "536589,21777,,-10,2010-12-01 16:50:00,0,,United Kingdom",
        "536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom",
        "536414,22139,,56,2010-12-01 11:52:00,-1,,United Kingdom",
        "A563185,B,Adjust bad debt,1,2011-08-12 14:50:00,11062.06,,United Kingdom",
    ];
    let messages = messages(&rows);
    let units: Vec<_> = messages.iter().map(|message| stock(message).op).collect();
    assert_eq!(units, [StockOp::Delta(-10), StockOp::Delta(56), StockOp::Delta(56)]);
    assert_eq!(Some(stock(&messages[0]).occurred_at), Micros::parse("2010-12-01 16:50:00"));
    let (_, counts) = read(&file(&rows), Options::default());
    assert_eq!((counts.rows, counts.adjust, counts.free, counts.baddebt), (4, 1, 2, 1));
}

#[test]
fn codes_that_are_no_products_are_skipped_and_cut_no_run() {
    let rows = [
        "1,A,X,1,2010-12-01 08:26:00,2.55,,",
        "1,POST,X,1,2010-12-01 08:26:00,18,,",
        "1,B,X,1,2010-12-01 08:26:00,2.55,,",
        "1,post,X,1,2010-12-01 08:26:00,2.55,,",
        "2,POST,X,-1,2010-12-01 08:26:00,0,,",
        "C3,POST,X,-1,2010-12-01 08:26:00,18,,",
    ];
    let options = Options { non_items: BTreeSet::from(["POST".to_owned()]), ..Options::default() };
    let (results, counts) = read(&file(&rows), options);
    assert_eq!(results.len(), 1);
    let message = &results[0].as_ref().unwrap().message;
    assert_eq!(event(message).items.iter().map(|item| item.item_id.as_str()).collect::<Vec<_>>(), ["A", "B", "post"]);
    assert_eq!((counts.non_items, counts.sale, counts.adjust, counts.cancel), (3, 4, 1, 1));
}

#[test]
fn a_bad_line_is_told_with_its_number_and_cuts_no_run() {
    let mut bytes = file(&[
        "1,A,\"X, \"\"Y\"\"\",1,2010-12-01 08:26:00,2.55,,",
        "1,A,X,1,2010-12-01 08:26:00,2.55",
        "1,A,X,many,2010-12-01 08:26:00,2.55,,",
        "1,A,X,1,2010-13-01 08:26:00,2.55,,",
        "1,A,X,1,2010-12-01 08:26:00,cheap,,",
        "1,A,X,1,2010-12-01 08:26:00,NaN,,",
        "1,A,\"X,1,2010-12-01 08:26:00,2.55,,",
        "1,,X,1,2010-12-01 08:26:00,2.55,,",
        "1,A,X,0,2010-12-01 08:26:00,2.55,,",
        "C1,A,X,1,2010-12-01 08:26:00,2.55,,",
        "1,A,X,1000000000,2010-12-01 08:26:00,100,,",
    ]);
    bytes.extend(b"\n1,\xff,X,1,2010-12-01 08:26:00,2.55,,\r\n\n1,B,X,1,2010-12-01 08:26:00,2.55,,\r\n");
    let (results, counts) = read(&bytes, Options::default());
    let expected = [
        (3, "malformed: expected 8 columns, found 6"),
        (4, "invalid: Quantity: expected a whole number, found `many`"),
        (5, "invalid: InvoiceDate: expected YYYY-MM-DD HH:MM:SS, found `2010-13-01 08:26:00`"),
        (6, "invalid: UnitPrice: expected an amount, found `cheap`"),
        (7, "invalid: UnitPrice: expected an amount, found `NaN`"),
        (8, "malformed: a quote is not closed, or stands where none may (RFC 4180)"),
        (9, "invalid: StockCode is empty"),
        (10, "invalid: Quantity: expected a quantity other than 0, found `0`"),
        (11, "invalid: Quantity: expected a quantity below 0, since the invoice is a cancellation (C…), found `1`"),
        (12, "amount_too_large: a line of more than 1,000,000,000 currency units"),
        (13, "malformed: not UTF-8"),
    ];
    for (at, (line, reason)) in expected.into_iter().enumerate() {
        assert_eq!(bad(&results, at), (line, reason.to_owned()));
    }
    assert_eq!(results.len(), expected.len() + 1);
    assert_eq!(event(&results[expected.len()].as_ref().unwrap().message).items.len(), 2);
    assert_eq!((counts.rows, counts.bad, counts.sale), (13, 11, 2));
    let Err(ReadError::Line(unread)) = &results[6 - 1] else { panic!("expected a bad line") };
    assert_eq!(unread.raw, b"1,A,\"X,1,2010-12-01 08:26:00,2.55,,");
}

#[test]
fn another_header_is_told_before_anything_is_read() {
    let refusal = |bytes: &[u8]| match Reader::new(bytes, Options::default()) {
        Err(error @ ReadError::Header { .. }) => error.to_string(),
        Err(other) => panic!("expected a header error, found {other}"),
        Ok(_) => panic!("taken: {bytes:?}"),
    };
    assert!(refusal(b"").ends_with("found nothing"));
    assert!(refusal(b"\n\r\n").ends_with("found nothing"));
    assert!(refusal(b"sku,amount\n1,2\n").ends_with("found `sku,amount`"));
    assert!(refusal(b"\x28\xb5\x2f\xfd\x00\x00").contains("this is no Online Retail file"));
    assert!(refusal(b"InvoiceNo,StockCode,\"Desc").contains("first line must be `InvoiceNo,StockCode,"));
    assert!(refusal(&vec![b'x'; 1_000_000]).len() < 400);
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend(file(&[]));
    marked.extend(b"\r\n");
    assert_eq!(read(&marked, Options::default()).1, Counts::default());
}

#[test]
fn prices_are_converted_where_the_shop_has_another_currency() {
    let rows = file(&["1,A,X,2,2010-12-01 08:26:00,2.50,,", "2,A,X,2,2010-12-03 08:26:00,2.50,,"]);
    let mut currencies = Currencies::only("EUR");
    let since = Micros::parse("2010-12-02T00:00:00Z").unwrap();
    currencies.rates.insert("GBP".to_owned(), BTreeMap::from([(since, 1_200_000)]));
    let (results, _) = read(&rows, Options { currencies, ..Options::default() });
    assert_eq!(bad(&results, 0), (2, Refusal::UnknownCurrency("GBP".to_owned()).to_string()));
    let converted = results[1].as_ref().unwrap();
    assert_eq!(event(&converted.message).items[0].price_micros, 3_000_000);
    let (as_sent, _) = read(&rows, Options::default());
    assert_eq!(as_sent[1].as_ref().unwrap().content, converted.content, "a rate does not change what was sent");
}

#[test]
fn an_input_that_breaks_off_says_so_and_leaves_out_the_message_it_cut() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"))
        }
    }
    let rows = file(&["1,A,X,1,2010-12-01 08:26:00,2.55,,", "2,A,X,1,2010-12-01 08:26:00,2.55,,", "2,B,X,1"]);
    let results: Vec<_> = Reader::new(rows.as_slice().chain(Broken), Options::default()).unwrap().collect();
    assert_eq!(results.len(), 2);
    assert_eq!(event(&results[0].as_ref().unwrap().message).transaction_id.as_deref(), Some("1"));
    assert_eq!(results[1].as_ref().unwrap_err().to_string(), "reading broke off at line 4: the archive is truncated");
}

#[test]
fn the_same_file_gives_the_same_ids_and_contents() {
    let rows = file(&["1,A,X,1,2010-12-01 08:26:00,2.55,,", "1,A,X,-1,2010-12-01 08:26:00,0,,"]);
    let records = || -> Vec<Record> { read(&rows, Options::default()).0.into_iter().map(Result::unwrap).collect() };
    assert_eq!(records(), records());
    assert!(records()[0].message.message_id().starts_with("online-retail:"));
}
