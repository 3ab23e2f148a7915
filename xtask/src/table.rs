//! Plain text tables.

/// A remark may be longer than a screen is wide; the line below the heading
/// need not be.
const LONGEST_RULE: usize = 100;

/// Rows of cells, the first being the heading. The first column and the last,
/// if it is `wide`, align left; all others right.
pub(crate) fn render(rows: &[Vec<String>], wide: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| {
                if column == 0 || (wide && column + 1 == columns) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        if index == 0 {
            let rule = widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1);
            text.push_str(&"-".repeat(rule.min(LONGEST_RULE)));
            text.push('\n');
        }
    }
    text
}

/// `12345` as `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_numbers_right() {
        let rows = [["step", "s"], ["one", "1.5"], ["another", "12.0"]]
            .map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            render(&rows, false),
            "step        s\n-------------\none       1.5\nanother  12.0\n"
        );
    }

    #[test]
    fn groups_thousands() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
