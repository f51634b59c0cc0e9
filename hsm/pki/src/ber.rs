// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loose BER rewritten as DER (X.690 §8.1, §10): other programs write indefinite lengths and strings in pieces.

/// Rewrites exactly one element with minimal lengths and unbroken octet strings; contents stay as they are.
///
/// None when it is no BER, is nested deeper than 32, has a tag number above 30, which nothing here uses, or has more
/// members in a set than the reader behind it can sort in reasonable time. The result is never longer than twice the
/// input.
pub(crate) fn to_der(input: &[u8]) -> Option<Vec<u8>> {
    let (der, rest) = element(input, MAX_DEPTH)?;
    rest.is_empty().then_some(der)
}

/// One DER element.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let significant = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    } else {
        out.push(content.len() as u8);
    }
    out.extend_from_slice(content);
    out
}

const MAX_DEPTH: usize = 32;
const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;

fn element(input: &[u8], depth: usize) -> Option<(Vec<u8>, &[u8])> {
    let depth = depth.checked_sub(1)?;
    let (tag, content, rest) = header(input)?;
    if tag & CONSTRUCTED == 0 {
        let (content, rest) = content.map(|length| rest.split_at_checked(length))??;
        return Some((tlv(tag, content), rest));
    }
    let (mut inside, after) = match content {
        Some(length) => {
            let (inside, after) = rest.split_at_checked(length)?;
            (inside, Some(after))
        }
        None => (rest, None),
    };
    let mut children = Vec::new();
    let rest = loop {
        match (after, inside) {
            (Some(after), []) => break after,
            (None, [0, 0, after @ ..]) => break after,
            _ => {}
        }
        if children.len() == most_children(tag) {
            return None;
        }
        let (child, next) = element(inside, depth)?;
        children.push(child);
        inside = next;
    };
    if tag != OCTET_STRING | CONSTRUCTED {
        return Some((tlv(tag, &children.concat()), rest));
    }
    let pieces = children
        .iter()
        .map(|child| {
            let (tag, length, content) = header(child)?;
            (tag == OCTET_STRING && length == Some(content.len())).then_some(content)
        })
        .collect::<Option<Vec<_>>>()?;
    Some((tlv(OCTET_STRING, &pieces.concat()), rest))
}

/// A context-specific element may be a set too.
fn most_children(tag: u8) -> usize {
    match tag {
        0x31 => 64,
        0xa0..=0xbf => 1024,
        _ => usize::MAX,
    }
}

/// Tag, length (None: indefinite) and what follows; `00` is the end of something indefinite and no element.
fn header(input: &[u8]) -> Option<(u8, Option<usize>, &[u8])> {
    let (tag, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    if *tag == 0 || tag & 0x1f == 0x1f {
        return None;
    }
    match first {
        0x80 => (tag & CONSTRUCTED != 0).then_some((*tag, None, rest)),
        0x81..=0x88 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = length
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            Some((*tag, Some(usize::try_from(length).ok()?), rest))
        }
        0x89.. => None,
        short => Some((*tag, Some(usize::from(*short)), rest)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn indefinite_lengths_and_pieces_become_der() {
        let loose = [
            &[0x30, 0x80, 0x24, 0x80, 4, 1, 0xaa, 4, 0x81, 1, 0xbb, 0, 0][..],
            &[0x02, 0x83, 0, 0, 1, 7, 0, 0],
        ]
        .concat();
        let strict = [0x30, 7, 4, 2, 0xaa, 0xbb, 2, 1, 7];
        assert_eq!(to_der(&loose), Some(strict.to_vec()));
        assert_eq!(to_der(&strict), Some(strict.to_vec()));
        let deep = [[0x30, 0x80].repeat(40), [0, 0].repeat(40)].concat();
        for (why, bad) in [
            ("nothing", &[][..]),
            ("no end", &[0x30, 0x80, 2, 1, 1]),
            ("beyond the end", &[0x30, 3, 2, 1]),
            ("trailing byte", &[2, 1, 1, 0]),
            ("indefinite primitive", &[4, 0x80, 0, 0]),
            ("number in a string", &[0x24, 3, 2, 1, 1]),
            ("too deep", &deep),
        ] {
            assert_eq!(to_der(bad), None, "{why}");
        }
    }

    proptest! {
        #[test]
        fn der_stays_as_it_is(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5)) {
            let inside: Vec<u8> = contents.iter().flat_map(|content| tlv(4, content)).collect();
            let der = tlv(0x30, &inside);
            prop_assert_eq!(to_der(&der), Some(der));
        }

        #[test]
        fn arbitrary_bytes_never_grow_beyond_bounds(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(der) = to_der(&bytes) {
                prop_assert!(der.len() <= 2 * bytes.len());
                prop_assert_eq!(to_der(&der), Some(der));
            }
        }
    }
}
