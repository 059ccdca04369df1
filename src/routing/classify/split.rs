//! Which part of a message asks, and which part is the text that it asks
//! about. `Summarise this in two sentences: …` stays a small job however many
//! hard words the article holds.

/// The longest part that is taken for the asking one.
const ASK_BYTES: usize = 400;

/// Ways to part a message into what asks and the text it may be about: the
/// beginning up to a colon, a line's end or a quotation, and the last
/// paragraph. Only parts that leave more behind than they hold.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let ends = [": ", ":\n", "：", "\n"];
    let first = ends.iter().filter_map(|end| text.find(end)).min().and_then(|at| text.get(..at));
    let quoted = text.find(['"', '“', '「', '«', '„']).filter(|at| *at > 0).and_then(|at| text.get(..at));
    let last = text.trim_end().rfind('\n').and_then(|at| text.get(at..));
    [first, quoted, last].into_iter().flatten().filter(move |part| {
        let length = part.trim().len();
        length > 0 && length <= ASK_BYTES && text.len().saturating_sub(part.len()) > length / 2
    })
}

/// The beginning and the end of a text, together at most `limit` bytes, cut
/// between characters.
pub(super) fn head_and_tail(text: &str, limit: usize) -> (&str, &str) {
    if text.len() <= limit {
        return (text, "");
    }
    let (mut head, mut tail) = (limit / 4 * 3, text.len() - limit / 4);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_both_ends() {
        let text = "ä".repeat(100);
        let (head, tail) = head_and_tail(&text, 41);
        assert!(head.len() + tail.len() <= 42 && !head.is_empty() && !tail.is_empty());
        assert_eq!(head_and_tail("abc", 8), ("abc", ""));
    }

    #[test]
    fn the_asking_part_is_the_beginning_or_the_end() {
        let first: Vec<&str> = parts("Summarise this: a long article about many things").collect();
        assert_eq!(first, ["Summarise this"]);
        let last: Vec<&str> = parts("a long article\nabout many things\nsummarise it").collect();
        assert!(last.contains(&"\nsummarise it"));
    }
}
