//! One entry of a view, as a server answers it, and how it is printed: as a JSON line with key
//! and value byte for byte as they came, or as rows of a table.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// A key with its value; `None` where it has none any more.
#[derive(Debug, Deserialize)]
pub(super) struct Entry<'a> {
    /// The key's object.
    #[serde(borrow)]
    pub(super) key: &'a RawValue,
    /// The value's object.
    #[serde(borrow)]
    pub(super) value: Option<&'a RawValue>,
}

impl Entry<'_> {
    /// `{"view","key","value","as_of"}`
    pub(super) fn json_line(&self, view: &str, as_of: &str) -> String {
        let value = self.value.map_or("null", RawValue::get);
        let text = |text: &str| Value::from(text).to_string();
        format!(r#"{{"view":{},"key":{},"value":{value},"as_of":{}}}"#, text(view), self.key.get(), text(as_of))
    }

    /// The rows of this entry: one, or one for each element of the list in its value.
    pub(super) fn rows(&self) -> Vec<Row> {
        let key = cells(self.key);
        let Some(value) = self.value else {
            return vec![Row([key, vec![Cell::text("", "gone")]].concat())];
        };
        let (lists, scalars): (Vec<Field>, Vec<Field>) = fields(value).into_iter().partition(is_list);
        let scalars: Vec<Cell> = scalars.iter().map(cell).collect();
        let elements = lists.iter().flat_map(|(_, list)| elements(list));
        let ranked = elements.zip(1..).map(|(element, rank)| {
            let rank = vec![Cell { column: "#".to_owned(), text: rank.to_string(), is_number: true }];
            Row([key.clone(), scalars.clone(), rank, element].concat())
        });
        let ranked: Vec<Row> = ranked.collect();
        match lists.is_empty() {
            true => vec![Row([key, scalars].concat())],
            false if ranked.is_empty() => vec![Row([key, scalars, vec![Cell::text("#", "-")]].concat())],
            false => ranked,
        }
    }

    /// Key and value in one line of text.
    pub(super) fn text(&self) -> String {
        let key: Vec<String> = cells(self.key).into_iter().map(|cell| cell.text).collect();
        let mut out = key.join(" ");
        let Some(value) = self.value else { return out + "  gone" };
        for field in fields(value) {
            if !is_list(&field) {
                let Cell { column, text, .. } = cell(&field);
                out.push_str(&format!("  {column} {text}"));
                continue;
            }
            for (element, rank) in elements(&field.1).into_iter().zip(1..) {
                let cells: Vec<String> = element.iter().map(named).collect();
                out.push_str(&format!("  {rank}. {}", cells.join(" ")));
            }
        }
        out
    }
}

/// The id of a ranked item stands for itself; everything else is named.
fn named(cell: &Cell) -> String {
    match cell.column.as_str() {
        "item_id" => cell.text.clone(),
        name => format!("{name} {}", cell.text),
    }
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row(pub(super) Vec<Cell>);

/// What stands in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    column: String,
    text: String,
    is_number: bool,
}

impl Cell {
    /// A cell that is no number.
    pub(super) fn text(column: &str, text: &str) -> Cell {
        Cell { column: column.to_owned(), text: text.to_owned(), is_number: false }
    }
}

