//! What a provider's dialect changes in a request: fields it refuses are left
//! out, the token limit goes under the name it knows.

use crate::catalog::{Dialect, Facts};
use crate::wire::{Ask, Edit, Pieces, splice};

const LIMITS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// The body for one model at one provider.
pub(super) fn translate<'a>(ask: &'a Ask, dialect: &Dialect, facts: &Facts) -> Pieces<'a> {
    let both = LIMITS.iter().all(|limit| ask.has_field(limit));
    splice(ask, &facts.id, |name| {
        let refused = |list: &[String]| list.iter().any(|field| field == name);
        if refused(&dialect.drop) || refused(&facts.rejects) || (name == "stream_options" && dialect.stream_options == Some(false)) {
            return Edit::Drop;
        }
        match dialect.max_tokens_field.as_deref() {
            Some(wanted) if LIMITS.contains(&name) && name != wanted => {
                if both {
                    Edit::Drop
                } else {
                    Edit::Rename(wanted)
                }
            }
            _ => Edit::Keep,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn translated(body: &'static str, dialect: &Dialect, facts: &Facts) -> String {
        let mut bytes = Vec::new();
        translate(&parse(body.into()).unwrap(), dialect, facts).write_to(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn refused_fields_go_and_the_limit_is_renamed() {
        let dialect = Dialect { max_tokens_field: Some("max_tokens".into()), drop: vec!["seed".into()], stream_options: Some(false) };
        let facts = Facts { rejects: vec!["temperature".into()], ..Facts::unknown("p", "m") };
        let body = r#"{"model":"x","messages":[1],"seed":1,"temperature":0.5,"stream_options":{},"max_completion_tokens":9,"user":"u"}"#;
        assert_eq!(translated(body, &dialect, &facts), r#"{"model":"m","messages":[1],"max_tokens":9,"user":"u"}"#);
        let both = r#"{"model":"x","messages":[1],"max_completion_tokens":9,"max_tokens":8}"#;
        assert_eq!(translated(both, &dialect, &facts), r#"{"model":"m","messages":[1],"max_tokens":8}"#);
        assert_eq!(translated(both, &Dialect::default(), &Facts::unknown("p", "m")), both.replace("\"x\"", "\"m\""));
    }
}
