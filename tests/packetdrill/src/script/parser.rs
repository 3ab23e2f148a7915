//! From words to events.

use pollwire::wire::tcp::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};

use super::event::{Action, Call, Condition, Event, Expr, Opt, Packet, Script, Time};
use super::lexer::{Placed, Token, tokens};
use super::runner::Failure;

type Parsed<T> = Result<T, Failure>;

/// Parses a script.
pub(crate) fn parse(text: &str) -> Parsed<Script> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    let mut script = Script::default();
    while let Some(token) = parser.peek().cloned() {
        if let Token::Option(name, value) = token {
            parser.at += 1;
            script.options.push((name, value));
        } else {
            script.events.push(parser.event()?);
        }
    }
    Ok(script)
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn line(&self) -> usize {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(0, |(line, _)| *line)
    }

    fn fail<T>(&self, what: &str) -> Parsed<T> {
        let found = match self.peek() {
            Some(token) => format!("{token:?}"),
            None => "the end".into(),
        };
        Err(Failure::new(
            self.line(),
            format!("{what} expected, found {found}"),
        ))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.accept(sign) {
            Ok(())
        } else {
            self.fail(sign)
        }
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self) -> Parsed<String> {
        match self.peek().cloned() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.fail("a name"),
        }
    }

    fn number_text(&mut self) -> Parsed<String> {
        match self.peek().cloned() {
            Some(Token::Number(text)) => {
                self.at += 1;
                Ok(text)
            }
            _ => self.fail("a number"),
        }
    }

    fn number(&mut self) -> Parsed<i64> {
        let negative = self.accept("-");
        let text = self.number_text()?;
        let value = match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        match value {
            Some(value) if negative => Ok(-value),
            Some(value) => Ok(value),
            None => self.fail("a whole number"),
        }
    }

    fn small<T: TryFrom<i64>>(&mut self) -> Parsed<T> {
        let value = self.number()?;
        match T::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.fail("a smaller number"),
        }
    }

    fn micros(&mut self) -> Parsed<i64> {
        let text = self.number_text()?;
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        let digits = format!("{part:0<6}");
        let parse = |text: &str| {
            if text.is_empty() {
                Ok(0)
            } else {
                text.parse::<i64>()
            }
        };
        match (parse(whole), digits.get(..6).map(parse)) {
            (Ok(whole), Some(Ok(part))) => Ok(whole * 1_000_000 + part),
            _ => self.fail("seconds"),
        }
    }

    fn event(&mut self) -> Parsed<Event> {
        let line = self.line();
        let time = self.time()?;
        let action = match self.peek().cloned() {
            Some(Token::Sign("<")) => {
                self.at += 1;
                Action::Inbound(self.packet()?)
            }
            Some(Token::Sign(">")) => {
                self.at += 1;
                Action::Outbound(self.packet()?)
            }
            Some(Token::Code(code)) => {
                self.at += 1;
                Action::Assert(conditions(line, &code)?)
            }
            Some(Token::Word(_) | Token::Sign("...")) => Action::Call(self.call()?),
            _ => return self.fail("a packet, a call or an assertion"),
        };
        Ok(Event { line, time, action })
    }

    fn time(&mut self) -> Parsed<Time> {
        if self.accept("*") {
            return Ok(Time::Any);
        }
        let relative = self.accept("+");
        let from = self.micros()?;
        if !self.accept("~") {
            return Ok(Time::At {
                relative,
                micros: from,
            });
        }
        self.accept("+");
        let to = self.micros()?;
        Ok(Time::Within { relative, from, to })
    }

    fn packet(&mut self) -> Parsed<Packet> {
        let mut packet = Packet::default();
        if self.accept("[") {
            packet.ecn = Some(self.ecn()?);
            self.expect("]")?;
        }
        if matches!(self.peek(), Some(Token::Number(_))) {
            let ours = self.small()?;
            self.expect(">")?;
            packet.ports = Some((ours, self.small()?));
        }
        packet.flags = self.flags()?;
        packet.seq = self.small()?;
        self.expect(":")?;
        let end: u32 = self.small()?;
        self.expect("(")?;
        packet.len = self.small()?;
        self.expect(")")?;
        if end != packet.seq.wrapping_add(packet.len) {
            return self.fail("a length that fits the sequence numbers");
        }
        if self.accept_word("ack") {
            packet.ack = Some(self.small()?);
        }
        if self.accept_word("win") {
            packet.window = Some(self.small()?);
        }
        packet.options = Some(Vec::new());
        if self.accept("<") {
            packet.options = self.options()?;
        }
        Ok(packet)
    }

    /// RFC 3168, 5.
    fn ecn(&mut self) -> Parsed<u8> {
        match self.word()?.as_str() {
            "noecn" => Ok(0),
            "ect1" => Ok(1),
            "ect0" => Ok(2),
            "ce" => Ok(3),
            _ => self.fail("noecn, ect0, ect1 or ce"),
        }
    }

    fn flags(&mut self) -> Parsed<u8> {
        let mut flags = 0;
        if self.accept("-") {
            return Ok(0);
        }
        if let Some(Token::Word(word)) = self.peek().cloned() {
            self.at += 1;
            for letter in word.chars() {
                flags |= match letter {
                    'S' => SYN,
                    'F' => FIN,
                    'R' => RST,
                    'P' => PSH,
                    'U' => URG,
                    'E' => ECE,
                    'W' => CWR,
                    _ => return self.fail("flags of S, F, R, P, U, E, W"),
                };
            }
        }
        if self.accept(".") {
            flags |= ACK;
        }
        if flags == 0 {
            return self.fail("flags");
        }
        Ok(flags)
    }

    /// The options up to `>`; `None` for `<...>`.
    fn options(&mut self) -> Parsed<Option<Vec<Opt>>> {
        if self.accept("...") {
            self.expect(">")?;
            return Ok(None);
        }
        let mut options = Vec::new();
        while !self.accept(">") {
            if !options.is_empty() {
                self.expect(",")?;
            }
            options.push(self.option()?);
        }
        Ok(Some(options))
    }

    fn option(&mut self) -> Parsed<Opt> {
        Ok(match self.word()?.as_str() {
            "nop" => Opt::Nop,
            "eol" => Opt::End,
            "mss" => Opt::Mss(self.small()?),
            "wscale" => Opt::WindowScale(self.small()?),
            "sackOK" => Opt::SackPermitted,
            "sack" => {
                let mut blocks = Vec::new();
                while matches!(self.peek(), Some(Token::Number(_))) {
                    let left = self.small()?;
                    self.expect(":")?;
                    blocks.push((left, self.small()?));
                }
                Opt::Sack(blocks)
            }
            "TS" => {
                self.accept_word("val");
                let value = self.small()?;
                self.accept_word("ecr");
                let echo = self.small()?;
                Opt::Timestamps { value, echo }
            }
            _ => return self.fail("a TCP option"),
        })
    }

    fn call(&mut self) -> Parsed<Call> {
        let ends = if self.accept("...") {
            Some(self.micros()?)
        } else {
            None
        };
        let name = self.word()?;
        self.expect("(")?;
        let arguments = self.list(")")?;
        self.expect("=")?;
        let result = self.expression()?;
        let mut errno = None;
        if let Some(Token::Word(word)) = self.peek().cloned() {
            self.at += 1;
            errno = Some(word);
        }
        self.note();
        Ok(Call {
            name,
            arguments,
            result,
            errno,
            ends,
        })
    }

    /// `(No such thing)` behind a result: for the reader only.
    fn note(&mut self) {
        if self.accept("(") {
            while self.at < self.tokens.len() && !self.accept(")") {
                self.at += 1;
            }
        }
    }

    fn list(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.accept(end) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn expression(&mut self) -> Parsed<Expr> {
        let first = match self.peek().cloned() {
            Some(Token::Sign("...")) => {
                self.at += 1;
                Expr::Ellipsis
            }
            Some(Token::Sign("[")) => {
                self.at += 1;
                Expr::List(self.list("]")?)
            }
            Some(Token::Sign("{")) => {
                self.at += 1;
                self.fields()?
            }
            Some(Token::Word(word)) => {
                self.at += 1;
                Expr::Word(word)
            }
            _ => Expr::Number(self.number()?),
        };
        if self.accept("|") {
            return Ok(Expr::Or(first.into(), self.expression()?.into()));
        }
        Ok(first)
    }

    fn fields(&mut self) -> Parsed<Expr> {
        let mut fields = Vec::new();
        while !self.accept("}") {
            if !fields.is_empty() {
                self.expect(",")?;
            }
            let name = self.word()?;
            self.expect("=")?;
            fields.push((name, self.expression()?));
        }
        Ok(Expr::Fields(fields))
    }
}

