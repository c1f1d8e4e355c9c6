//! Quotes text from outside in error messages.

/// The start of a text from outside, short and harmless enough for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let printable = |char: char| if char.is_control() { ' ' } else { char };
    let mut short: String = text.chars().take(CHARS_MAX).map(printable).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push_str("...");
    }
    format!("`{short}`")
}
