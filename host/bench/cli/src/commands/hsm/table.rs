// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rows of words as columns.

/// The header and the rows, each column as wide as its longest cell; longer cells than fit go on in the next line.
pub fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let wrapped = |row: &[String; N]| {
        row.each_ref().map(|cell| {
            textwrap::wrap(cell, WIDEST)
                .into_iter()
                .map(String::from)
                .collect()
        })
    };
    let rows: Vec<[Vec<String>; N]> = std::iter::once(&header).chain(rows).map(wrapped).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column)).flatten();
        cells.map(|line| line.chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        for line in 0..row.iter().map(Vec::len).max().unwrap_or(0) {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| {
                    format!("{:<width$}", cell.get(line).map_or("", String::as_str))
                })
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
    }
    text
}

/// Characters of a line of a cell; three such columns still fit a wide terminal.
const WIDEST: usize = 48;

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

    #[test]
    fn long_cells_go_on_in_the_next_line() {
        let rows = [["word ".repeat(12).trim_end().to_owned(), "y".into()]];
        let nine = ["word"; 9].join(" ");
        assert_eq!(
            columns(["a", "b"], &rows),
            format!("{:46}b\n{nine:44}  y\nword word word\n", "a")
        );
    }
}
