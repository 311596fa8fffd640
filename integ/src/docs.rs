//! The commands of a Markdown document, and what it shows that they print.
//!
//! A fenced block of `console` holds commands behind the prompts `# ` (root) and `$ `, and their output; `…` stands for what
//! is left out. One of `sh` holds commands alone. A block is not run when the line before its fence is
//! `<!-- needs: WHAT -->`, which says what it needs of a machine.

/// A fenced block that holds commands.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What a machine needs to run it, if not every one can.
    pub needs: Option<String>,
    /// The commands, in order.
    pub commands: Vec<String>,
    /// The lines that they print.
    pub output: Vec<String>,
}

/// The blocks of a document, in order.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = markdown.lines().map(str::trim).enumerate();
    let mut before = "";
    while let Some((index, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            before = line;
            continue;
        };
        let inside: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let mut block = Block { line: index + 1, needs: needs(before), ..Block::default() };
        for line in inside {
            let command = match language {
                "console" => line.strip_prefix("# ").or_else(|| line.strip_prefix("$ ")),
                _ => Some(line),
            };
            match command {
                Some(command) => block.commands.push(command.to_owned()),
                None => block.output.push(line.to_owned()),
            }
        }
        if matches!(language, "console" | "sh") {
            found.push(block);
        }
        before = "";
    }
    found
}

fn needs(line: &str) -> Option<String> {
    let inner = line.strip_prefix("<!-- needs: ")?.strip_suffix("-->")?;
    Some(inner.trim().to_owned())
}

/// A line as it is compared: pids, times and sizes are any number, and columns as wide as they are.
pub fn normal(line: &str) -> String {
    let mut out = String::new();
    for c in line.trim().chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if matches!(c, '0' | ' ') && out.ends_with(c) {
            continue;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_output() {
        let text = "text\n\n```console\n# make demo   # builds\ndone in 12 s\n…\n$ echo a\n```\n\n   <!-- needs: FreeBSD -->\n   \
                    ```sh\n   pkg install x\n   ```\n```toml\n# a = 1\n```\n";
        let blocks = blocks(text);
        assert_eq!(blocks[0].commands, ["make demo   # builds", "echo a"]);
        assert_eq!(blocks[0].output, ["done in 12 s", "…"]);
        assert_eq!((blocks[0].line, blocks[0].needs.as_deref()), (3, None));
        assert_eq!(blocks[1].commands, ["pkg install x"]);
        assert_eq!(blocks[1].needs.as_deref(), Some("FreeBSD"));
        assert_eq!(blocks.len(), 2, "toml holds no commands");
    }

    #[test]
    fn numbers_and_columns_may_differ() {
        assert_eq!(normal("c1   7013  2026-11-25T09:30Z"), normal("c1 9 2027-1-5T11:05Z"));
        assert_ne!(normal("started"), normal("stopped"));
    }
}
