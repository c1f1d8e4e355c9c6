//! Text for people: colours, notes, and numbers. Colours go only where they are wanted (a terminal,
//! and no `NO_COLOR`).

use std::{
    fmt::Display,
    io,
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anstyle::{AnsiColor, Color, Style};
use myriad_net::text::printable;
use serde::Serialize;

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const RED: Style = bold(AnsiColor::Red);
pub const YELLOW: Style = bold(AnsiColor::Yellow);
pub const GREEN: Style = colour(AnsiColor::Green);
pub const CYAN: Style = colour(AnsiColor::Cyan);

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

const fn bold(colour_: AnsiColor) -> Style {
    colour(colour_).bold()
}

/// A line on stderr about a choice that the program made for the user.
pub fn note(text: impl Display) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(anstream::stderr(), "{DIM}note:{DIM:#} {text}");
}

/// An error on stderr, and what to do about it.
pub fn error(text: &str, hint: Option<&str>) {
    let text = harmless(text);
    let mut stderr = anstream::stderr();
    let _ = writeln!(stderr, "{RED}error:{RED:#} {text}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "{CYAN}hint:{CYAN:#} {hint}");
    }
}

/// The text of an error as it is shown: it may quote files and answers of strangers. Some errors
/// show several lines of a file.
fn harmless(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| printable(line, usize::MAX)).collect();
    lines.join("\n")
}

/// One JSON document on stdout.
pub fn print_json(document: &impl Serialize) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, document)?;
    writeln!(stdout)?;
    stdout.flush()
}

/// Text for people on stdout.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// `text`, without its colours if stderr is not to have any.
pub fn for_stderr(text: &str) -> String {
    match anstream::AutoStream::choice(&io::stderr()) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its noun, in the plural unless there is one.
pub fn plural(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(number as u64))
}

/// Bytes in the unit that fits.
pub fn bytes(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let value = bytes as f64;
    match bytes {
        0..=1023 => format!("{bytes} B"),
        1024..=1_048_575 => format!("{:.0} KiB", value / KIB),
        1_048_576..=1_073_741_823 => format!("{:.1} MiB", value / KIB.powi(2)),
        _ => format!("{:.2} GiB", value / KIB.powi(3)),
    }
}

/// A duration with two figures that matter.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() < 1000 => format!("{} ms", duration.as_millis()),
        0..=59 => format!("{:.1} s", duration.as_secs_f64()),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Bytes as hex with `0x`.
pub fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [plural(1, "segment"), plural(2, "segment")],
            ["1 segment", "2 segments"]
        );
    }

    #[test]
    fn what_an_error_quotes_steers_no_terminal() {
        assert_eq!(
            harmless("a `\u{1b}]0;b\u{7}` \u{202e}c\u{2066}\u{61c}\r"),
            "a `?]0;b?` ?c???"
        );
        assert_eq!(harmless("line 1\n  |\t^\n"), "line 1\n  | ^\n");
    }

    #[test]
    fn units_fit() {
        assert_eq!(
            [0, 2048, 3 << 20, 5 << 29].map(bytes),
            ["0 B", "2 KiB", "3.0 MiB", "2.50 GiB"]
        );
        let times = [
            Duration::from_millis(83),
            Duration::from_millis(12_340),
            Duration::from_secs(83),
        ];
        assert_eq!(times.map(duration), ["83 ms", "12.3 s", "1 min 23 s"]);
        assert_eq!(duration(Duration::from_secs(3_725)), "1 h 02 min");
    }
}
