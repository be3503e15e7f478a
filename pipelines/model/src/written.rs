//! Values that another process has made: known by their JSON.

use std::{any::Any, fmt, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{Value, ViewValue};

/// A value as it was written. It is passed on byte by byte, so that what one process says of another's value is what that one
/// would have said.
pub struct Written {
    json: Box<[u8]>,
    /// The same for those who know its type; nothing where nobody does.
    known: Option<Box<dyn Any + Send + Sync>>,
}

impl Written {
    /// A value of a view that nobody reads but as JSON.
    pub fn text(json: Vec<u8>) -> Value {
        Arc::new(Written { json: json.into(), known: None })
    }

    /// A value that is a `T` to whoever knows that. One that cannot be read as such is passed on all the same.
    pub fn known<T: DeserializeOwned + Send + Sync + 'static>(json: Vec<u8>) -> Value {
        let known = serde_json::from_slice::<T>(&json).ok();
        Arc::new(Written { known: known.map(|known| Box::new(known) as Box<_>), json: json.into() })
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.json))
    }
}

impl ViewValue for Written {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.json);
    }

    fn as_any(&self) -> &dyn Any {
        match &self.known {
            Some(known) => &**known,
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::key::value_json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        items: Vec<String>,
    }

    #[test]
    fn what_was_written_is_passed_on_as_it_is_and_known_to_whoever_knows_its_type() {
        let json = r#"{ "items" : ["a"], "new": 1.50}"#;
        let (text, known) = (Written::text(json.into()), Written::known::<Row>(json.into()));
        assert_eq!([value_json(&*text), value_json(&*known)], [json, json]);
        let row = Row { items: vec!["a".to_owned()] };
        assert_eq!(known.as_any().downcast_ref::<Row>(), Some(&row));
        assert!(text.as_any().downcast_ref::<Row>().is_none());
        let strange = Written::known::<Row>(b"[1]".to_vec());
        assert_eq!((value_json(&*strange).as_str(), strange.as_any().is::<Row>()), ("[1]", false));
    }
}