/// `assert a == 1` and the like, one to a line.
fn conditions(line: usize, code: &str) -> Parsed<Vec<Condition>> {
    let statements = code.split(['\n', ';']).map(str::trim);
    statements
        .filter(|statement| !statement.is_empty())
        .map(|statement| {
            let condition = statement.split(',').next().unwrap_or_default();
            let mut words = condition.split_whitespace();
            let next = &mut || words.next().unwrap_or_default().to_owned();
            let (assert, name, operator, value) = (next(), next(), next(), next());
            match (assert.as_str(), value.parse()) {
                ("assert", Ok(value)) => Ok(Condition {
                    name,
                    operator,
                    value,
                }),
                _ => Err(Failure::new(
                    line,
                    format!("assert NAME OPERATOR NUMBER expected, found {statement}"),
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_parsed() {
        let script = parse("+.1~+.2 > [ect0] FP. 1:11(10) ack 5 win 7 <nop,sack 1:2 3:4>").unwrap();
        let event = &script.events[0];
        assert_eq!(
            event.time,
            Time::Within {
                relative: true,
                from: 100_000,
                to: 200_000
            }
        );
        let expected = Packet {
            ports: None,
            flags: FIN | PSH | ACK,
            seq: 1,
            len: 10,
            ack: Some(5),
            window: Some(7),
            options: Some(vec![Opt::Nop, Opt::Sack(vec![(1, 2), (3, 4)])]),
            ecn: Some(2),
        };
        assert_eq!(event.action, Action::Outbound(expected));
    }

    #[test]
    fn calls_are_parsed() {
        let script = parse("0...1.5 read(4, ..., 10) = -1 EAGAIN (not now)\n* close(4) = 0");
        let events = script.unwrap().events;
        let Action::Call(call) = &events[0].action else {
            panic!("a call");
        };
        assert_eq!((call.name.as_str(), call.ends), ("read", Some(1_500_000)));
        assert_eq!(call.result, Expr::Number(-1));
        assert_eq!(call.errno.as_deref(), Some("EAGAIN"));
        assert_eq!(events[1].time, Time::Any);
    }

    #[test]
    fn mistakes_are_placed() {
        for (text, line) in [
            ("0 > . 1:5(3)", 1),
            ("0 close(1) = 0\n+0 <", 2),
            ("0 > X 0:0(0)", 1),
            ("0 %{ print(1) }%", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
