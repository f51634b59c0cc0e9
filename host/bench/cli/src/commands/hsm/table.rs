// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rows of words as columns.

/// The header and the rows, each column as wide as its longest cell.
pub fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let lines = || std::iter::once(&header).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = lines().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in lines() {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let rows = [
            ["a".to_owned(), "x".to_owned()],
            ["längst".into(), "y".into()],
        ];
        assert_eq!(
            columns(["", "b"], &rows),
            "        b\na       x\nlängst  y\n"
        );
    }
}
