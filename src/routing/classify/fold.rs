//! Text as the lexicon reads it: lower case, without accents, with one space
//! for any white space. The words of the lexicon go through the same fold, so
//! that `Où`, `ou` and full-width `ＯＵ` are one word.

/// Appends `text`, folded, to `out`.
pub(super) fn fold(text: &str, out: &mut String) {
    out.reserve(text.len());
    let mut spaced = out.is_empty() || out.ends_with(' ');
    for c in text.chars() {
        match c {
            'a'..='z' | '!'..='@' => out.push(c),
            'A'..='Z' => out.push(c.to_ascii_lowercase()),
            _ if c.is_whitespace() => {
                if !spaced {
                    out.push(' ');
                }
                spaced = true;
                continue;
            }
            _ if c.is_ascii() => out.push(c),
            _ => fold_wide(c, out),
        }
        spaced = false;
    }
}

/// Folds what is not ASCII.
fn fold_wide(c: char, out: &mut String) {
    // The scripts without case and accents that make up most of such text.
    if ('\u{0900}'..='\u{0DFF}').contains(&c) || ('\u{3000}'..='\u{9FFF}').contains(&c) {
        out.push(c);
        return;
    }
    match c {
        '\u{2018}' | '\u{2019}' | '\u{02BC}' => out.push('\''),
        // Zero-width marks and combining accents carry no letter.
        '\u{200B}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{0300}'..='\u{036F}' => {}
        '\u{FF01}'..='\u{FF5E}' => out.extend(char::from_u32(u32::from(c) - 0xFEE0).map(|narrow| narrow.to_ascii_lowercase())),
        _ => c.to_lowercase().for_each(|lower| push_plain(lower, out)),
    }
}

/// Appends a lower-case letter without its accent.
fn push_plain(c: char, out: &mut String) {
    let plain = match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'č' => "c",
        'ď' => "d",
        'è'..='ë' | 'ē' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì'..='ï' | 'ī' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'ř' => "r",
        'ś' | 'š' | 'ş' => "s",
        'ť' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ё' => "е",
        '\u{0300}'..='\u{036F}' => "",
        _ => {
            out.push(c);
            return;
        }
    };
    out.push_str(plain);
}

/// Whether a letter belongs to a script that is written without spaces, or
/// whose words change so much that only their inside is looked for.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0900}'..='\u{0DFF}' // Devanagari and the other scripts of India
        | '\u{0E00}'..='\u{0EFF}' // Thai, Lao
        | '\u{0600}'..='\u{06FF}' // Arabic: the article is part of the word
        | '\u{3040}'..='\u{30FF}' // kana
        | '\u{3400}'..='\u{9FFF}' // Han
        | '\u{AC00}'..='\u{D7AF}') // Hangul
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut out = String::new();
        fold(text, &mut out);
        out
    }

    #[test]
    fn case_accents_and_spaces_go() {
        assert_eq!(folded("  Où \n\t EST\u{3000}l’Été ?"), "ou est l'ete ?");
        assert_eq!(folded("Straße ＡＰＩ e\u{301}"), "strasse api e");
        assert_eq!(folded("設計 नमस्ते"), "設計 नमस्ते");
    }
}
