//! Rust source as words and punctuation. Comments and the contents of literals are omitted, so that
//! a brace or a keyword in a string does not count.

/// One word or one punctuation character, and the line (from 1) on which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// Whether the token is an identifier or a keyword.
    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// Splits a source text. The text must compile: errors are not reported.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut scanner = Scanner { rest: source, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = scanner.rest.chars().next() {
        let line = scanner.line;
        if let Some(length) = blank(scanner.rest).or_else(|| literal(scanner.rest)) {
            scanner.skip(length);
        } else {
            let length = word(scanner.rest).unwrap_or(first.len_utf8());
            let text = scanner.skip(length).trim_start_matches("r#").to_owned();
            tokens.push(Token { line, text });
        }
    }
    tokens
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, length: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at(length);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
        skipped
    }
}

/// The length of white space or of a comment at the start of the text.
fn blank(text: &str) -> Option<usize> {
    let spaces = text.len() - text.trim_start().len();
    if spaces > 0 {
        return Some(spaces);
    }
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| block_comment(text))
}

/// The length of a block comment; block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let pair = text.as_bytes().get(at..at + 2);
        match pair {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string, a byte string, a character or a lifetime at the start of the text.
fn literal(text: &str) -> Option<usize> {
    let prefix =
        text.find(|c: char| !matches!(c, 'b' | 'c' | 'r')).filter(|length| *length <= 2)?;
    let (prefix, body) = text.split_at(prefix);
    if body.starts_with('"') && !prefix.ends_with('r') {
        return Some(prefix.len() + quoted(body, '"')?);
    }
    if prefix.ends_with('r') {
        return Some(prefix.len() + raw_string(body)?);
    }
    if body.starts_with('\'') && matches!(prefix, "" | "b") {
        return Some(prefix.len() + character_or_lifetime(body)?);
    }
    None
}

fn quoted(body: &str, quote: char) -> Option<usize> {
    let mut characters = body.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return Some(at + 1);
        }
    }
    None
}

/// The length of a raw string after its `r`; `None` for a raw identifier.
fn raw_string(body: &str) -> Option<usize> {
    let hashes = body.len() - body.trim_start_matches('#').len();
    let content = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(hashes + 1 + content.find(&end)? + end.len())
}

fn character_or_lifetime(body: &str) -> Option<usize> {
    let mut after = body.chars().skip(1);
    let (first, second) = (after.next()?, after.next());
    let is_lifetime = (first.is_alphabetic() || first == '_') && second != Some('\'');
    if is_lifetime { Some(1 + word(&body[1..])?) } else { quoted(body, '\'') }
}

/// The length of an identifier, a keyword or a number at the start of the text.
fn word(text: &str) -> Option<usize> {
    let raw = if text.starts_with("r#") { 2 } else { 0 };
    let length = text[raw..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
    Some(raw + length.unwrap_or(text.len() - raw)).filter(|length| *length > raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_and_punctuation_are_tokens_with_their_lines() {
        let tokens = tokens("pub fn f() {\n    a_1\n}\n");
        let lines: Vec<_> = tokens.iter().map(|token| (token.line, token.text.as_str())).collect();
        let first = [(1, "pub"), (1, "fn"), (1, "f"), (1, "("), (1, ")"), (1, "{")];
        assert_eq!(lines, [&first[..], &[(2, "a_1"), (3, "}")]].concat());
    }

    #[test]
    fn comments_hide_what_they_contain() {
        assert_eq!(texts("a // struct B {\nc /* d /* e */ f */ g /// h"), ["a", "c", "g"]);
    }

    #[test]
    fn literals_hide_what_they_contain() {
        let source = r####"a "{ \" }" b b"{" c r#"" { "# d b'{' e '{' f '\'' g br"{" c"{" "####;
        assert_eq!(texts(source), ["a", "b", "c", "d", "e", "f", "g"]);
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_not_literals() {
        assert_eq!(texts("<'a, 'b> r#type '_ { 'x' }"), ["<", ",", ">", "type", "{", "}"]);
    }

    #[test]
    fn a_string_over_several_lines_moves_the_line_number() {
        assert_eq!(tokens("\"a\nb\"\nc"), [Token { line: 3, text: "c".to_owned() }]);
    }
}
