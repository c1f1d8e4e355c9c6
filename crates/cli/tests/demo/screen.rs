//! Records a command's picture on a terminal, from its start to its end.

use std::{
    fs::File,
    io::Read,
    num::NonZero,
    process::{Command, Output, Stdio},
    thread,
};

use nix::pty::{Winsize, openpty};

const ROWS: NonZero<u16> = NonZero::new(40).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(120).unwrap();

/// Runs a command whose stderr is a terminal, and gives its output with every picture that the
/// terminal showed.
pub fn run(command: &mut Command) -> (Output, Vec<String>) {
    let size = Winsize {
        ws_row: ROWS.get(),
        ws_col: COLUMNS.get(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(Some(&size), None).unwrap();
    let child = command
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(terminal.slave)
        .spawn()
        .unwrap();
    // The command keeps the other end of the terminal open; this one would see no end.
    command.stderr(Stdio::null());
    let mut screen = File::from(terminal.master);
    let watching = thread::spawn(move || {
        let mut parser = vt100::Parser::new(ROWS, COLUMNS, 0);
        let mut pictures: Vec<String> = Vec::new();
        let mut bytes = [0; 4096];
        // Linux ends a terminal that nobody writes to any more with an error.
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            parser.process(&bytes[..count]);
            // Rows are taken one by one: a line that fills its row would be joined with the next.
            let rows = parser.screen().rows(0, COLUMNS.get());
            let picture = rows
                .map(|row| row.trim_end().to_owned())
                .collect::<Vec<_>>()
                .join("\n");
            if pictures.last() != Some(&picture) {
                pictures.push(picture);
            }
        }
        pictures
    });
    let output = child.wait_with_output().unwrap();
    (output, watching.join().unwrap())
}
