//! A small regular expression: enough for what stands in filters, linear in the text (all states are followed at once).

/// A compiled expression; matches anywhere in the text unless anchored.
#[derive(Clone, Debug)]
pub struct Pattern {
    program: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Any,
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    Start,
    End,
    /// Follow both.
    Split(usize, usize),
    Jump(usize),
    Match,
}

#[derive(Debug)]
enum Node {
    Step(Step),
    Concat(Vec<Node>),
    Either(Vec<Node>),
    Repeat { node: Box<Node>, zero: bool, many: bool },
}

/// How deep groups may nest.
const DEPTH: usize = 32;

impl Pattern {
    /// Compiles. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser {
            rest: text.chars().peekable(),
        };
        let node = parser.either(0)?;
        if parser.rest.peek().is_some() {
            return Err(format!("error parsing regexp: unexpected ): `{text}`"));
        }
        let mut program = Vec::new();
        emit(&node, &mut program);
        program.push(Step::Match);
        Ok(Self { program })
    }

    /// Whether it matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        let mut states = vec![false; self.program.len()];
        let mut chars = text.chars();
        let mut first = true;
        loop {
            let next = chars.next();
            // A match may begin at every place.
            let mut todo = vec![0];
            let mut closed = vec![false; self.program.len()];
            todo.extend(states.iter().enumerate().filter(|(_, on)| **on).map(|(i, _)| i));
            let mut follow = vec![false; self.program.len()];
            while let Some(at) = todo.pop() {
                if std::mem::replace(&mut closed[at], true) {
                    continue;
                }
                match &self.program[at] {
                    Step::Match => return true,
                    Step::Jump(to) => todo.push(*to),
                    Step::Split(a, b) => todo.extend([*a, *b]),
                    Step::Start if first => todo.push(at + 1),
                    Step::End if next.is_none() => todo.push(at + 1),
                    Step::Any if next.is_some_and(|c| c != '\n') => follow[at + 1] = true,
                    Step::Class { ranges, negated } => {
                        let hit = next
                            .is_some_and(|c| ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)) != *negated);
                        follow[at + 1] |= hit;
                    }
                    _ => {}
                }
            }
            if next.is_none() {
                return false;
            }
            states = follow;
            first = false;
        }
    }
}

fn emit(node: &Node, program: &mut Vec<Step>) {
    match node {
        Node::Step(step) => program.push(step.clone()),
        Node::Concat(nodes) => nodes.iter().for_each(|n| emit(n, program)),
        Node::Either(nodes) => {
            let mut ends = Vec::new();
            for (i, node) in nodes.iter().enumerate() {
                if i + 1 == nodes.len() {
                    emit(node, program);
                    break;
                }
                let split = program.len();
                program.push(Step::Match);
                emit(node, program);
                ends.push(program.len());
                program.push(Step::Match);
                program[split] = Step::Split(split + 1, program.len());
            }
            for end in ends {
                program[end] = Step::Jump(program.len());
            }
        }
        Node::Repeat { node, zero, many } => {
            let split = program.len();
            if *zero {
                program.push(Step::Match);
            }
            let body = program.len();
            emit(node, program);
            if *many {
                program.push(Step::Split(body, program.len() + 1));
            }
            if *zero {
                program[split] = Step::Split(body, program.len());
            }
        }
    }
}

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Parser<'_> {
    fn either(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEPTH {
            return Err("error parsing regexp: expression nests too deeply".into());
        }
        let mut branches = vec![self.concat(depth)?];
        while self.rest.next_if_eq(&'|').is_some() {
            branches.push(self.concat(depth)?);
        }
        Ok(Node::Either(branches))
    }

    fn concat(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes: Vec<Node> = Vec::new();
        while let Some(&c) = self.rest.peek() {
            if c == '|' || c == ')' {
                break;
            }
            self.rest.next();
            let node = match c {
                '^' => Node::Step(Step::Start),
                '$' => Node::Step(Step::End),
                '.' => Node::Step(Step::Any),
                '[' => Node::Step(self.class()?),
                '(' => {
                    if self.rest.next_if_eq(&'?').is_some() && self.rest.next() != Some(':') {
                        return Err("error parsing regexp: unsupported group".into());
                    }
                    let node = self.either(depth + 1)?;
                    if self.rest.next() != Some(')') {
                        return Err("error parsing regexp: missing closing )".into());
                    }
                    node
                }
                '*' | '+' | '?' => {
                    let Some(node) = nodes.pop() else {
                        return Err(format!(
                            "error parsing regexp: missing argument to repetition operator: `{c}`"
                        ));
                    };
                    Node::Repeat {
                        node: Box::new(node),
                        zero: c != '+',
                        many: c != '?',
                    }
                }
                '{' => return Err("error parsing regexp: counted repetition is not supported".into()),
                '\\' => Node::Step(Step::Class {
                    ranges: self.escape()?,
                    negated: false,
                }),
                c => Node::Step(Step::Class {
                    ranges: vec![(c, c)],
                    negated: false,
                }),
            };
            nodes.push(node);
        }
        Ok(Node::Concat(nodes))
    }

    fn escape(&mut self) -> Result<Vec<(char, char)>, String> {
        match self.rest.next() {
            Some('d') => Ok(vec![('0', '9')]),
            Some('w') => Ok(vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
            Some('s') => Ok(vec![(' ', ' '), ('\t', '\r')]),
            Some(c) if !c.is_alphanumeric() => Ok(vec![(c, c)]),
            Some(c) => Err(format!("error parsing regexp: invalid escape sequence: `\\{c}`")),
            None => Err("error parsing regexp: trailing backslash at end of expression".into()),
        }
    }

    fn class(&mut self) -> Result<Step, String> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            match self.rest.next() {
                None => return Err("error parsing regexp: missing closing ]".into()),
                Some(']') if !ranges.is_empty() => return Ok(Step::Class { ranges, negated }),
                Some('\\') => ranges.extend(self.escape()?),
                Some(low) => {
                    let mut ahead = self.rest.clone();
                    match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(high)) if high != ']' => {
                            self.rest = ahead;
                            ranges.push((low, high));
                        }
                        _ => ranges.push((low, low)),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_filters_hold() {
        for (pattern, text, want) in [
            ("^/tasks/", "/tasks/exit", true),
            ("^/tasks/", "a/tasks/exit", false),
            ("exit$", "/tasks/exit", true),
            ("", "anything", true),
            ("a|b|c", "xxc", true),
            ("^(a|bc)+$", "abcabc", true),
            ("^(a|bc)+$", "abcb", false),
            ("^a?b*$", "", true),
            ("^[a-c_]+[^x]$", "ab_c.", true),
            ("^[a-c_]+[^x]$", "abx", false),
            ("(a*)*b", &"a".repeat(2000), false),
            ("^docker\\.io/", "dockerXio/", false),
            ("^(?:x)\\d$", "x7", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().is_match(text),
                want,
                "{pattern} {text}"
            );
        }
        for bad in ["(", ")", "[", "*", "a\\", "a{2}", "(?i)a", &"(".repeat(100)] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
