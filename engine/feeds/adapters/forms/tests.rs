#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn every_adapter_has_a_form_whose_keys_it_takes() {
    for entry in adapters() {
        let form = form(entry.name).unwrap_or_else(|| panic!("{} has no form", entry.name));
        built(&entry, |_| true).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        for field in form.fields {
            assert!(!field.title.is_empty() && field.help.ends_with('.'), "{}: {}", entry.name, field.key);
            assert_eq!(field.kind == Kind::Choice, field.choices.is_some(), "{}: {}", entry.name, field.key);
            if let (Some(choices), Some(default)) = (field.choices, field.default) {
                assert!(choices.contains(&default), "{}: {}", entry.name, field.key);
            }
        }
    }
}

#[test]
fn what_an_adapter_must_have_its_form_asks_for() {
    for entry in adapters() {
        // Nothing beyond the form's required fields is needed, and each of them is.
        built(&entry, |field| field.required).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        for left_out in form(entry.name).unwrap().fields.iter().filter(|field| field.required) {
            let without = built(&entry, |field| field.required && field.key != left_out.key);
            // One side of the price suffices to an API of any shape.
            let is_side = matches!(left_out.key, "fields.bid" | "fields.ask");
            assert!(is_side || without.is_err(), "{} does not need {}", entry.name, left_out.key);
        }
    }
}

#[test]
fn every_choice_is_taken() {
    for entry in adapters() {
        for field in form(entry.name).unwrap().fields {
            for choice in field.choices.unwrap_or_default() {
                let mut keys = toml::Table::new();
                for other in form(entry.name).unwrap().fields.iter().filter(|other| other.required) {
                    put(&mut keys, other.key, value(other, other.example));
                }
                put(&mut keys, field.key, (*choice).into());
                (entry.build)(keys).unwrap_or_else(|e| panic!("{}: {} = {choice}: {e}", entry.name, field.key));
            }
        }
    }
}
