//! Text formats of the reference's language that users see: durations in flags and files, quoted text in
//! messages (agent spec 3.1, 4.5).

#![forbid(unsafe_code)]

use std::time::Duration;

/// Parses a duration such as `300ms`, `1h3m0.5s`, `-2s` or `0` to nanoseconds.
///
/// # Errors
/// Returns the reference's error text, such as `time: missing unit in duration "5"`, if the text is invalid
/// or the value does not fit.
pub fn parse_nanos(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text.as_bytes()));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_ends = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_ends);
        let scale = unit_nanos(unit).ok_or_else(|| match unit {
            "" => format!("time: missing unit in duration {}", quote(text.as_bytes())),
            _ => format!(
                "time: unknown unit {} in duration {}",
                quote(unit.as_bytes()),
                quote(text.as_bytes())
            ),
        })?;
        let nanos = component(whole, fraction, scale).ok_or_else(invalid)?;
        total = total.checked_add(nanos).ok_or_else(invalid)?;
        rest = next;
    }
    // The most negative value has no positive counterpart.
    if negative && total == 1 << 63 {
        return Ok(i64::MIN);
    }
    let nanos = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -nanos } else { nanos })
}

/// Parses a duration that must not be negative.
///
/// # Errors
/// Fails as [`parse_nanos`] does, and for negative durations.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanos = u64::try_from(parse_nanos(text)?)
        .map_err(|_| format!("time: negative duration {}", quote(text.as_bytes())))?;
    Ok(Duration::from_nanos(nanos))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Converts one number with its unit to nanoseconds; `None` if it does not fit.
fn component(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    let units = match whole {
        "" => 0,
        digits => digits.parse::<u64>().ok()?.checked_mul(scale)?,
    };
    // Digits below a nanosecond are ignored; 18 digits keep the product within 128 bits.
    let (mut numerator, mut divisor) = (0u128, 1u128);
    for digit in fraction.bytes().take(18) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    let part = u64::try_from(u128::from(scale) * numerator / divisor).ok()?;
    let nanos = units.checked_add(part)?;
    (nanos <= 1 << 63).then_some(nanos)
}

/// Formats a duration as the reference does: `30s`, `1m0s`, `1.5s`, `300ms`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let scaled = |unit: u128, name: &str| {
        let fraction = format!("{:0width$}", nanos % unit, width = unit.ilog10() as usize);
        match fraction.trim_end_matches('0') {
            "" => format!("{}{name}", nanos / unit),
            fraction => format!("{}.{fraction}{name}", nanos / unit),
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => scaled(1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let rest = Duration::from_nanos((nanos % 60_000_000_000) as u64);
            let seconds = match format!("{:09}", rest.subsec_nanos()).trim_end_matches('0') {
                "" => format!("{}s", rest.as_secs()),
                fraction => format!("{}.{fraction}s", rest.as_secs()),
            };
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// Quotes text with double quotes and backslash escapes for non-printable characters.
pub fn quote(text: &[u8]) -> String {
    use std::fmt::Write;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let plain = match character {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\x07' => "\\a",
                '\x08' => "\\b",
                '\x0c' => "\\f",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\x0b' => "\\v",
                c if c.is_control() => {
                    let code = u32::from(c);
                    let _ = match code {
                        0..=0x7f => write!(quoted, "\\x{code:02x}"),
                        _ => write!(quoted, "\\u{code:04x}"),
                    };
                    continue;
                }
                c => {
                    quoted.push(c);
                    continue;
                }
            };
            quoted.push_str(plain);
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

/// Combines several errors into one text, as the reference does for a join that failed at every address
/// (agent spec 2.4).
pub fn errors_occurred(errors: &[String]) -> String {
    let mut text = match errors.len() {
        1 => "1 error occurred:".to_owned(),
        count => format!("{count} errors occurred:"),
    };
    for error in errors {
        text.push_str("\n\t* ");
        text.push_str(error);
    }
    text.push_str("\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        const S: i64 = 1_000_000_000;
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5 * S),
            ("+5s", 5 * S),
            ("-2s", -2 * S),
            ("300ms", 300_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", S / 2),
            ("5.s", 5 * S),
            ("1h3m0.5s", 3600 * S + 180 * S + S / 2),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("7us", 7_000),
            ("9ns", 9),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.3333333333333333333h", 1_199_999_999_999),
        ] {
            assert_eq!(parse_nanos(text), Ok(nanos), "{text}");
        }
        let why = "time: negative duration \"-1h\"";
        assert_eq!(parse_duration("-1h"), Err(why.to_owned()));
        assert_eq!(parse_duration("-0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_duration_is_refused_in_the_references_words() {
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("x", "time: invalid duration \"x\""),
            (".s", "time: invalid duration \".s\""),
            ("1..5s", "time: missing unit in duration \"1..5s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1h5", "time: missing unit in duration \"1h5\""),
            ("5y", "time: unknown unit \"y\" in duration \"5y\""),
            ("1 s", "time: unknown unit \" s\" in duration \"1 s\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
            (
                "9223372036854775808ns",
                "time: invalid duration \"9223372036854775808ns\"",
            ),
            (
                "99999999999999999999s",
                "time: invalid duration \"99999999999999999999s\"",
            ),
        ] {
            assert_eq!(parse_nanos(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_are_printed() {
        for (millis, text) in [
            (0, "0s"),
            (300, "300ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (30_000, "30s"),
            (60_000, "1m0s"),
            (90_000, "1m30s"),
            (86_400_000, "24h0m0s"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(format_duration(Duration::from_nanos(1_500)), "1.5\u{b5}s");
        assert_eq!(format_duration(Duration::from_nanos(1_050_000)), "1.05ms");
    }

    #[test]
    fn text_is_quoted() {
        assert_eq!(quote(b"x\ty\"\\"), r#""x\ty\"\\""#);
        assert_eq!(quote(b"\0\xff\x1b"), r#""\x00\xff\x1b""#);
        assert_eq!(quote("kn\u{f6}t\u{85}".as_bytes()), "\"kn\u{f6}t\\u0085\"");
    }

    #[test]
    fn errors_are_counted() {
        assert_eq!(
            errors_occurred(&["a".into()]),
            "1 error occurred:\n\t* a\n\n"
        );
        assert_eq!(
            errors_occurred(&["a".into(), "b".into()]),
            "2 errors occurred:\n\t* a\n\t* b\n\n"
        );
    }
}
