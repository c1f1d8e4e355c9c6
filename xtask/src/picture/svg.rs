//! Draws the screens of a terminal as one SVG that plays them by CSS.
//!
//! All frames lie side by side in one strip, which an animation moves past the window. Rows that
//! several frames have are drawn once and used again. The window is dark wherever the picture is
//! shown, as terminals are, so that it reads on a light page and on a dark one. The last frame
//! stands still where nothing moves, because a reader wants no motion or a program knows no
//! animations.

use std::{collections::HashMap, fmt::Write};

use super::record::{COLUMNS, ROWS, Run, Screen};

/// Pixels of a column and of a row, in a font of 14 pixels.
const COLUMN: f64 = 8.4;
const ROW: f64 = 19.0;
const PADDING: f64 = 16.0;
/// The bar above the text, with the window's title.
const TITLE: f64 = 30.0;
/// Seconds that the recording plays, and that its last frame stands afterwards.
const PLAY_S: f64 = 16.0;
const STAND_S: f64 = 8.0;

/// The sixteen colours of a terminal, for a dark background.
const COLOURS: [&str; 16] = [
    "#3b4252", "#f07178", "#7fd88f", "#f2c66d", "#6cb6ff", "#c792ea", "#6fd3e0", "#d8dee9", "#6b7486",
    "#ff8b92", "#9ff0ae", "#ffdc92", "#93ccff", "#dcb0ff", "#95e8f2", "#ffffff",
];

/// The picture of `frames`, which is not empty.
pub fn draw(title: &str, frames: &[Screen]) -> String {
    let rows = frames
        .iter()
        .map(rows_shown)
        .max()
        .unwrap_or(0)
        .min(usize::from(ROWS.get()));
    let width = f64::from(COLUMNS.get()) * COLUMN + 2.0 * PADDING;
    let height = rows as f64 * ROW + 2.0 * PADDING + TITLE;
    let total = PLAY_S + STAND_S;
    let last = -width * (frames.len() - 1) as f64;

    let mut svg = String::new();
    // Writing to memory does not fail.
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>{title}: a recording of a run, played faster</title>
<style>
text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d8dee9;white-space:pre}}
.b{{font-weight:bold}}.d{{opacity:.6}}
"##
    );
    for (index, colour) in COLOURS.iter().enumerate() {
        let _ = write!(svg, ".c{index}{{fill:{colour}}}");
    }
    let _ = write!(
        svg,
        "\n#f{{transform:translateX({last}px);animation:p {total}s step-end infinite}}\n@keyframes p{{"
    );
    for index in 0..frames.len() {
        let at = 100.0 * PLAY_S / total * index as f64 / (frames.len().max(2) - 1) as f64;
        let _ = write!(
            svg,
            "{at:.2}%{{transform:translateX({}px)}}",
            -width * index as f64
        );
    }
    let _ = write!(
        svg,
        "100%{{transform:translateX({last}px)}}}}\n@media (prefers-reduced-motion:reduce){{#f{{animation:none}}}}\n</style>\n"
    );
    let _ = write!(
        svg,
        r##"<rect width="{width}" height="{height}" rx="10" fill="#1b2130"/>
<circle cx="22" cy="19" r="5.5" fill="#f07178"/><circle cx="40" cy="19" r="5.5" fill="#f2c66d"/><circle cx="58" cy="19" r="5.5" fill="#7fd88f"/>
<text class="d" x="{}" y="24" text-anchor="middle">{title}</text>
"##,
        width / 2.0
    );

    let (rows_drawn, strip) = strip(frames, width);
    let _ = write!(
        svg,
        "<defs>{rows_drawn}</defs>\n<g id=\"f\">{strip}</g>\n</svg>\n"
    );
    svg
}

/// Each different row, drawn once; and the frames, which use them.
fn strip(frames: &[Screen], width: f64) -> (String, String) {
    let mut drawn: HashMap<&[Run], usize> = HashMap::new();
    let (mut rows, mut strip) = (String::new(), String::new());
    for (index, frame) in frames.iter().enumerate() {
        for (row, runs) in frame.0.iter().enumerate().filter(|(_, runs)| !runs.is_empty()) {
            let next = drawn.len();
            let id = *drawn.entry(runs).or_insert_with(|| {
                let _ = write!(rows, "<g id=\"r{next}\">{}</g>", texts(runs));
                next
            });
            let (x, y) = (
                index as f64 * width + PADDING,
                TITLE + PADDING + (row as f64 + 0.75) * ROW,
            );
            let _ = write!(strip, "<use href=\"#r{id}\" x=\"{x:.0}\" y=\"{y:.0}\"/>");
        }
        strip.push('\n');
    }
    (rows, strip)
}

fn texts(runs: &[Run]) -> String {
    let mut svg = String::new();
    for run in runs {
        let mut classes = Vec::new();
        classes.extend(run.look.bold.then(|| "b".to_owned()));
        classes.extend(run.look.dim.then(|| "d".to_owned()));
        classes.extend(run.look.colour.map(|colour| format!("c{colour}")));
        let class = match classes.is_empty() {
            true => String::new(),
            false => format!(" class=\"{}\"", classes.join(" ")),
        };
        // The length holds columns together in whatever font there is.
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" textLength=\"{:.1}\"{class}>{}</text>",
            f64::from(run.column) * COLUMN,
            f64::from(run.columns) * COLUMN,
            escaped(&run.text)
        );
    }
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn rows_shown(frame: &Screen) -> usize {
    frame
        .0
        .iter()
        .rposition(|runs| !runs.is_empty())
        .map_or(0, |row| row + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::record::Look;

    fn row(text: &str) -> Vec<Run> {
        let look = Look {
            colour: Some(2),
            bold: true,
            dim: false,
        };
        vec![Run {
            column: 1,
            columns: text.len() as u16,
            text: text.to_owned(),
            look,
        }]
    }

    #[test]
    fn rows_that_come_again_are_drawn_once_and_text_is_escaped() {
        let frames = [Screen(vec![row("a<b")]), Screen(vec![row("a<b"), row("c&d")])];
        let svg = draw("t", &frames);
        assert_eq!(svg.matches("a&lt;b").count(), 1);
        assert_eq!(svg.matches("<use href=\"#r0\"").count(), 2);
        assert!(svg.contains("class=\"b c2\">c&amp;d</text>"), "{svg}");
    }

    #[test]
    fn the_last_frame_is_the_one_that_stands() {
        let frames = [
            Screen(vec![row("a")]),
            Screen(vec![row("b")]),
            Screen(vec![row("c")]),
        ];
        let width = f64::from(COLUMNS.get()) * COLUMN + 2.0 * PADDING;
        let stands = format!("#f{{transform:translateX({}px)", -2.0 * width);
        assert!(draw("t", &frames).contains(&stands));
    }
}
