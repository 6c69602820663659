//! Order of names in which runs of digits count as numbers: `benign (2)` before `benign (10)`.

use std::cmp::Ordering;

/// Compares two names naturally; names that differ only in leading zeros are ordered byte by byte,
/// so the order is total.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number, rest) = leading_number(left);
            let (other, other_rest) = leading_number(right);
            (left, right) = (rest, other_rest);
            number.len().cmp(&other.len()).then_with(|| number.cmp(other))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits at the start without leading zeros, and what follows them.
fn leading_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().position(|&c| c != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_count_as_numbers() {
        let mut names = [
            "b (10)",
            "b (2)",
            "a",
            "b (2)_mask",
            "b (02)",
            "b",
            "b (1)",
            "b (99999999999999999999999)",
        ];
        names.sort_by(|a, b| natural(a, b));
        let expected = [
            "a",
            "b",
            "b (1)",
            "b (02)",
            "b (2)",
            "b (2)_mask",
            "b (10)",
            "b (99999999999999999999999)",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn order_is_antisymmetric() {
        let names = ["", "0", "00", "1", "01", "a1", "a01b", "a1b", "a10", "é2", "é10"];
        for a in names {
            for b in names {
                assert_eq!(natural(a, b), natural(b, a).reverse(), "{a:?} {b:?}");
                assert_eq!(natural(a, b) == Ordering::Equal, a == b);
            }
        }
    }
}
