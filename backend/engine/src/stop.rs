//! Stop strings, found in text that arrives in pieces.
//!
//! mistral.rs matches stop strings too, but a stream of it has shown their first characters by the time it
//! knows (and it cuts nothing); so it is never told of them.

/// What may be shown after a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This much is certainly not part of a stop string; it may be empty.
    Text(String),
    /// A stop string is complete: this is the last of the text, without it.
    Stopped(String),
}

/// Finds the stop string that is complete first; of those that end at the same character, the longest.
/// That rule, unlike "the one that begins first", gives the same answer however the text is cut.
#[derive(Debug)]
pub(crate) struct StopStrings {
    patterns: Vec<Pattern>,
    /// The end of the text so far that may yet become a stop string.
    held: String,
}

impl StopStrings {
    /// Empty stop strings are ignored.
    pub(crate) fn new(stops: &[String]) -> Self {
        let patterns = stops.iter().filter(|stop| !stop.is_empty()).map(|stop| Pattern::new(stop)).collect();
        Self { patterns, held: String::new() }
    }

    /// Takes the next piece of text. After [`Step::Stopped`] nothing more is to be shown.
    pub(crate) fn push(&mut self, text: &str) -> Step {
        let scanned = self.held.len();
        self.held.push_str(text);
        for (offset, byte) in text.bytes().enumerate() {
            let complete = self.patterns.iter_mut().filter_map(|pattern| pattern.advance(byte)).max();
            if let Some(length) = complete {
                // A stop string begins with a whole character, so this is a character boundary.
                self.held.truncate(scanned + offset + 1 - length);
                return Step::Stopped(std::mem::take(&mut self.held));
            }
        }
        let hold = self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - hold);
        Step::Text(std::mem::replace(&mut self.held, kept))
    }

    /// The text held back, which turned out to be text after all: for when the generation ended.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// One stop string in the Knuth-Morris-Pratt way: callers choose these strings, so the search has to be
/// linear in the text whatever they choose.
#[derive(Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// For each prefix: the length of its longest proper suffix that is also a prefix.
    fallback: Vec<usize>,
    /// Length of the longest prefix that the text so far ends with; less than the whole.
    matched: usize,
}

impl Pattern {
    fn new(stop: &str) -> Self {
        let bytes = stop.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len()];
        let mut length = 0;
        for end in 1..bytes.len() {
            while length > 0 && bytes[end] != bytes[length] {
                length = fallback[length - 1];
            }
            if bytes[end] == bytes[length] {
                length += 1;
            }
            fallback[end] = length;
        }
        Self { bytes, fallback, matched: 0 }
    }

    /// The pattern's length if this byte completes it.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        if self.bytes[self.matched] == byte {
            self.matched += 1;
        }
        if self.matched < self.bytes.len() {
            return None;
        }
        self.matched = self.fallback[self.matched - 1];
        Some(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a caller sees of `pieces`, and whether a stop string ended it.
    fn shown<'a>(stops: &[&str], pieces: impl IntoIterator<Item = &'a str>) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut matcher = StopStrings::new(&stops);
        let mut seen = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                Step::Text(text) => seen += &text,
                Step::Stopped(text) => return (seen + &text, true),
            }
        }
        (seen + &matcher.finish(), false)
    }

    /// The rule said plainly, over the whole text: the slow way the fast one is held against.
    fn expected(stops: &[&str], text: &str) -> (String, bool) {
        let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
        for end in ends {
            let complete = stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(*stop));
            if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
                return (text[..end - stop.len()].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    fn cut(text: &str, cuts: u32) -> Vec<&str> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for (index, (at, _)) in text.char_indices().enumerate().skip(1) {
            if cuts >> (index - 1) & 1 == 1 {
                pieces.push(&text[start..at]);
                start = at;
            }
        }
        pieces.push(&text[start..]);
        pieces
    }

    #[test]
    fn the_answer_is_the_same_however_the_text_is_cut() {
        let texts =
            ["aabaabaaab", "abababcabab", "xxENDyy", "\u{e9}\u{e8}\u{e9}\u{e9}\u{e8}a", "ab\n\nHuman:"];
        let stop_sets: &[&[&str]] = &[
            &[],
            &[""],
            &["a"],
            &["aab"],
            &["aaab", "ab"],
            &["abcd", "bc"],
            &["bab", "abab", "c"],
            &["END", "ND"],
            &["E", "xEND"],
            &["\u{e9}\u{e9}"],
            &["\u{e8}\u{e9}\u{e9}\u{e8}", "\u{e9}a"],
            &["\n\nHuman:", "\n\nAssistant:"],
            &["never"],
        ];
        for text in texts {
            for stops in stop_sets {
                let whole = expected(stops, text);
                for cuts in 0..1 << (text.chars().count() - 1) {
                    let pieces = cut(text, cuts);
                    assert_eq!(shown(stops, pieces.clone()), whole, "{stops:?} in {pieces:?}");
                }
            }
        }
    }

    #[test]
    fn no_text_of_two_letters_gets_a_stop_string_past() {
        // Every text of up to 9 letters, letter by letter and whole, against every pair of short strings.
        let words = |length: u32| {
            (0..1u32 << length)
                .map(move |bits| (0..length).map(|at| if bits >> at & 1 == 1 { 'a' } else { 'b' }).collect())
        };
        let stops: Vec<String> = (1..=3).flat_map(words).collect();
        let texts: Vec<String> = (1..=9).flat_map(words).collect();
        for first in &stops {
            for second in &stops {
                let stops = [first.as_str(), second.as_str()];
                for text in &texts {
                    let (seen, stopped) = shown(&stops, text.split_inclusive(|_| true));
                    assert_eq!((seen.clone(), stopped), expected(&stops, text), "{stops:?} in {text}");
                    assert_eq!((seen.clone(), stopped), shown(&stops, [text.as_str()]));
                    assert!(!seen.contains(first.as_str()) && !seen.contains(second.as_str()));
                }
            }
        }
    }

    #[test]
    fn only_what_may_become_a_stop_string_is_held_back() {
        let mut matcher = StopStrings::new(&["END".to_owned()]);
        assert_eq!(matcher.push("the E"), Step::Text("the ".to_owned()));
        assert_eq!(matcher.push("N"), Step::Text(String::new()));
        assert_eq!(matcher.push("T"), Step::Text("ENT".to_owned()));
        assert_eq!(matcher.push("EN"), Step::Text(String::new()));
        assert_eq!(matcher.finish(), "EN");
    }
}
