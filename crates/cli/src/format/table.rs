//! Columns as Go's tabwriter lays them out for Docker: at least ten wide, three apart, the last one as
//! long as it is.

/// The least width of a column, with what is between it and the next.
const LEAST: usize = 10;
const BETWEEN: usize = 3;

/// Lays lines out whose cells are separated by tabs.
pub(crate) fn align(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let mut out = String::new();
    // A column is as wide as its widest cell among the neighbours that have one: tabwriter's rule.
    let widths: Vec<Vec<usize>> = (0..rows.len()).map(|_| Vec::new()).collect();
    let mut widths = widths;
    fill(&rows, 0, 0, rows.len(), &mut widths);
    for (row, widths) in rows.iter().zip(&widths) {
        for (at, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if at + 1 < row.len() {
                let width = widths.get(at).copied().unwrap_or(LEAST);
                out.extend(std::iter::repeat_n(
                    ' ',
                    width.saturating_sub(cell.chars().count()),
                ));
            }
        }
        out.push('\n');
    }
    out
}

fn fill(rows: &[Vec<&str>], column: usize, from: usize, to: usize, widths: &mut [Vec<usize>]) {
    let has_cell = |row: usize| column + 1 < rows[row].len();
    let mut row = from;
    while row < to {
        if !has_cell(row) {
            row += 1;
            continue;
        }
        let begin = row;
        let mut width = 0;
        while row < to && has_cell(row) {
            width = width.max(rows[row][column].chars().count() + BETWEEN);
            row += 1;
        }
        for widths in &mut widths[begin..row] {
            widths.push(width.max(LEAST));
        }
        fill(rows, column + 1, begin, row, widths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_docker() {
        let lines = [
            "REPOSITORY\tTAG\tIMAGE ID\tSIZE",
            "busybox\tlatest\td903f547efac\t1.98MB",
        ];
        assert_eq!(
            align(&lines.map(str::to_owned)),
            "REPOSITORY   TAG       IMAGE ID       SIZE\nbusybox      latest    d903f547efac   1.98MB\n"
        );
        assert_eq!(align(&["a".to_owned()]), "a\n");
    }
}
