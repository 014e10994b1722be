//! Partial answers: the parameter `fields`. What is not asked for does not come.

use super::answer::Refusal;
use super::request::Call;
use serde_json::{Map, Value};

/// Which fields of an answer are wanted: `a,b(c,d),e/f,*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection(Option<Vec<Field>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    inner: Selection,
}

impl Selection {
    pub(crate) fn of(call: &Call) -> Result<Selection, Refusal> {
        let Some(text) = call.query.get("fields") else { return Ok(Selection(None)) };
        let mut rest = text;
        let fields = list(&mut rest).filter(|_| rest.is_empty());
        fields.ok_or_else(|| Refusal::json(400, "invalidParameter", format!("Invalid field selection {text}")))
    }

    pub(crate) fn apply(&self, value: Value) -> Value {
        let Some(fields) = &self.0 else { return value };
        match value {
            Value::Array(values) => values.into_iter().map(|value| self.apply(value)).collect(),
            Value::Object(all) => {
                let mut kept = Map::new();
                for (name, inner_value) in all {
                    if let Some(field) = fields.iter().find(|field| field.name == name || field.name == "*") {
                        kept.insert(name, field.inner.apply(inner_value));
                    }
                }
                Value::Object(kept)
            }
            plain => plain,
        }
    }
}

/// `field,field,…`
fn list(rest: &mut &str) -> Option<Selection> {
    let mut fields = Vec::new();
    loop {
        fields.push(field(rest)?);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Some(Selection(Some(fields))),
        }
    }
}

/// `name`, `name/field` or `name(list)`
fn field(rest: &mut &str) -> Option<Field> {
    let end = rest.find([',', '/', '(', ')']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() {
        return None;
    }
    *rest = after;
    let inner = if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        Selection(Some(vec![field(rest)?]))
    } else if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let inner = list(rest)?;
        *rest = rest.strip_prefix(')')?;
        inner
    } else {
        Selection(None)
    };
    Some(Field { name: name.to_owned(), inner })
}
