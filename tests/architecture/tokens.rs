//! Splits a source file into words and punctuation marks, and removes what is only compiled for tests.

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Mark(char),
}

impl Token {
    pub fn is(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }

    pub fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word) => Some(word),
            Token::Mark(_) => None,
        }
    }
}

/// Returns words and marks with their lines, without comments, string and character literals, and lifetimes.
pub fn tokens(source: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let starts_with = |index: usize, text: &str| {
        text.chars()
            .enumerate()
            .all(|(offset, c)| at(index + offset) == c)
    };
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < chars.len() {
        let start = index;
        if starts_with(index, "//") {
            while index < chars.len() && at(index) != '\n' {
                index += 1;
            }
        } else if starts_with(index, "/*") {
            let mut depth = 0;
            loop {
                if starts_with(index, "/*") {
                    (depth, index) = (depth + 1, index + 2);
                } else if starts_with(index, "*/") {
                    (depth, index) = (depth - 1, index + 2);
                } else {
                    index += 1;
                }
                if depth == 0 || index >= chars.len() {
                    break;
                }
            }
        } else if at(index) == '"' {
            index += 1;
            while index < chars.len() && at(index) != '"' {
                index += 1 + usize::from(at(index) == '\\');
            }
            index += 1;
        } else if at(index) == '\'' {
            if at(index + 1) == '\\' {
                index += 3;
                while index < chars.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            } else if at(index + 2) == '\'' {
                index += 3;
            } else {
                // A lifetime: its name is not a use of anything.
                index += 1;
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
            }
        } else if at(index).is_alphanumeric() || at(index) == '_' {
            while at(index).is_alphanumeric() || at(index) == '_' {
                index += 1;
            }
            let word: String = chars[start..index].iter().collect();
            let hashes = chars[index..].iter().take_while(|c| **c == '#').count();
            if word.ends_with('r') && word.len() <= 2 && at(index + hashes) == '"' {
                // A raw string ends at a quote followed by as many hashes.
                let end: String = format!("\"{}", "#".repeat(hashes));
                index += hashes + 1;
                while index < chars.len() && !starts_with(index, &end) {
                    index += 1;
                }
                index += end.len();
            } else {
                tokens.push((line, Token::Word(word)));
            }
        } else {
            if !at(index).is_whitespace() {
                tokens.push((line, Token::Mark(at(index))));
            }
            index += 1;
        }
        line += chars[start..index.min(chars.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    tokens
}

/// Returns the index after the bracket that closes the one at `open`.
pub fn closed(tokens: &[(usize, Token)], open: usize) -> usize {
    let mut depth = 0;
    for (index, (_, token)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// Removes what is only compiled for tests; returns the names of the test modules in files of their own.
pub fn without_tests(tokens: &[(usize, Token)]) -> (Vec<(usize, Token)>, Vec<String>) {
    let marks = |index: usize, texts: &[&str]| {
        texts.iter().enumerate().all(|(offset, text)| {
            tokens
                .get(index + offset)
                .is_some_and(|(_, token)| match token {
                    Token::Word(word) => word == text,
                    Token::Mark(mark) => mark.to_string() == *text,
                })
        })
    };
    let (mut kept, mut files, mut index) = (Vec::new(), Vec::new(), 0);
    while index < tokens.len() {
        if !marks(index, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(tokens[index].clone());
            index += 1;
            continue;
        }
        // Skips further attributes, then one item: up to its braces or a semicolon.
        while marks(index, &["#", "["]) {
            index = closed(tokens, index + 1);
        }
        let item = index;
        while index < tokens.len() {
            match tokens[index].1 {
                Token::Mark(';') => {
                    index += 1;
                    break;
                }
                Token::Mark('{') => {
                    index = closed(tokens, index);
                    // A use list ends at its semicolon.
                    if !tokens.get(index).is_some_and(|(_, token)| token.is(';')) {
                        break;
                    }
                }
                _ => index += 1,
            }
        }
        let words = tokens[item..index].iter().map(|(_, token)| token.word());
        let words: Vec<_> = words.collect();
        if let [.., Some("mod"), Some(name), None] = words[..] {
            files.push(name.to_owned());
        }
    }
    (kept, files)
}