/// The rows as aligned lines, the first of them naming the columns where `with_header`. Numbers
/// stand to the right.
pub(super) fn table(rows: &[Row], with_header: bool) -> Vec<String> {
    let mut columns: Vec<&str> = Vec::new();
    for cell in rows.iter().flat_map(|row| &row.0) {
        if !columns.contains(&cell.column.as_str()) {
            columns.push(&cell.column);
        }
    }
    let grid: Vec<Vec<Option<&Cell>>> = rows
        .iter()
        .map(|row| columns.iter().map(|column| row.0.iter().find(|cell| cell.column == *column)).collect())
        .collect();
    let text = |cell: &Option<&Cell>| cell.map_or(String::new(), |cell| cell.text.clone());
    let layout = columns.iter().enumerate().map(|(at, column)| {
        let cells = grid.iter().map(|row| &row[at]);
        let width = cells.clone().map(|cell| text(cell).chars().count()).max().unwrap_or(0).max(column.len());
        (width, cells.flatten().any(|cell| cell.is_number))
    });
    let layout: Vec<(usize, bool)> = layout.collect();
    let line = |cells: Vec<String>| {
        let padded = cells.iter().zip(&layout).map(|(cell, (width, is_right))| match is_right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let header = with_header.then(|| line(columns.iter().map(|column| (*column).to_owned()).collect()));
    header.into_iter().chain(grid.iter().map(|row| line(row.iter().map(text).collect()))).collect()
}

type Field = (String, Box<RawValue>);

/// The fields of an object in their order; none where it is no object.
fn fields(object: &RawValue) -> Vec<Field> {
    serde_json::from_str::<Fields>(object.get()).map(|fields| fields.0).unwrap_or_default()
}

fn cells(object: &RawValue) -> Vec<Cell> {
    fields(object).iter().map(cell).collect()
}

fn is_list((_, value): &Field) -> bool {
    value.get().starts_with('[')
}

fn elements(list: &RawValue) -> Vec<Vec<Cell>> {
    let list: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    list.into_iter().map(cells).collect()
}

/// Micros are shown as what they are millionths of.
fn cell((name, value): &Field) -> Cell {
    let (text, is_number) = match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => (text, false),
        Ok(Value::Null) => ("-".to_owned(), false),
        // As it was written: a number may have more digits than a float keeps.
        Ok(Value::Number(_)) => (value.get().to_owned(), true),
        _ => (value.get().to_owned(), false),
    };
    match name.strip_suffix("_micros") {
        Some(short) if is_number => Cell { column: short.to_owned(), text: decimal(&text), is_number },
        _ => Cell { column: name.clone(), text, is_number },
    }
}

/// Micros as a decimal number with as many places as it needs, at least two.
fn decimal(micros: &str) -> String {
    let (sign, digits) = micros.strip_prefix('-').map_or(("", micros), |digits| ("-", digits));
    let padded = format!("{digits:0>7}");
    let (whole, fraction) = padded.split_at(padded.len() - 6);
    let fraction = fraction.trim_end_matches('0');
    format!("{sign}{whole}.{fraction:0<2}")
}

/// An object's fields in the order in which they were written.
struct Fields(Vec<Field>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Entry<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_json_line_repeats_key_and_value_byte_for_byte() {
        let line = entry(r#"{"key":{"scope":"global","window":"7d"},"value":{"z":1,"a": 2}}"#).json_line("v", "t");
        assert_eq!(line, r#"{"view":"v","key":{"scope":"global","window":"7d"},"value":{"z":1,"a": 2},"as_of":"t"}"#);
        assert!(entry(r#"{"key":{},"value":null}"#).json_line("v", "t").contains(r#""value":null"#));
    }

    #[test]
    fn a_table_ranks_the_items_of_a_set() {
        let set = r#"{"key":{"scope":"global","window":"7d"},"value":{"items":[
            {"item_id":"22086","score":12,"available":null},{"item_id":"85123A","score":7,"available":3}]}}"#;
        let lines = table(&entry(set).rows(), true);
        assert_eq!(
            lines,
            [
                "scope   window  #  item_id  score  available",
                "global  7d      1  22086       12          -",
                "global  7d      2  85123A       7          3",
            ]
        );
        assert_eq!(entry(set).text(), "global 7d  1. 22086 score 12 available -  2. 85123A score 7 available 3");
    }

    #[test]
    fn money_is_shown_in_units() {
        let totals =
            r#"{"key":{"scope":"global"},"value":{"lines":2,"revenue_micros":38970001000,"refund_micros":-5}}"#;
        let lines = table(&entry(totals).rows(), true);
        assert_eq!(lines, ["scope   lines    revenue     refund", "global      2  38970.001  -0.000005"]);
        assert_eq!(decimal("1500000"), "1.50");
        assert_eq!(decimal("0"), "0.00");
    }

    #[test]
    fn what_is_gone_is_said_so() {
        let gone = r#"{"key":{"item_id":"22086"},"value":null}"#;
        assert_eq!(entry(gone).text(), "22086  gone");
        assert_eq!(table(&entry(gone).rows(), false), ["22086    gone"]);
    }
}
