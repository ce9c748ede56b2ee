//! Values as older firmware sends them: texts.

use crate::catalogue::TeslaPart;

/// Whether the text says that there is no valid value.
pub(super) fn is_invalid(text: &str) -> bool {
    text.trim() == "<invalid>"
}

/// `true` and `false`, whatever the case.
pub(super) fn boolean(word: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case("true") {
        Some(true)
    } else if word.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A place such as `(37.412374 N, 122.145867 W)`: degrees north and degrees east.
pub(super) fn location(text: &str) -> Option<(f64, f64)> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (latitude, longitude) = inner.split_once(',')?;
    Some((degrees(latitude, 'N', 'S')?, degrees(longitude, 'E', 'W')?))
}

fn degrees(text: &str, positive: char, negative: char) -> Option<f64> {
    let text = text.trim();
    let sign = match text.chars().next_back()? {
        hemisphere if hemisphere == positive => 1.0,
        hemisphere if hemisphere == negative => -1.0,
        _ => return None,
    };
    // The hemisphere is one ASCII letter.
    let number: f64 = text[..text.len() - 1].trim_end().parse().ok()?;
    Some(sign * number)
}

/// Hour, minute and second of `7:05:09` or `7:05`.
pub(super) fn time_of_day(word: &str) -> Option<[i32; 3]> {
    let mut parts = word.split(':');
    let mut number = || {
        let part = parts.next()?;
        let plain = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if plain { part.parse::<i32>().ok() } else { None }
    };
    let (hour, minute) = (number()?, number()?);
    let second = if word.matches(':').count() == 1 { 0 } else { number()? };
    if parts.next().is_some() {
        return None;
    }
    Some([hour, minute, second])
}

/// The members of a message that a text names, as bits: `DriverFront|TrunkRear` or `front_left, rear_left`; case and underscores don't
/// matter. An empty text, `none` and `closed` are no member. `None` where a word is no member.
pub(super) fn members(text: &str, parts: &[TeslaPart]) -> Option<u16> {
    let mut bits = 0;
    for word in text.split(['|', ',', ';', ' ']).filter(|word| !word.is_empty()) {
        if ["none", "closed"].iter().any(|nothing| word.eq_ignore_ascii_case(nothing)) {
            continue;
        }
        let part = parts.iter().find(|part| is_same_name(part.member_name, word))?;
        bits |= 1_u16.checked_shl(part.member - 1)?;
    }
    Some(bits)
}

fn is_same_name(left: &str, right: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = u8> + '_ {
        name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
    }
    letters(left).eq(letters(right))
}
