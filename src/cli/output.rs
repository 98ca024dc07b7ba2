use std::io::{self, Write};

/// Rows under a heading, in columns.
pub(super) struct Table<const COLUMNS: usize> {
    heading: [&'static str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(heading: [&'static str; COLUMNS]) -> Self {
        Self { heading, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row);
    }

    /// Aligned for a terminal, without spaces at the end of a line.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let heading = self.heading.map(str::to_uppercase);
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        for line in lines() {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// As a table of Markdown.
    pub(super) fn write_markdown(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |cells: &[&str]| writeln!(out, "| {} |", cells.join(" | "));
        line(&self.heading)?;
        line(&["---"; COLUMNS])?;
        for row in &self.rows {
            line(&row.each_ref().map(|cell| cell.as_str()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["name", "role"]);
        table.push(["bo".to_owned(), "admin".to_owned()]);
        table.push(["alice".to_owned(), String::new()]);
        let (mut text, mut markdown) = (Vec::new(), Vec::new());
        table.write_text(&mut text).unwrap();
        table.write_markdown(&mut markdown).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "NAME   ROLE\nbo     admin\nalice\n");
        assert_eq!(
            String::from_utf8(markdown).unwrap(),
            "| name | role |\n| --- | --- |\n| bo | admin |\n| alice |  |\n"
        );
    }
}
