//! Statements that do more than they say at first sight.

use super::*;
use crate::spool::format::IDENTITY;
use crate::sqlite::open_in_memory;

fn sequences(connection: &Connection) -> Vec<u64> {
    let rows = list_after(connection, 0, 100).expect("readable");
    rows.into_iter().map(|row| row.sequence).collect()
}

#[test]
fn neighbours_are_removed_together_or_not_at_all() {
    let connection = open_in_memory(&IDENTITY).expect("a database");
    for sequence in [1, 2, 3, 5, 6] {
        let row = Row::new(sequence, SinkSet::from_bits(1), Vec::new(), Bytes::new());
        insert(&connection, &row).expect("room");
    }
    assert_eq!(remove_neighbours(&connection, 2, 3), Ok(false), "4 is gone");
    assert_eq!(sequences(&connection), [1, 2, 3, 5, 6]);
    assert_eq!(remove_neighbours(&connection, 2, 2), Ok(true));
    assert_eq!(sequences(&connection), [1, 5, 6]);
}
