//! The colours of pages, of those that are served and of those that are one file. The word says it, the colour only helps.

use policy::finding::Verdict;

/// The colours by day and by night, and the classes that have them.
pub const STYLE: &str = include_str!("../assets/colours.css");

/// A verdict's class.
pub fn of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "well",
        Verdict::Unknown | Verdict::NotApplicable => "grey",
        Verdict::Expiring | Verdict::Misnamed => "soon",
        Verdict::Intercepted
        | Verdict::Expired
        | Verdict::Distrusted
        | Verdict::Dead
        | Verdict::KeyLost
        | Verdict::Deleted
        | Verdict::Unbound => "bad",
    }
}

/// The class of a verdict's word; what is no verdict, as that of a server which has not reported, is grey.
pub fn of_word(word: &str) -> &'static str {
    serde_json::from_value(word.into()).map_or("grey", of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_the_colour_of_its_verdict_and_no_word_is_grey() {
        assert_eq!(
            ["healthy", "key_lost", "expiring", "unknown", "no_report", ""].map(of_word),
            ["well", "bad", "soon", "grey", "grey", "grey"]
        );
    }
}
