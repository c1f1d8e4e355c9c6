//! Tables in Markdown.

/// A table with these headings.
pub struct Table {
    text: String,
}

impl Table {
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Self { text: String::new() };
        table.push(headings);
        table.text += &"|---".repeat(headings.len());
        table.text += "|\n";
        table
    }

    fn push(&mut self, cells: &[&str]) {
        self.text += &format!("| {} |\n", cells.join(" | "));
    }

    pub fn row(&mut self, cells: &[String]) {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        self.push(&cells);
    }

    pub fn text(&self) -> &str {
        self.text.trim_end()
    }
}
