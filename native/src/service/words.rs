//! The command line of a service, as Windows keeps it in `ImagePath`. Pure.

/// The words of a command line, as a program of Microsoft's C runtime is given them ("Parsing C command-line arguments").
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t']);
    // The first is a path: nothing in it escapes.
    if !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after;
    }
    let (mut word, mut begun, mut quoted, mut slashes) = (String::new(), false, false, 0);
    for letter in rest.chars().chain([' ']) {
        if letter == '\\' {
            slashes += 1;
            continue;
        }
        let (kept, escaped) = if letter == '"' { (slashes / 2, slashes % 2 == 1) } else { (slashes, false) };
        begun |= slashes > 0;
        word.extend(std::iter::repeat_n('\\', kept));
        slashes = 0;
        match letter {
            '"' if !escaped => (quoted, begun) = (!quoted, true),
            ' ' | '\t' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        // A quote that was never closed, and the blank that was put behind it.
        word.pop();
        words.push(word);
    }
    words
}

/// Windows would try other programs first: the path of the program has a blank and stands in no quotes, so that `C:\Program.exe`
/// comes before `C:\Program Files\…`.
pub fn is_unquoted(line: &str) -> bool {
    let line = line.trim_start();
    let lower = line.to_ascii_lowercase();
    let end = lower.find(".exe").unwrap_or(lower.len());
    !line.starts_with('"') && line.get(..end).is_some_and(|path| path.contains([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_a_program_is_given() {
        for (line, expected) in [
            (r#""C:\Program Files\Backstay\a.exe" run --service"#, &[r"C:\Program Files\Backstay\a.exe", "run", "--service"][..]),
            (r#"C:\a.exe --config "C:\Program Files\x.toml""#, &[r"C:\a.exe", "--config", r"C:\Program Files\x.toml"]),
            (r#"C:\a.exe --state-dir "D:\with blank\\" x"#, &[r"C:\a.exe", "--state-dir", "D:\\with blank\\", "x"]),
            (r#"a.exe say \"no\" "" b\\c"#, &["a.exe", "say", "\"no\"", "", r"b\\c"]),
            ("a.exe\tone  two ", &["a.exe", "one", "two"]),
            (r#"a.exe "open end"#, &["a.exe", "open end"]),
            ("", &[]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_path_with_a_blank_needs_quotes() {
        assert!(is_unquoted(r"C:\Program Files\Backstay\backstay-agent.exe run"));
        assert!(!is_unquoted(r#""C:\Program Files\Backstay\backstay-agent.exe" run"#));
        assert!(!is_unquoted(r"C:\Backstay\backstay-agent.exe run --config x"));
    }
}
