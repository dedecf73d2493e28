//! What goes to a person's terminal: notes, colours, progress, and text that cannot drive the terminal.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One line on stderr. Unlike `eprintln!` it does not panic when stderr is closed.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether stdout takes colours: a terminal, and nobody said no (`NO_COLOR`, `TERM=dumb`).
pub(crate) fn stdout_takes_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !refused && !dumb
}

/// A progress line on stderr, drawn only when stderr is a terminal. Without a `total` it has no bar and no ETA.
pub(crate) fn progress(total: Option<u64>, unit_template: &str) -> anyhow::Result<ProgressBar> {
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    let template = match total {
        Some(_) => format!("{{bar:28}} {{percent:>3}} %  {unit_template}  ETA {{eta}}  {{msg}}"),
        None => format!("{{spinner}} {{elapsed}}  {unit_template}  {{msg}}"),
    };
    bar.set_style(ProgressStyle::with_template(&template)?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// Bytes from a stranger as text for one line: whatever could move the cursor, colour the screen or reorder the line is
/// escaped, and so is what is not UTF-8.
pub(crate) fn harmless(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if commands_terminal(character) {
                let _ = write!(text, "{}", character.escape_unicode());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Control characters of ASCII and Latin-1 (U+009B is the one-byte form of `ESC [`), line and paragraph separators, and
/// the marks that change writing direction.
pub(crate) fn commands_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Readings per second as a whole number.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64().max(1e-6)) as u64
}

/// Columns as wide as their widest cell: names to the left, numbers to the right.
pub(crate) fn layout(table: &[Vec<String>]) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        table
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in table {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => text += &format!("{cell:<width$}"),
                _ => text += &format!("  {cell:>width$}"),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{harmless, layout, thousands};

    #[test]
    fn nothing_in_a_name_reaches_the_terminal_as_a_command() {
        assert_eq!(
            harmless(b"rack\x1b[2J\r\n\x07"),
            "rack\\u{1b}[2J\\u{d}\\u{a}\\u{7}"
        );
        assert_eq!(
            harmless("a\u{9b}31m\u{202e}b".as_bytes()),
            "a\\u{9b}31m\\u{202e}b"
        );
        assert_eq!(harmless(b"\xffx\xc3"), "\\xffx\\xc3");
        assert_eq!(harmless("Kühlung 温度 °C".as_bytes()), "Kühlung 温度 °C");
    }

    #[test]
    fn thousands_are_grouped_from_the_right() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let table = [
            row(["sensor", "rows", "late"]),
            row(["rack:01", "1,234", "0"]),
        ];
        assert_eq!(
            layout(&table),
            "sensor    rows  late\nrack:01  1,234     0\n"
        );
    }
}
