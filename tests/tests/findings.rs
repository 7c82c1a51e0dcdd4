//! What `check` finds in files as new operators write them: every finding, its severity and its line.

#[path = "findings/certificates.rs"]
mod certificates;
#[path = "findings/global.rs"]
mod global;
#[path = "findings/routes.rs"]
mod routes;
#[path = "findings/row.rs"]
mod row;
#[path = "findings/yaml.rs"]
mod yaml;

use row::{Row, Rows};

fn test(rows: &[Row]) {
    let files = Rows::new();
    let wrong: Vec<String> = rows.iter().filter_map(|row| files.problem(row)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn texts_that_are_not_yaml_or_not_a_configuration() {
    test(yaml::ROWS);
}

#[test]
fn certificates_keys_and_cas() {
    test(certificates::ROWS);
}

#[test]
fn routes_and_policies() {
    test(routes::ROWS);
}

#[test]
fn global_keys_and_variables() {
    test(global::ROWS);
}
