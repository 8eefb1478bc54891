// SPDX-License-Identifier: GPL-2.0

//! Inputs as text: two hexadecimal digits a byte, with any white space between bytes, and comments
//! from `#` to the end of the line.

use std::fmt::Write;

/// Reads the bytes.
///
/// # Errors
///
/// Says what is not two hexadecimal digits.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    let words = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_whitespace);
    let mut bytes = Vec::new();
    for word in words {
        let pairs = word.as_bytes().chunks(2);
        for pair in pairs {
            let pair = str::from_utf8(pair).map_err(|error| error.to_string())?;
            let byte = u8::from_str_radix(pair, 16);
            match byte {
                Ok(byte) if pair.len() == 2 && !pair.starts_with('+') => bytes.push(byte),
                _ => return Err(format!("{pair:?} is not two hexadecimal digits")),
            }
        }
    }
    Ok(bytes)
}

/// Writes bytes, below a line that says what they are.
pub fn print(what: &str, bytes: &[u8]) -> String {
    let mut text = format!("# SPDX-License-Identifier: GPL-2.0\n# {what}\n");
    for line in bytes.chunks(16) {
        for (number, byte) in line.iter().enumerate() {
            let between = if number == 0 { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(text, "{between}{byte:02x}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for length in [0, 1, 16, 17, 40] {
            let bytes: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(7)).collect();
            assert_eq!(parse(&print("a test", &bytes)), Ok(bytes));
        }
    }

    #[test]
    fn comments_and_white_space_are_ignored() {
        assert_eq!(parse("# ff\n0102  03 # 04\n\t05"), Ok(vec![1, 2, 3, 5]));
    }

    #[test]
    fn what_is_no_byte_is_refused() {
        for text in ["1", "0g", "+1", "012"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
