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

/// The characters of a source file.
struct Chars(Vec<char>);

impl Chars {
    /// Returns the character at an index; NUL after the end.
    fn at(&self, index: usize) -> char {
        self.0.get(index).copied().unwrap_or('\0')
    }

    fn starts_with(&self, index: usize, text: &str) -> bool {
        let mut chars = text.chars().enumerate();
        chars.all(|(offset, c)| self.at(index + offset) == c)
    }

    /// Returns the first index from `index` on for which `ends` holds, at most that of the end.
    fn find(&self, index: usize, ends: impl Fn(usize) -> bool) -> usize {
        let end = self.0.len();
        (index..end).find(|index| ends(*index)).unwrap_or(end)
    }

    fn word_end(&self, index: usize) -> usize {
        self.find(index, |index| {
            let c = self.at(index);
            !(c.is_alphanumeric() || c == '_')
        })
    }

    /// Returns the index after a block comment, which may contain others.
    fn block_comment_end(&self, mut index: usize) -> usize {
        let mut depth = 0;
        loop {
            if self.starts_with(index, "/*") {
                (depth, index) = (depth + 1, index + 2);
            } else if self.starts_with(index, "*/") {
                (depth, index) = (depth - 1, index + 2);
            } else {
                index += 1;
            }
            if depth == 0 || index >= self.0.len() {
                return index;
            }
        }
    }

    /// Returns the index after a string literal that begins at `index`.
    fn string_end(&self, mut index: usize) -> usize {
        index += 1;
        while index < self.0.len() && self.at(index) != '"' {
            index += 1 + usize::from(self.at(index) == '\\');
        }
        index + 1
    }

    /// Returns the index after a raw string literal whose prefix letters end at `index`, if there is one.
    fn raw_string_end(&self, index: usize) -> Option<usize> {
        let hashes = self.0[index..].iter().take_while(|c| **c == '#').count();
        (self.at(index + hashes) == '"').then(|| {
            // It ends at a quote followed by as many hashes.
            let end = format!("\"{}", "#".repeat(hashes));
            let from = index + hashes + 1;
            self.find(from, |index| self.starts_with(index, &end)) + end.len()
        })
    }

    /// Returns the index after a character literal, or after a lifetime: its name is not a use of anything.
    fn quoted_end(&self, index: usize) -> usize {
        if self.at(index + 1) == '\\' {
            self.find(index + 3, |index| self.at(index) == '\'') + 1
        } else if self.at(index + 2) == '\'' {
            index + 3
        } else {
            self.word_end(index + 1)
        }
    }
}

/// Returns words and marks with their lines, without comments, string and character literals, and lifetimes.
pub fn tokens(source: &str) -> Vec<(usize, Token)> {
    let chars = Chars(source.chars().collect());
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < chars.0.len() {
        let start = index;
        let c = chars.at(index);
        if chars.starts_with(index, "//") {
            index = chars.find(index, |index| chars.at(index) == '\n');
        } else if chars.starts_with(index, "/*") {
            index = chars.block_comment_end(index);
        } else if c == '"' {
            index = chars.string_end(index);
        } else if c == '\'' {
            index = chars.quoted_end(index);
        } else if c.is_alphanumeric() || c == '_' {
            index = chars.word_end(index);
            let word: String = chars.0[start..index].iter().collect();
            let raw = matches!(word.as_str(), "r" | "br" | "cr");
            match chars.raw_string_end(index).filter(|_| raw) {
                Some(end) => index = end,
                None => tokens.push((line, Token::Word(word))),
            }
        } else {
            if !c.is_whitespace() {
                tokens.push((line, Token::Mark(c)));
            }
            index += 1;
        }
        let passed = &chars.0[start..index.min(chars.0.len())];
        line += passed.iter().filter(|c| **c == '\n').count();
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
