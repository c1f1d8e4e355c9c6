//! Runs a program on a terminal of its own, and records the terminal's contents with times.

use std::{
    fs::File,
    io::Read,
    num::NonZero,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::pty::{Winsize, openpty};
use vt100::Parser;

/// The size of the terminal: wide enough for every line of the demo, and as high as its last
/// screen.
pub const COLUMNS: NonZero<u16> = NonZero::new(130).unwrap();
pub const ROWS: NonZero<u16> = NonZero::new(34).unwrap();

/// The contents of a terminal, from the start of a program to its end.
pub struct Recording {
    /// The screens, each different from the one before.
    screens: Vec<(Duration, Screen)>,
}

/// The rows of a terminal, each as runs of equal looks.
#[derive(Clone, PartialEq, Eq)]
pub struct Screen(pub Vec<Vec<Run>>);

/// Text in one look, at a column.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Run {
    pub column: u16,
    pub columns: u16,
    pub text: String,
    pub look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    /// One of the terminal's sixteen colours; none is the colour of plain text.
    pub colour: Option<u8>,
    pub bold: bool,
    pub dim: bool,
}

/// Runs `program` in `folder` until it ends.
///
/// # Errors
/// A program that cannot be started, and one that fails: with its last screen.
pub fn record(program: &Path, arguments: &[&str], folder: &Path) -> Result<Recording> {
    let size = Winsize {
        ws_row: ROWS.get(),
        ws_col: COLUMNS.get(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(Some(&size), None).context("cannot open a terminal")?;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // A developer's own settings are no part of the demo.
        if name.to_string_lossy().starts_with("MYRIAD_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(arguments)
        .current_dir(folder)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(terminal.slave.try_clone()?)
        .stderr(terminal.slave)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    // The command holds the terminal's other end open: with it, reading would never end.
    drop(command);

    let screens = watch(File::from(terminal.master));
    let status = child.wait()?;
    if !status.success() {
        let last = screens
            .last()
            .map_or_else(String::new, |(_, screen)| screen.text());
        bail!(
            "{} {} failed with {status}:\n{last}",
            program.display(),
            arguments.join(" ")
        );
    }
    if screens.is_empty() {
        bail!("{} {} showed nothing", program.display(), arguments.join(" "));
    }
    Ok(Recording { screens })
}

fn watch(mut terminal: File) -> Vec<(Duration, Screen)> {
    let start = Instant::now();
    let mut parser = Parser::new(ROWS, COLUMNS, 0);
    let mut screens: Vec<(Duration, Screen)> = Vec::new();
    let mut bytes = [0; 4096];
    // Linux ends a terminal that nobody writes to any more with an error.
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        parser.process(&bytes[..count]);
        let screen = Screen::read(parser.screen());
        if screens.last().is_none_or(|(_, last)| *last != screen) {
            screens.push((start.elapsed(), screen));
        }
    }
    screens
}

impl Recording {
    /// Seconds from the program's start to its last screen.
    pub fn seconds(&self) -> f64 {
        self.screens.last().map_or(0.0, |(time, _)| time.as_secs_f64())
    }

    /// At most `frames` screens, at even distances in time; the last one is that of the program's
    /// end.
    pub fn thinned(&self, frames: usize) -> Vec<Screen> {
        let step = self.seconds() / frames.max(1) as f64;
        let at = |time: f64| {
            let after = self
                .screens
                .partition_point(|(shown, _)| shown.as_secs_f64() <= time);
            self.screens[after.saturating_sub(1)].1.clone()
        };
        let mut thinned: Vec<Screen> = (1..frames).map(|frame| at(frame as f64 * step)).collect();
        thinned.push(at(f64::INFINITY));
        thinned.dedup();
        thinned
    }
}

impl Screen {
    fn read(screen: &vt100::Screen) -> Self {
        let (rows, columns) = screen.size();
        let row = |row: u16| {
            let mut runs: Vec<Run> = Vec::new();
            for column in 0..columns.get() {
                let Some(cell) = screen.cell(row, column) else {
                    continue;
                };
                let text = if cell.has_contents() { cell.contents() } else { " " };
                let look = Look {
                    colour: match cell.fgcolor() {
                        vt100::Color::Idx(index) if index < 16 => Some(index),
                        _ => None,
                    },
                    bold: cell.bold(),
                    dim: cell.dim(),
                };
                match runs.last_mut() {
                    Some(run) if run.look == look => {
                        run.text.push_str(text);
                        run.columns += 1;
                    }
                    _ => runs.push(Run {
                        column,
                        columns: 1,
                        text: text.to_owned(),
                        look,
                    }),
                }
            }
            runs.into_iter().filter_map(Run::trimmed).collect()
        };
        Self((0..rows.get()).map(row).collect())
    }

    fn text(&self) -> String {
        let row = |runs: &Vec<Run>| {
            runs.iter()
                .map(|run| run.text.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        self.0
            .iter()
            .map(row)
            .collect::<Vec<_>>()
            .join("\n")
            .trim_end()
            .to_owned()
    }
}

impl Run {
    /// The text without the spaces at both ends; none if there is nothing else.
    fn trimmed(self) -> Option<Self> {
        let start = self.text.len() - self.text.trim_start_matches(' ').len();
        let text = self.text.trim_matches(' ');
        let spaces = (self.text.len() - text.len()) as u16;
        (!text.is_empty()).then(|| Self {
            column: self.column + start as u16,
            columns: self.columns - spaces,
            text: text.to_owned(),
            look: self.look,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(text: &str) -> Screen {
        let mut parser = Parser::new(NonZero::new(2).unwrap(), NonZero::new(20).unwrap(), 0);
        parser.process(text.as_bytes());
        Screen::read(parser.screen())
    }

    #[test]
    fn a_screen_is_read_with_its_looks_and_without_its_spaces() {
        let screen = screen("  \x1b[32m✓\x1b[0m \x1b[1mKeys\x1b[0m   ready");
        let runs: Vec<_> = screen.0[0]
            .iter()
            .map(|run| {
                (
                    run.column,
                    run.columns,
                    run.text.as_str(),
                    run.look.colour,
                    run.look.bold,
                )
            })
            .collect();
        assert_eq!(
            runs,
            [
                (2, 1, "✓", Some(2), false),
                (4, 4, "Keys", None, true),
                (11, 5, "ready", None, false)
            ]
        );
        assert!(screen.0[1].is_empty());
    }

    #[test]
    fn a_recording_is_thinned_evenly_and_ends_with_its_last_screen() {
        let screens = (0..100).map(|at| (Duration::from_secs(at), screen(&at.to_string())));
        let recording = Recording {
            screens: screens.collect(),
        };
        let shown = |frames| {
            recording
                .thinned(frames)
                .iter()
                .map(Screen::text)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(3), ["33", "66", "99"]);
        assert_eq!(shown(1000).len(), 100);
    }
}
