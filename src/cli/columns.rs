//! Formats text in columns (agent spec 3.2).

/// Formats rows as text: each column is as wide as its widest cell, with two blanks between columns and no
/// trailing blanks. The result is trimmed at both ends.
pub fn columns(rows: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let last = row.len().saturating_sub(1);
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(cell);
            if column < last {
                let blanks = width.saturating_sub(cell.chars().count()) + 2;
                text.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        text.push('\n');
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::columns;

    fn table(rows: &[&[&str]]) -> String {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| row.iter().map(|&cell| cell.to_owned()).collect())
            .collect();
        columns(&rows)
    }

    #[test]
    fn cells_are_padded_in_characters() {
        assert_eq!(
            table(&[&["n\u{f6}", "a", "x"], &["n100", "bcd", ""], &["z", "", ""]]),
            "n\u{f6}    a    x\nn100  bcd  \nz"
        );
        assert_eq!(table(&[]), "");
    }
}
