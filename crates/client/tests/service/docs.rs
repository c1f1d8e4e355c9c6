//! The page for operators and clients has every kind of problem, with its status.

use myriad_client::api::Kind;

#[test]
fn the_page_names_every_kind_of_problem() {
    let page = include_str!("../../../../docs/SERVICE.md");
    for kind in Kind::ALL {
        let row = format!("\n| `{}` | {} | ", kind.as_str(), kind.status());
        assert!(page.contains(&row), "no row {row:?}");
    }
    let (_, table) = page.split_once("| kind | status |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    assert_eq!(
        table.matches("\n| `").count(),
        Kind::ALL.len(),
        "it has others, too"
    );
}
