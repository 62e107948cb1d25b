//! The JSON schema of a type, beside its definition.

use serde_json::{Map, Value, json};

/// A type of the API that can say its JSON schema (draft 2020-12, as OpenAPI 3.1 uses it).
pub trait Describe {
    /// The schema, or a reference to it if it has a name.
    fn schema() -> Value;

    /// Adds the named schemas this type needs, its own included.
    fn collect(_named: &mut Map<String, Value>) {}
}

impl Describe for String {
    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl Describe for bool {
    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

macro_rules! unsigned {
    ($($number:ty)+) => { $(
        impl Describe for $number {
            fn schema() -> Value {
                json!({ "type": "integer", "minimum": 0 })
            }
        }
    )+ };
}

unsigned!(u16 u32 u64);

impl Describe for i64 {
    fn schema() -> Value {
        json!({ "type": "integer" })
    }
}

impl<T: Describe> Describe for Vec<T> {
    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }

    fn collect(named: &mut Map<String, Value>) {
        T::collect(named);
    }
}

impl<T: Describe> Describe for Option<T> {
    fn schema() -> Value {
        json!({ "anyOf": [T::schema(), { "type": "null" }] })
    }

    fn collect(named: &mut Map<String, Value>) {
        T::collect(named);
    }
}

/// Defines a struct of the API: its doc comments are the descriptions in the schema.
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])+ pub $field:ident: $kind:ty, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $kind, )+
        }

        impl $crate::Describe for $name {
            fn schema() -> serde_json::Value {
                $crate::describe::reference(stringify!($name))
            }

            fn collect(named: &mut serde_json::Map<String, serde_json::Value>) {
                let fields = [$( (
                    stringify!($field),
                    concat!($($field_doc),+).trim_ascii(),
                    <$kind as $crate::Describe>::schema(),
                ), )+];
                let schema = $crate::describe::object(concat!($($doc),+).trim_ascii(), fields);
                named.insert(stringify!($name).to_owned(), schema);
                $( <$kind as $crate::Describe>::collect(named); )+
            }
        }
    };
}

pub(crate) use record;

/// A reference to a named schema of the document.
pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schema of an object. Every field is always there; one without a value is `null`.
pub(crate) fn object<const N: usize>(
    doc: &str,
    fields: [(&'static str, &'static str, Value); N],
) -> Value {
    // serde writes a raw identifier without its mark.
    let fields = fields.map(|(name, doc, schema)| (name.trim_start_matches("r#"), doc, schema));
    let names: Vec<&str> = fields.iter().map(|(name, ..)| *name).collect();
    let mut properties = Map::new();
    for (name, doc, mut schema) in fields {
        // Beside `$ref` a description is allowed since draft 2019-09.
        schema["description"] = json!(doc);
        properties.insert(name.to_owned(), schema);
    }
    json!({ "description": doc, "type": "object", "properties": properties, "required": names })
}
