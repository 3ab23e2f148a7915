//! Words and signs of a script.

use super::runner::Failure;

/// A word or sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// `0`, `0x1f`, `1.5` stay text: their reader knows what they mean.
    Number(String),
    Word(String),
    /// Text between quotes.
    Text(String),
    /// `--name=value`.
    Option(String, String),
    /// Text between `%{` and `}%`.
    Code(String),
    /// A character, or `...`.
    Sign(&'static str),
}

/// A token and its line.
pub(crate) type Placed = (usize, Token);

const SIGNS: [&str; 20] = [
    "...", "+", "~", "*", "<", ">", "(", ")", "[", "]", "{", "}", ",", "=", ":", "|", "-", ".",
    ";", "!",
];

/// Cuts a script into tokens; comments (`//`, `#` at the start of a line, `/* */`) are left out.
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed>, Failure> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
        out: Vec::new(),
    };
    while lexer.step()? {}
    Ok(lexer.out)
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    out: Vec<Placed>,
}

impl<'a> Lexer<'a> {
    /// Takes one token, blank or comment; false at the end.
    fn step(&mut self) -> Result<bool, Failure> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(false);
        };
        if first.is_whitespace() {
            self.take(first.len_utf8());
        } else if self.rest.starts_with("//") || first == '#' {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        } else if self.rest.starts_with("/*") {
            self.enclosed("/*", "*/")?;
        } else if self.rest.starts_with("%{") {
            let code = self.enclosed("%{", "}%")?.to_owned();
            self.push(Token::Code(code));
        } else if self.rest.starts_with("--") {
            let end = self.rest.find(char::is_whitespace);
            let text = self.take(end.unwrap_or(self.rest.len()));
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            self.push(Token::Option(name[2..].to_owned(), value.to_owned()));
        } else if first == '"' {
            let text = self.enclosed("\"", "\"")?.to_owned();
            self.push(Token::Text(text));
        } else if self.number_starts() {
            let number = self.number().to_owned();
            self.push(Token::Number(number));
        } else if first.is_alphabetic() || first == '_' {
            let end = self
                .rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(self.rest.len());
            let word = self.take(end).to_owned();
            self.push(Token::Word(word));
        } else {
            let sign = SIGNS.iter().find(|sign| self.rest.starts_with(**sign));
            let Some(sign) = sign else {
                return Err(Failure::new(self.line, format!("what is {first:?}?")));
            };
            self.take(sign.len());
            self.push(Token::Sign(sign));
        }
        Ok(true)
    }

    fn push(&mut self, token: Token) {
        self.out.push((self.line, token));
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn enclosed(&mut self, open: &str, close: &str) -> Result<&'a str, Failure> {
        let inner = &self.rest[open.len()..];
        let Some(len) = inner.find(close) else {
            return Err(Failure::new(self.line, format!("{open} without {close}")));
        };
        let text = &inner[..len];
        self.take(open.len() + len + close.len());
        Ok(text)
    }

    /// A digit, or a point before one: `.1` is a time, `.` alone a flag.
    fn number_starts(&self) -> bool {
        let bytes = self.rest.as_bytes();
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        digit(0) || (bytes.first() == Some(&b'.') && digit(1))
    }

    fn number(&mut self) -> &'a str {
        if let Some(hex) = self.rest.strip_prefix("0x") {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit());
            return self.take(2 + end.unwrap_or(hex.len()));
        }
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| {
            bytes
                .iter()
                .skip(from)
                .take_while(|byte| byte.is_ascii_digit())
                .count()
        };
        let mut len = digits(0);
        // `1...2` is a number and an ellipsis.
        if bytes.get(len) == Some(&b'.') && bytes.get(len + 1) != Some(&b'.') {
            len += 1 + digits(len + 1);
        }
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(text: &str) -> String {
        let tokens = tokens(text).unwrap();
        let show = |(_, token): Placed| match token {
            Token::Number(text) | Token::Word(text) | Token::Code(text) | Token::Text(text) => text,
            Token::Option(name, value) => format!("{name}={value}"),
            Token::Sign(sign) => sign.to_owned(),
        };
        tokens.into_iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_script_is_cut_into_words() {
        assert_eq!(
            signs("+.1...0.200 read(4, ..., 0x10) = 2 // a comment"),
            "+ .1 ... 0.200 read ( 4 , ... , 0x10 ) = 2"
        );
        assert_eq!(signs("+0 > P. 1:11(10)"), "+ 0 > P . 1 : 11 ( 10 )");
        assert_eq!(
            signs("--mss=1000\n0 %{ assert x }%"),
            "mss=1000 0  assert x "
        );
        assert_eq!(signs("/* a\n b */ * < ."), "* < .");
    }

    #[test]
    fn lines_are_counted() {
        let tokens = tokens("a\n/* b\n */\nc").unwrap();
        assert_eq!(tokens[1], (4, Token::Word("c".into())));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(tokens("%{ never closed").is_err());
        assert!(tokens("0 ? 1").is_err());
    }
}
