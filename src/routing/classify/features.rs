//! The form of a message, apart from its words: how long it is, whether it
//! asks, lists, or holds code.

use super::fold::is_unspaced;

/// What the form tells.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Shape {
    /// Words; letters of scripts without spaces count as 0.6 of one.
    pub words: f64,
    /// A question mark ends it, or one of its lines.
    pub question: bool,
    /// Lines or clauses that begin like `1.`, `2)` or `- `.
    pub items: u32,
    /// Commas, colons and semicolons of any script, and list items.
    pub clauses: u32,
    /// The pages of a document that is spoken of: `an 80 page agreement`.
    pub pages: u32,
    /// Marks of code: fences, braces, semicolons at a line's end, calls.
    pub code: u32,
    /// An operator between numbers: something to calculate.
    pub arithmetic: bool,
    /// How many scripts the letters belong to.
    pub scripts: u32,
}

/// Reads the form of a message.
pub(super) fn shape(text: &str) -> Shape {
    let mut shape = Shape::default();
    count_words(text, &mut shape);
    for line in text.lines() {
        read_line(line, &mut shape);
    }
    shape.items += inline_items(text);
    shape.clauses += shape.items * 2;
    shape.pages = pages(text);
    shape
}

/// What counts the size of a document, and how many of it make a page.
/// `5,000-word`, `80 page`, `60-seitig`, `70 पृष्ठ`, `100 页`.
const PAGE_UNITS: [(&str, u32); 16] = [
    ("page", 1),
    ("pagin", 1),
    ("págin", 1),
    ("seite", 1),
    ("seiti", 1),
    ("页", 1),
    ("頁", 1),
    ("ページ", 1),
    ("पृष्ठ", 1),
    ("पेज", 1),
    ("word", 400),
    ("wört", 400),
    ("wort", 400),
    ("palabra", 400),
    ("palavra", 400),
    ("mots", 400),
];

/// The largest size of a document that is spoken of, in pages.
fn pages(text: &str) -> u32 {
    let mut most = 0;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest.get(at..).unwrap_or_default();
        let end = digits.find(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '.'))).unwrap_or(digits.len());
        let (number, behind) = digits.split_at(end);
        let unit = behind.trim_start_matches([' ', '-', '\u{2011}']);
        if let Some((_, words)) = PAGE_UNITS.iter().find(|(name, _)| unit.starts_with(name)) {
            let count = number
                .bytes()
                .filter(u8::is_ascii_digit)
                .fold(0u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
            most = most.max(count / words);
        }
        rest = behind;
    }
    most
}

/// One pass over the letters: words, scripts, arithmetic.
fn count_words(text: &str, shape: &mut Shape) {
    let (mut in_word, mut scripts) = (false, 0u32);
    // The last two characters that are not spaces, for `12 * 7`.
    let (mut last, mut before) = (' ', ' ');
    for c in text.chars() {
        if c.is_ascii() {
            let word = c.is_ascii_alphanumeric();
            if word && !in_word {
                shape.words += 1.0;
            }
            in_word = word || (in_word && matches!(c, '\'' | '_' | '-'));
            scripts |= u32::from(c.is_ascii_alphabetic());
            if c == '%' && last.is_ascii_digit()
                || c.is_ascii_digit() && matches!(last, '*' | '+' | '/' | '^' | '-' | '=') && before.is_ascii_digit()
            {
                shape.arithmetic = true;
            }
        } else if is_unspaced(c) && !matches!(c, '\u{0600}'..='\u{06FF}' | '\u{0900}'..='\u{0DFF}' | '\u{AC00}'..='\u{D7AF}') {
            shape.words += 0.6;
            in_word = false;
            scripts |= script(c);
        } else {
            // Vowel signs of Indian scripts are part of a word, though not letters.
            let word = c.is_alphanumeric() || matches!(c, '\u{0900}'..='\u{0DFF}');
            if word && !in_word {
                shape.words += 1.0;
            }
            in_word = word;
            scripts |= script(c);
        }
        if !c.is_whitespace() {
            (before, last) = (last, c);
        }
    }
    shape.scripts = scripts.count_ones();
}

/// One bit per script.
fn script(c: char) -> u32 {
    match c {
        '\u{00C0}'..='\u{024F}' => 1,
        '\u{0370}'..='\u{03FF}' => 2,
        '\u{0400}'..='\u{052F}' => 4,
        '\u{0590}'..='\u{05FF}' => 8,
        '\u{0600}'..='\u{06FF}' => 16,
        '\u{0900}'..='\u{0DFF}' => 32,
        '\u{0E00}'..='\u{0EFF}' => 64,
        // Kana and Han are one writing.
        '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' => 128,
        '\u{AC00}'..='\u{D7AF}' => 256,
        _ => 0,
    }
}

fn read_line(line: &str, shape: &mut Shape) {
    let indented = line.starts_with(['\t']) || line.starts_with("  ");
    let line = line.trim();
    let code = shape.code;
    shape.question |= line.ends_with(['?', '？', '؟']);
    shape.items += u32::from(is_item(line));
    if line.starts_with("```") {
        shape.code += 2;
    } else if line.ends_with([';', '{', '}']) || line.ends_with("):") || line.contains("()") || line.contains("=>") {
        shape.code += 1;
    }
    if code == shape.code && !indented {
        // The commas of code do not ask for anything.
        let marks = line.chars().filter(|c| matches!(c, ',' | ';' | ':' | '、' | '，' | '；' | '：' | '।' | '·')).count();
        shape.clauses += u32::try_from(marks).unwrap_or(u32::MAX / 2).min(1000);
    }
}

/// `1. `, `2) `, `- `, `* `, `• `, `3、`.
fn is_item(line: &str) -> bool {
    if let Some(rest) = line.strip_prefix(['-', '*', '•']) {
        return rest.starts_with(' ');
    }
    let rest = line.trim_start_matches('(').trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = line.len() - rest.len();
    (1..=3).contains(&digits) && rest.starts_with(['.', ')', '、', ':']) && rest.chars().nth(1).is_none_or(|c| !c.is_ascii_digit())
}

/// `... 1) this, 2) that`: the numbers that count up inside of lines.
fn inline_items(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut found = 0;
    for window in bytes.windows(3) {
        if let [b' ' | b'(', digit, b')'] = window
            && digit.is_ascii_digit()
        {
            found += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_script_are_counted() {
        assert_eq!(shape("don't do it").words, 3.0);
        assert_eq!(shape("नमस्ते दोस्त").words, 2.0);
        assert!((shape("你好吗").words - 1.8).abs() < 1e-9);
        assert_eq!(shape("👍").words, 0.0);
    }

    #[test]
    fn lists_code_and_sums_are_seen() {
        assert_eq!(shape("1. a\n2. b\n- c").items, 3);
        assert_eq!(shape("do 1) this 2) that").items, 2);
        assert_eq!(shape("3.14 is pi").items, 0);
        assert!(shape("```rust\nfn main() {\n}\n```").code >= 4);
        assert!(shape("what is 12 * 7?").arithmetic);
        assert!(!shape("in 2024 the cat").arithmetic);
    }
}
